"""The request for a chat completion, described member by member as the vendor's reference does.

.. seealso:: https://github.com/yandex-cloud/docs, ``_openapi/openai-compatible/chat/createChatCompletion.md``
"""

from __future__ import annotations

from airflow_provider.yandex_ai_studio.emulator.wire.openai_json import (
    Member,
    Object,
    anything,
    choice,
    either,
    integer,
    not_emulated,
    number,
    tagged,
)
from airflow_provider.yandex_ai_studio.emulator.wire.proto_json import boolean, repeated, string, struct

#: What the vendor documents and marks as currently not supported: taken, and without effect.
UNSUPPORTED = (
    "audio",
    "metadata",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream_options",
    "web_search_options",
)

#: What some models support: taken, and without effect.
_WITHOUT_EFFECT = (
    Member("frequency_penalty", number),
    Member("logit_bias", anything),
    Member("logprobs", boolean),
    Member("presence_penalty", number),
    Member("top_logprobs", integer),
    Member("user", string),
    Member("verbosity", string),
)

_TEXT = Object((Member("type", string), Member("text", string, required=True)))

_FUNCTION_CALL = Object(
    (
        Member("index", integer),
        Member("id", string, required=True),
        Member("type", choice("function"), required=True),
        Member(
            "function",
            Object((Member("name", string, required=True), Member("arguments", string, required=True))),
            required=True,
        ),
    )
)

_MESSAGE = Object(
    (
        Member("role", string, required=True),
        Member("content", either(string, repeated(tagged(text=_TEXT, image_url=not_emulated)))),
        Member("name", string),
        Member("tool_calls", repeated(_FUNCTION_CALL)),
        Member("tool_call_id", string),
        Member("refusal", anything),
        Member("annotations", anything),
    )
)

_JSON_SCHEMA = Object(
    (
        Member("name", string, required=True),
        Member("schema", struct),
        Member("description", string),
        Member("strict", boolean),
    )
)

_RESPONSE_FORMAT = tagged(
    text=Object((Member("type", string),)),
    json_object=Object((Member("type", string),)),
    json_schema=Object((Member("type", string), Member("json_schema", _JSON_SCHEMA, required=True))),
)

_FUNCTION = Object(
    (
        Member("name", string, required=True),
        Member("description", string),
        Member("parameters", struct),
        Member("strict", boolean),
    )
)

_TOOL = tagged(function=Object((Member("type", string), Member("function", _FUNCTION, required=True))))

_NAMED = Object((Member("name", string, required=True),))

_TOOL_CHOICE = either(
    string,
    tagged(
        function=Object((Member("type", string), Member("function", _NAMED, required=True))),
        allowed_tools=not_emulated,
    ),
)

CHAT_COMPLETION = Object(
    (
        Member("model", string, required=True),
        Member("messages", repeated(_MESSAGE), required=True),
        Member("stream", boolean),
        Member("temperature", number),
        Member("top_p", number),
        Member("max_tokens", integer),
        Member("max_completion_tokens", integer),
        Member("n", integer),
        Member("reasoning_effort", choice("none", "minimal", "low", "medium", "high")),
        Member("response_format", _RESPONSE_FORMAT),
        Member("tools", repeated(_TOOL)),
        Member("tool_choice", _TOOL_CHOICE),
        Member("parallel_tool_calls", boolean),
        Member("functions", not_emulated),
        Member("function_call", not_emulated),
        Member("modalities", not_emulated),
        Member("prediction", not_emulated),
        *_WITHOUT_EFFECT,
        *(Member(name, anything) for name in UNSUPPORTED),
    )
)
