"""The request that creates a response, described member by member as the vendor's reference does.

.. seealso:: https://github.com/yandex-cloud/docs, ``ru/ai-studio/responses/createResponse.md``
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
    "include",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "stream_options",
    "truncation",
)

#: What some models support: taken, and without effect.
_WITHOUT_EFFECT = (Member("top_logprobs", integer), Member("user", string), Member("max_tool_calls", integer))

_TEXT = (Member("type", string), Member("text", string, required=True))
_ITEM = (Member("type", string), Member("id", string), Member("status", string))

_PART = tagged(
    input_text=Object(_TEXT),
    output_text=Object((*_TEXT, Member("annotations", anything), Member("logprobs", anything))),
    input_image=not_emulated,
    input_file=not_emulated,
)

_CONTENT = either(string, repeated(_PART))

_INPUT_ITEM = tagged(
    "message",
    message=Object(
        (
            *_ITEM,
            Member("role", choice("user", "assistant", "system", "developer"), required=True),
            Member("content", _CONTENT, required=True),
        )
    ),
    function_call=Object(
        (
            *_ITEM,
            Member("call_id", string, required=True),
            Member("name", string, required=True),
            Member("arguments", string, required=True),
        )
    ),
    function_call_output=Object(
        (*_ITEM, Member("call_id", string, required=True), Member("output", _CONTENT, required=True))
    ),
    reasoning=Object(
        (
            *_ITEM,
            Member("summary", anything, required=True),
            Member("content", anything),
            Member("encrypted_content", anything),
        )
    ),
    item_reference=not_emulated,
)

_FORMAT = tagged(
    text=Object((Member("type", string),)),
    json_object=Object((Member("type", string),)),
    json_schema=Object(
        (
            Member("type", string),
            Member("name", string, required=True),
            Member("schema", struct, required=True),
            Member("description", string),
            Member("strict", boolean),
        )
    ),
)

_TOOL = tagged(
    function=Object(
        (
            Member("type", string),
            Member("name", string, required=True),
            Member("description", string),
            Member("parameters", struct),
            Member("strict", boolean),
        )
    ),
    file_search=not_emulated,
    web_search=not_emulated,
    mcp=not_emulated,
    code_interpreter=not_emulated,
    image_generation=not_emulated,
)

_TOOL_CHOICE = either(
    choice("none", "auto", "required"),
    tagged(
        function=Object((Member("type", string), Member("name", string, required=True))),
        allowed_tools=not_emulated,
        mcp=not_emulated,
    ),
)

_REASONING = Object(
    (
        Member("effort", choice("none", "minimal", "low", "medium", "high")),
        Member("summary", string),
        Member("generate_summary", string),
    )
)

CREATE_RESPONSE = Object(
    (
        Member("model", string, required=True),
        Member("input", either(string, repeated(_INPUT_ITEM)), required=True),
        Member("instructions", string),
        Member("previous_response_id", string),
        Member("background", boolean),
        Member("store", boolean),
        Member("stream", boolean),
        Member("temperature", number),
        Member("top_p", number),
        Member("max_output_tokens", integer),
        Member("reasoning", _REASONING),
        Member("text", Object((Member("format", _FORMAT), Member("verbosity", string)))),
        Member("tools", repeated(_TOOL)),
        Member("tool_choice", _TOOL_CHOICE),
        Member("parallel_tool_calls", boolean),
        Member("conversation", not_emulated),
        Member("prompt", not_emulated),
        *_WITHOUT_EFFECT,
        *(Member(name, anything) for name in UNSUPPORTED),
    )
)
