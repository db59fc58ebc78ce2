"""What the OpenAI-compatible APIs refuse, and in which words: without effect, and without repeating a secret."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.emulator.wire import chat, responses

KEY, FOLDER = "AQVNsecretsecretsecret", "b1gtestfolder"
USER = {"role": "user", "content": "x"}
IMAGE = {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/"}]}


def wrong(name: str, wanted: str, found: str) -> str:
    return f"{name}: {wanted} expected, not this {found}"


BOTH: list[tuple[dict[str, Any], str]] = [
    ({"model": "yandexgpt"}, "Failed to parse model URI"),
    ({"model": None}, "Missing required parameter: 'model'."),
    (
        {"model": "gpt://b1gother/yandexgpt"},
        "Specified folder ID 'b1gother' does not match with service account folder ID 'b1gtestfolder'",
    ),
    ({"maxTokens": "5"}, "Unknown parameter: 'maxTokens'."),
    ({"temperature": 1.5}, "temperature is 1.5, which is outside the range [0, 1]"),
    ({"temperature": "0.5"}, wrong("temperature", "a number", "str")),
    ({"top_p": -1}, "top_p is -1, which is outside the range [0, 1]"),
    ({"tool_choice": "required"}, "tool choice requires a call, but there are no tools"),
]
RESPONSES: list[tuple[dict[str, Any], str]] = [
    *BOTH,
    ({"input": None}, "Missing required parameter: 'input'."),
    ({"input": ""}, "input must not be empty"),
    ({"input": []}, "input must not be empty"),
    ({"input": [{"type": "reasoning", "summary": []}]}, "input must not be empty"),
    ({"input": 5}, wrong("input", "a list", "int")),
    ({"input": [{"role": "user", "text": "x"}]}, "Unknown parameter: 'input[0].text'."),
    ({"input": [{"role": "user"}]}, "Missing required parameter: 'input[0].content'."),
    (
        {"input": [{"role": "owner", "content": "x"}]},
        wrong("input[0].role", "one of user, assistant, system, developer", "str"),
    ),
    ({"input": [IMAGE]}, "'input[0].content[0]' is not emulated."),
    ({"conversation": "conv_1"}, "'conversation' is not emulated."),
    ({"tools": [{"type": "web_search"}]}, "'tools[0]' is not emulated."),
    (
        {"tools": [{"name": "f"}]},
        wrong(
            "tools[0]",
            "an object of type function, file_search, web_search, mcp, code_interpreter, image_generation",
            "dict",
        ),
    ),
    ({"tools": [{"type": "function"}]}, "Missing required parameter: 'tools[0].name'."),
    (
        {"tools": [{"type": "function", "name": "no spaces"}]},
        "'tools.name' must be of 1 to 64 letters, digits, underscores and dashes",
    ),
    ({"tool_choice": {"type": "function", "name": "f"}}, "tool choice names 'f', which is not among the tools"),
    ({"tool_choice": "foo"}, wrong("tool_choice", "one of none, auto, required", "str")),
    ({"max_output_tokens": 0}, "max_output_tokens is 0, it must be greater than zero"),
    ({"max_output_tokens": "100"}, wrong("max_output_tokens", "an integer", "str")),
    ({"background": "yes"}, wrong("background", "true or false", "str")),
    ({"background": True, "store": False}, "background requires store"),
    ({"background": True, "stream": True}, "a stream of a background response is not emulated"),
    (
        {"text": {"format": {"type": "json_schema", "name": "n"}}},
        "Missing required parameter: 'text.format.schema'.",
    ),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"$ref": "#/no"}}}},
        "the schema refers to '#/no', which it does not have",
    ),
    ({"response_format": {"type": "json_object"}}, "Unknown parameter: 'response_format'."),
]
CHAT: list[tuple[dict[str, Any], str]] = [
    *BOTH,
    ({"messages": None}, "Missing required parameter: 'messages'."),
    ({"messages": []}, "messages must not be empty"),
    ({"messages": [{**USER, "role": "owner"}]}, "invalid message role 'owner'"),
    ({"messages": [{"role": "user", "text": "x"}]}, "Unknown parameter: 'messages[0].text'."),
    ({"messages": [{"role": "user"}]}, "a message of the role 'user' needs content"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "a message of a tool needs tool_call_id"),
    ({"max_tokens": -1}, "max_tokens is -1, it must be greater than zero"),
    ({"n": 2}, "n other than 1 is not emulated"),
    # Recorded:
    ({"tool_choice": "foo"}, "invalid tool choice: foo"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "Missing required parameter: 'response_format.json_schema.name'.",
    ),
    ({"max_output_tokens": 5}, "Unknown parameter: 'max_output_tokens'."),
]


@pytest.mark.parametrize(("members", "message"), RESPONSES)
def test_a_wrong_request_for_a_response_is_refused(
    emulator: Emulator, client: Any, members: dict[str, Any], message: str
) -> None:
    answer = client.respond(**members)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": {"message": message, "type": "invalid_request_error"}},
    )
    assert emulator.stats()["generations"] == 0


@pytest.mark.parametrize(("members", "message"), CHAT)
def test_a_wrong_request_for_a_chat_completion_is_refused(
    emulator: Emulator, client: Any, members: dict[str, Any], message: str
) -> None:
    answer = client.chat(**members)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": {"message": message, "type": "invalid_request_error"}},
    )
    assert emulator.stats()["generations"] == 0


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions"])
@pytest.mark.parametrize("sent", [b"", b"\xff", b'{"model": }', b"[]", b'{"model": "a", "model": "b"}'])
def test_a_body_that_is_no_json_object_is_refused_in_the_same_shape(client: Any, path: str, sent: bytes) -> None:
    answer = client.session.post(client.url + path, data=sent)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_what_the_vendor_calls_not_supported_is_taken_and_has_no_effect(client: Any) -> None:
    usual = client.respond().json()
    made = client.respond(**{name: {"a": "b"} for name in responses.UNSUPPORTED})
    assert made.status_code == 200
    changed = {name for name in usual if made.json()[name] != usual[name]}
    assert changed <= {"id", "output", "created_at"}
    assert client.chat(**{name: {"a": "b"} for name in chat.UNSUPPORTED}).status_code == 200


def test_null_is_as_good_as_nothing(client: Any) -> None:
    made = client.respond(tools=None, temperature=None, previous_response_id=None, background=None, conversation=None)
    assert made.status_code == 200


@pytest.mark.parametrize("scheme", ["Api-Key", "Bearer"])
def test_an_api_key_comes_under_both_schemes(emulator: Emulator, connect: Any, scheme: str) -> None:
    client = connect(emulator, f"{scheme} {KEY}")
    made = client.respond(background=True)
    assert made.status_code == client.chat().status_code == 200
    assert client.response(made.json()["id"]).status_code == 200


def test_an_iam_token_comes_as_a_bearer(emulator: Emulator, connect: Any, client: Any) -> None:
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    token = client.get(path, **{"Metadata-Flavor": "Google"}).json()["access_token"]
    assert connect(emulator, f"Bearer {token}").respond().status_code == 200
    emulator.advance(13 * 3600)
    late = connect(emulator, f"Bearer {token}").respond()
    assert late.status_code == 401
    assert late.json()["error"]["message"].startswith("The token has expired")


def test_a_stranger_is_refused_and_his_secret_is_not_repeated(emulator: Emulator, connect: Any) -> None:
    for authorization in ("Api-Key AQVNanothersecretkey", "Bearer AQVNanothersecretkey", ""):
        client = connect(emulator, authorization)
        for answer in (client.respond(), client.chat(), client.response("x")):
            assert answer.status_code == 401
            assert answer.json()["error"].keys() == {"message", "type"}
            assert "another" not in answer.text


@pytest.mark.parametrize("header", ["OpenAI-Project", "x-folder-id"])
def test_a_folder_may_be_named_in_either_header(client: Any, header: str) -> None:
    path, body = "/v1/responses", {"model": f"gpt://{FOLDER}/yandexgpt", "input": "x"}
    assert client.post(path, body, **{header: FOLDER}).status_code == 200
    answer = client.post(path, body, **{header: "b1gother"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_wrong_method_is_refused_on_a_path_with_several(client: Any) -> None:
    made = client.respond().json()["id"]
    assert client.post(f"/v1/responses/{made}").status_code == 405
    assert client.get("/v1/responses").status_code == 405
