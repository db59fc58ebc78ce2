"""The requests of the vendor's services, described field by field as their protos declare them.

.. seealso:: https://github.com/yandex-cloud/cloudapi, ``yandex/cloud/ai/foundation_models/v1``
"""

from __future__ import annotations

from airflow_provider.yandex_ai_studio.emulator.wire.proto_json import (
    Field,
    Message,
    boolean,
    double,
    enum,
    int64,
    repeated,
    string,
    struct,
)

_PACKAGE = "yandex.cloud.ai.foundation_models.v1"

REASONING_OPTIONS = Message(
    f"{_PACKAGE}.ReasoningOptions",
    (Field("mode", enum("REASONING_MODE_UNSPECIFIED", "DISABLED", "ENABLED_HIDDEN")),),
)

COMPLETION_OPTIONS = Message(
    f"{_PACKAGE}.CompletionOptions",
    (
        Field("stream", boolean),
        Field("temperature", double),
        Field("maxTokens", int64),
        Field("reasoningOptions", REASONING_OPTIONS),
    ),
)

FUNCTION_CALL = Message(f"{_PACKAGE}.FunctionCall", (Field("name", string), Field("arguments", struct)))

TOOL_CALL = Message(f"{_PACKAGE}.ToolCall", (Field("functionCall", FUNCTION_CALL, oneof="ToolCallType"),))

TOOL_CALL_LIST = Message(f"{_PACKAGE}.ToolCallList", (Field("toolCalls", repeated(TOOL_CALL)),))

FUNCTION_RESULT = Message(
    f"{_PACKAGE}.FunctionResult",
    (Field("name", string), Field("content", string, oneof="ContentType")),
)

TOOL_RESULT = Message(
    f"{_PACKAGE}.ToolResult",
    (Field("functionResult", FUNCTION_RESULT, oneof="ToolResultType"),),
)

TOOL_RESULT_LIST = Message(f"{_PACKAGE}.ToolResultList", (Field("toolResults", repeated(TOOL_RESULT)),))

MESSAGE = Message(
    f"{_PACKAGE}.Message",
    (
        Field("role", string),
        Field("text", string, oneof="Content"),
        Field("toolCallList", TOOL_CALL_LIST, oneof="Content"),
        Field("toolResultList", TOOL_RESULT_LIST, oneof="Content"),
    ),
)

FUNCTION_TOOL = Message(
    f"{_PACKAGE}.FunctionTool",
    (
        Field("name", string),
        Field("description", string),
        Field("parameters", struct),
        Field("strict", boolean),
    ),
)

TOOL = Message(f"{_PACKAGE}.Tool", (Field("function", FUNCTION_TOOL, oneof="ToolType"),))

TOOL_CHOICE = Message(
    f"{_PACKAGE}.ToolChoice",
    (
        Field("mode", enum("TOOL_CHOICE_MODE_UNSPECIFIED", "NONE", "AUTO", "REQUIRED"), oneof="ToolChoice"),
        Field("functionName", string, oneof="ToolChoice"),
    ),
)

JSON_SCHEMA = Message(f"{_PACKAGE}.JsonSchema", (Field("schema", struct),))

COMPLETION_REQUEST = Message(
    f"{_PACKAGE}.CompletionRequest",
    (
        Field("modelUri", string),
        Field("completionOptions", COMPLETION_OPTIONS),
        Field("messages", repeated(MESSAGE)),
        Field("tools", repeated(TOOL)),
        Field("jsonObject", boolean, oneof="ResponseFormat"),
        Field("jsonSchema", JSON_SCHEMA, oneof="ResponseFormat"),
        Field("parallelToolCalls", boolean),
        Field("toolChoice", TOOL_CHOICE),
    ),
)

TOKENIZE_REQUEST = Message(f"{_PACKAGE}.TokenizeRequest", (Field("modelUri", string), Field("text", string)))

CREATE_IAM_TOKEN_REQUEST = Message(
    "yandex.cloud.iam.v1.CreateIamTokenRequest",
    (
        Field("yandexPassportOauthToken", string, oneof="identity"),
        Field("jwt", string, oneof="identity"),
    ),
)
