"""The emulator's checker against the official protos: what they refuse is refused, what they accept is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as service
from yandex.cloud.iam.v1 import iam_token_service_pb2 as iam

from airflow_provider.yandex_ai_studio.emulator.wire import messages, proto_json

OFFICIAL: dict[str, Any] = {
    "completion": (messages.COMPLETION_REQUEST, service.CompletionRequest),
    "tokenize": (messages.TOKENIZE_REQUEST, service.TokenizeRequest),
    "iam": (messages.CREATE_IAM_TOKEN_REQUEST, iam.CreateIamTokenRequest),
}

WHOLE = {
    "modelUri": "gpt://b1g/yandexgpt",
    "completionOptions": {
        "stream": False,
        "temperature": 0.1,
        "maxTokens": "2000",
        "reasoningOptions": {"mode": "DISABLED"},
    },
    "messages": [
        {"role": "system", "text": "Translate"},
        {"role": "user", "text": "Ёж и 🦔"},
        {
            "role": "assistant",
            "toolCallList": {"toolCalls": [{"functionCall": {"name": "f", "arguments": {"a": [1, None]}}}]},
        },
        {
            "role": "user",
            "toolResultList": {"toolResults": [{"functionResult": {"name": "f", "content": "1"}}]},
        },
    ],
    "tools": [
        {
            "function": {
                "name": "f",
                "description": "d",
                "parameters": {"type": "object"},
                "strict": True,
            }
        }
    ],
    "jsonSchema": {"schema": {"type": "object"}},
    "parallelToolCalls": True,
    "toolChoice": {"mode": "AUTO"},
}

BODIES: list[tuple[str, str]] = [
    ("completion", json.dumps(case))
    for case in (
        WHOLE,
        {},
        {"model_uri": "u", "completion_options": {"max_tokens": 5, "reasoning_options": {"mode": 2}}},
        {"json_object": True, "tool_choice": {"function_name": "f"}, "parallel_tool_calls": False},
        {"modelUri": None, "messages": None, "completionOptions": None, "toolChoice": None},
        {"jsonObject": None, "jsonSchema": {"schema": {}}},
        {"completionOptions": {"temperature": None, "maxTokens": None}},
        *({"completionOptions": {"maxTokens": tokens}} for tokens in (1, "1", 1000.0, "1e3", "-5", "1.0", 2**63 - 1)),
        *({"completionOptions": {"maxTokens": tokens}} for tokens in (1.5, "1.5", "", " 1", "x", True, [], 2**63, {})),
        *({"completionOptions": {"temperature": value}} for value in (0, 1, 0.5, "0.5", "NaN", "Infinity", 2)),
        *({"completionOptions": {"temperature": value}} for value in ("warm", [], {}, {"value": 0.5}, "nan")),
        *({"completionOptions": {"stream": value}} for value in (True, False, "true", 1, None)),
        *(
            {"completionOptions": {"reasoningOptions": {"mode": value}}}
            for value in ("ENABLED_HIDDEN", "REASONING_MODE_UNSPECIFIED", 0, 1, 77, "ENABLED", "disabled")
        ),
        {"completionOptions": ["fast"]},
        {"completionOptions": "fast"},
        {"completionOptions": {"topP": 0.5}},
        {"messages": {}},
        {"messages": [None]},
        {"messages": ["hello"]},
        {"messages": [{"role": "user", "content": "hello"}]},
        {"messages": [{"role": 5, "text": "hello"}]},
        {"messages": [{"role": "user", "text": ["hello"]}]},
        {"messages": [{"role": "user", "text": "a", "toolCallList": {"toolCalls": []}}]},
        {"messages": [{"role": "user", "text": None, "toolCallList": {"toolCalls": []}}]},
        {"messages": [{"role": "user", "toolCallList": [{}]}]},
        {"messages": [{"role": "user", "toolCallList": {"toolCalls": [{"functionCall": {"arguments": "{}"}}]}}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tools": {"function": {"name": "f"}}},
        {"tools": [{"function": {"name": "f", "parameters": []}}]},
        {"jsonObject": True, "jsonSchema": {"schema": {}}},
        {"jsonObject": "true"},
        {"jsonSchema": {"type": "object"}},
        {"jsonSchema": {"schema": "{}"}},
        {"toolChoice": "auto"},
        {"toolChoice": {"mode": "AUTO", "functionName": "f"}},
        {"toolChoice": {"mode": "auto"}},
        {"parallelToolCalls": "yes"},
        {"parallelToolCalls": {"value": True}},
        {"model": "yandexgpt"},
        {"modeluri": "u"},
        {"ModelUri": "u"},
        {"modelUri": 5},
        [{}],
        "text",
    )
]
BODIES += [
    ("completion", '{"modelUri": "a", "modelUri": "b"}'),
    ("completion", '{"modelUri": "\\ud800"}'),
    ("completion", '{"completionOptions": {"temperature": NaN}}'),
    ("completion", "{"),
    ("completion", ""),
    ("tokenize", '{"modelUri": "u", "text": "t"}'),
    ("tokenize", '{"model_uri": "u", "text": null}'),
    ("tokenize", '{"modelUri": "u", "messages": []}'),
    ("iam", '{"jwt": "x"}'),
    ("iam", '{"yandexPassportOauthToken": "x"}'),
    ("iam", '{"jwt": "x", "yandexPassportOauthToken": "y"}'),
    ("iam", '{"token": "x"}'),
]


def ours_accepts(name: str, text: str) -> bool:
    try:
        OFFICIAL[name][0](proto_json.decode(text.encode()))
    except proto_json.MalformedBody:
        return False
    return True


def protos_accept(name: str, text: str) -> bool:
    try:
        json_format.Parse(text, OFFICIAL[name][1]())
    except json_format.ParseError:
        return False
    return True


@pytest.mark.parametrize(("name", "text"), BODIES)
def test_a_body_is_accepted_exactly_when_the_protos_accept_it(name: str, text: str) -> None:
    assert ours_accepts(name, text) == protos_accept(name, text)


def test_the_corpus_holds_both_kinds() -> None:
    verdicts = [protos_accept(*case) for case in BODIES]
    assert verdicts.count(True) > 20
    assert verdicts.count(False) > 20


def described(message: Any, seen: dict[str, set[tuple[str, str | None]]]) -> dict[str, set[tuple[str, str | None]]]:
    """Return the fields and oneofs of a message of the protos, and of those within it."""
    if message.full_name.startswith("google.protobuf.") or message.full_name in seen:
        return seen
    oneofs = {f.name: o.name for o in message.oneofs for f in o.fields}
    seen[message.full_name] = {(f.json_name, oneofs.get(f.name)) for f in message.fields}
    for field in message.fields:
        if field.message_type:
            described(field.message_type, seen)
    return seen


def test_every_message_has_the_fields_and_oneofs_of_its_proto() -> None:
    official: dict[str, set[tuple[str, str | None]]] = {}
    for _, proto in OFFICIAL.values():
        described(proto.DESCRIPTOR, official)
    ours = {
        message.name: {(field.name, field.oneof) for field in message.fields}
        for message in vars(messages).values()
        if isinstance(message, proto_json.Message)
    }
    assert ours == official


def test_values_come_back_in_their_normal_form() -> None:
    parsed = messages.COMPLETION_REQUEST(
        {
            "model_uri": "u",
            "completionOptions": {"max_tokens": "1e3", "temperature": "0.5", "reasoningOptions": {"mode": 2}},
            "jsonObject": None,
        }
    )
    assert parsed == {
        "modelUri": "u",
        "completionOptions": {
            "maxTokens": 1000,
            "temperature": 0.5,
            "reasoningOptions": {"mode": "ENABLED_HIDDEN"},
        },
    }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"modelUri": "a", "model_uri": "b"}, id="one field under both names"),
        pytest.param({"completionOptions": {"temperature": True}}, id="a bool for a number"),
        pytest.param({"completionOptions": []}, id="an empty list for a message"),
    ],
)
def test_what_only_the_python_parser_lets_through_is_refused_as_the_specification_says(body: Any) -> None:
    assert protos_accept("completion", json.dumps(body))
    assert not ours_accepts("completion", json.dumps(body))


def test_a_refusal_names_the_place_but_not_the_value() -> None:
    with pytest.raises(proto_json.MalformedBody, match=r"^messages\[1\].text: a string expected, not this int$"):
        messages.COMPLETION_REQUEST({"messages": [{"text": "a"}, {"text": 8675309}]})
