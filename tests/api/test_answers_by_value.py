"""What each call makes of answers in which every field has a value of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api import completion, iam, responses
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import (
    Failure,
    Generation,
    IssuedToken,
    Message,
    Operation,
    ToolCall,
    Usage,
)
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest

AT = Endpoints()
MODEL = "gpt://b1g/yandexgpt"
REQUEST = CompletionRequest(MODEL, (Message("user", "ping"),))
RESPONSE = ResponseRequest(MODEL, (Message("user", "ping"),), background=True)

USAGE = {
    "inputTextTokens": "1",
    "completionTokens": "2",
    "totalTokens": "3",
    "completionTokensDetails": {"reasoningTokens": "4"},
}
USED = Usage(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        ("ALTERNATIVE_STATUS_PARTIAL", "partial"),
        ("ALTERNATIVE_STATUS_FINAL", "final"),
        ("ALTERNATIVE_STATUS_TRUNCATED_FINAL", "truncated"),
        ("ALTERNATIVE_STATUS_CONTENT_FILTER", "content_filter"),
        ("ALTERNATIVE_STATUS_UNSPECIFIED", "unspecified"),
    ],
)
def test_a_completion_is_read_by_the_wire_s_names(status: str, meant: str) -> None:
    alternative = {"message": {"role": "assistant", "text": "pong"}, "status": status}
    told = {"alternatives": [alternative, {"message": {"text": "another"}}], "usage": USAGE, "modelVersion": "7"}
    expected = Generation("pong", meant, USED, "7")
    assert completion.complete(AT, REQUEST).parse({"result": told}) == expected
    assert completion.complete(AT, REQUEST).parse(told) == expected
    read = completion.get_operation(AT, "d7q1").parse({"id": "d7q1", "done": True, "response": told})
    assert read == Operation("d7q1", "completion", done=True, generation=expected)


def test_calls_of_tools_are_read_by_the_wire_s_names() -> None:
    listed = {"toolCalls": [{"functionCall": {"name": "f", "arguments": {"a": 1}}}]}
    told = {"alternatives": [{"message": {"toolCallList": listed}, "status": "ALTERNATIVE_STATUS_TOOL_CALLS"}]}
    assert completion.complete(AT, REQUEST).parse(told) == Generation(
        "", "tool_calls", Usage(), tool_calls=(ToolCall("f", {"a": 1}),)
    )


def test_an_end_without_an_id_is_that_of_what_was_asked_for_and_a_new_one_needs_its_own() -> None:
    over = {"done": True, "error": {"code": 13, "message": "boom"}}
    expected = Operation("d7q1", "completion", done=True, error=Failure(13, "boom"))
    assert completion.get_operation(AT, "d7q1").parse(over) == expected
    assert completion.cancel_operation(AT, "d7q1", method="GET").parse(over) == expected
    with pytest.raises(ValueError, match="id"):
        completion.submit_completion(AT, REQUEST).parse(over)


FINAL = "ALTERNATIVE_STATUS_FINAL"


@pytest.mark.parametrize(
    "answer",
    [
        "a text",
        {"message": {"text": "pong"}},
        {"alternatives": {"message": {"text": "pong"}}},
        {"alternatives": ["odd"]},
        {"alternatives": [{"message": "odd", "status": FINAL}]},
        {"alternatives": [{"message": {"text": 5}, "status": FINAL}]},
        {"alternatives": [{"message": {"text": 5, "toolCallList": {"toolCalls": []}}, "status": FINAL}]},
        {"alternatives": [{"message": {"toolCallList": "odd"}, "status": FINAL}]},
        {"alternatives": [{"message": {"toolCallList": {"toolCalls": "odd"}}, "status": FINAL}]},
        {"alternatives": [{"message": {"toolCallList": {"toolCalls": [{"functionCall": 5}]}}, "status": FINAL}]},
    ],
    ids=range(10),
)
def test_a_completion_that_can_t_be_read_is_an_answer_all_the_same(answer: Any) -> None:
    """It was paid for, and another release may read it."""
    read = completion.get_operation(AT, "d7q1").parse({"id": "d7q1", "done": True, "response": answer})
    assert read.done
    if isinstance(answer, dict) and "alternatives" not in answer:
        assert read.generation is None
    else:
        assert read.generation == Generation("", "unreadable", Usage())


def test_alternatives_and_calls_are_read_without_what_should_stand_around_them() -> None:
    call = {"functionCall": {"name": "f", "arguments": {"a": 1}}}
    told = [{"message": {"toolCallList": [call]}, "status": "ALTERNATIVE_STATUS_TOOL_CALLS"}]
    expected = Generation("", "tool_calls", Usage(), tool_calls=(ToolCall("f", {"a": 1}),))
    read = completion.get_operation(AT, "d7q1").parse({"id": "d7q1", "done": True, "response": told})
    assert read.generation == expected


def test_an_operation_says_itself_what_it_is_called_and_since_when_it_runs() -> None:
    told = {"id": "another", "createdAt": "2026-01-01T00:00:00Z", "modifiedAt": "2026-01-01T00:00:01Z"}
    for read in (
        completion.get_operation(AT, "d7q1").parse(told),
        responses.get_response(AT, "resp-1").parse({**told, "status": "queued"}),
    ):
        assert (read.id, read.done) == ("another", False)
        assert read.created_at
        assert read.modified_at
        assert (read.modified_at - read.created_at).total_seconds() == 1


def test_a_completion_without_an_alternative_is_none() -> None:
    with pytest.raises(ValueError, match="the answer has no alternatives"):
        completion.complete(AT, REQUEST).parse({"result": {"alternatives": []}})


def test_tokens_are_counted() -> None:
    assert completion.count_tokens(AT, REQUEST).parse({"tokens": [{}, {}, {}]}) == 3


RESPONSE_USAGE = {
    "input_tokens": 1,
    "output_tokens": 2,
    "total_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 4},
}


def response(status: str, *output: Any, **more: Any) -> Operation:
    told = {"id": "resp-1", "status": status, "output": [*output], "usage": RESPONSE_USAGE, "model": "m", **more}
    read: Operation = responses.get_response(AT, "resp-1").parse(told)
    return read


def says(*texts: Any, kind: str = "output_text", key: str = "text") -> dict[str, Any]:
    return {"type": "message", "content": [{"type": kind, key: text} for text in texts]}


def test_a_response_is_read_by_the_wire_s_names() -> None:
    read = response("completed", {"type": "reasoning"}, says("po", "ng"), says("!"))
    assert read == Operation("resp-1", "responses", done=True, generation=Generation("pong!", "final", USED, "m"))


@pytest.mark.parametrize(
    ("status", "output", "more", "text", "kind"),
    [
        ("incomplete", [says("po")], {}, "po", "truncated"),
        ("incomplete", [says("po")], {"incomplete_details": {"reason": "max_output_tokens"}}, "po", "truncated"),
        ("incomplete", [says("po")], {"incomplete_details": {"reason": "content_filter"}}, "po", "content_filter"),
        ("incomplete", [], {"incomplete_details": {"reason": "content_filter"}}, "", "content_filter"),
        ("completed", [says("a"), says("No.", kind="refusal", key="refusal")], {}, "No.", "refusal"),
        ("completed", [says(5)], {}, "", "unreadable"),
        ("completed", [says("a", kind="output_image")], {}, "", "unreadable"),
        ("completed", [{"type": "novelty"}], {}, "", "unreadable"),
        ("completed", ["a text"], {}, "", "unreadable"),
    ],
)
def test_what_a_response_holds_has_a_status(
    status: str, output: list[Any], more: dict[str, Any], text: str, kind: str
) -> None:
    assert response(status, *output, **more).generation == Generation(text, kind, USED, "m")


CALLED = {"type": "function_call", "name": "f", "arguments": '{"a": 1}'}


def test_of_an_answer_that_was_cut_off_no_call_is_taken_for_half_of_it_would_be_another() -> None:
    assert response("incomplete", says("po"), CALLED).generation == Generation("po", "truncated", USED, "m")
    cut = response("incomplete", CALLED)
    assert (cut.generation, cut.error and cut.error.code) == (None, "incomplete")


@pytest.mark.parametrize(("beside", "text"), [([], ""), ([says("Wait.")], "Wait.")], ids=["alone", "beside a text"])
def test_calls_of_functions_are_the_answer_of_a_response(beside: list[Any], text: str) -> None:
    assert response("completed", *beside, CALLED).generation == Generation(
        text, "tool_calls", USED, "m", (ToolCall("f", {"a": 1}),)
    )


@pytest.mark.parametrize(
    ("status", "more", "failure"),
    [
        ("failed", {"error": {"code": "server_error", "message": "boom"}}, Failure("server_error", "boom")),
        ("failed", {"error": {"message": "boom"}}, Failure("failed", "boom")),
        ("failed", {}, Failure("failed", "the response is failed (failed)")),
        ("cancelled", {}, Failure("cancelled", "the response is cancelled (cancelled)")),
        ("cancelled", {"error": {"code": "other", "message": "by you"}}, Failure("cancelled", "by you")),
        (
            "incomplete",
            {"incomplete_details": {"reason": "max_output_tokens"}},
            Failure("max_output_tokens", "the response is incomplete (max_output_tokens)"),
        ),
        ("incomplete", {}, Failure("incomplete", "the response is incomplete (incomplete)")),
        ("completed", {"error": {"code": "c", "message": "m"}}, Failure("c", "m")),
        ("completed", {}, None),
    ],
    ids=str,
)
def test_a_response_without_an_answer_says_why(status: str, more: Any, failure: Failure | None) -> None:
    assert response(status, **more) == Operation("resp-1", "responses", done=True, error=failure)


def test_a_response_that_was_cut_off_calls_nothing() -> None:
    """Its last call may be cut off, too."""
    assert response("incomplete", says("Wait."), CALLED).generation == Generation("Wait.", "truncated", USED, "m")
    cut_off = Failure("incomplete", "the response is incomplete (incomplete)")
    for output in ([CALLED], [{"type": "novelty"}]):
        assert response("incomplete", *output) == Operation("resp-1", "responses", done=True, error=cut_off)


@pytest.mark.parametrize(
    "output",
    [
        [{"type": "reasoning", "content": [{"text": "Hm."}]}],
        {"type": "reasoning", "content": [{"text": "Hm."}]},
        [{"type": "message", "content": []}],
        [{"type": "message"}],
        [{}],
        [None],
        "",
    ],
    ids=range(7),
)
def test_a_response_that_says_nothing_has_no_answer(output: Any) -> None:
    assert response("completed", output=output).generation is None


@pytest.mark.parametrize("output", [[{"type": "message", "content": "odd"}], [{"a": 1}], "odd", {"a": 1}], ids=range(4))
def test_a_response_that_says_something_that_can_t_be_read_has_an_answer(output: Any) -> None:
    assert response("completed", output=output).generation == Generation("", "unreadable", USED, "m")


def test_an_answer_outweighs_an_error_that_came_with_it_and_what_runs_has_none() -> None:
    error = {"code": "c", "message": "m"}
    assert response("completed", says("a"), error=error).error is None
    assert response("in_progress", error=error).error is None
    assert response("pondering", error=error).error == Failure("c", "m")


@pytest.mark.parametrize("status", ["queued", "in_progress", "pondering"])
def test_a_response_that_is_not_done_has_neither_answer_nor_error(status: str) -> None:
    assert response(status, says("po")) == Operation("resp-1", "responses")


@pytest.mark.parametrize(
    ("status", "done"), [("completed", True), ("pondering", True), (None, True), ("queued", False)], ids=str
)
def test_a_response_that_was_waited_for_is_done_unless_it_says_that_it_runs(status: str | None, done: bool) -> None:
    at_once = responses.create_response(AT, replace(RESPONSE, background=False))
    read = at_once.parse({"id": "resp-1", "status": status, "output": [says("pong")]})
    assert read.done is done
    assert (read.generation is not None) is done
    assert at_once.parse({"status": "completed", "output": [says("pong")]}).id == ""
    with pytest.raises(ValueError, match="id"):
        responses.create_response(AT, RESPONSE).parse({"status": "queued"})
    with pytest.raises(ValueError, match="id"):
        responses.create_response(AT, RESPONSE).parse({"status": "completed", "output": [says("pong")]})


def test_the_models_are_listed_by_their_uris() -> None:
    assert responses.list_models(AT).parse({"data": [{"id": MODEL}, {"id": "emb://b1g/x"}]}) == [MODEL, "emb://b1g/x"]


def test_tokens_are_read_with_the_time_that_they_last() -> None:
    told = {"iamToken": "t1.x", "expiresAt": "1970-01-01T01:00:00Z"}
    assert iam.exchange_jwt(AT, "j", now=7.0).parse(told) == IssuedToken("t1.x", 3600.0)
    assert iam.exchange_jwt(AT, "j", now=7.0).parse({**told, "expiresAt": "soon"}) == IssuedToken("t1.x", 7.0)
    told = {"access_token": "t1.x", "expires_in": 60}
    assert iam.metadata_token(AT, now=7.0).parse(told) == IssuedToken("t1.x", 67.0)
    assert iam.metadata_token(AT, now=7.0).parse({"access_token": "t1.x"}) == IssuedToken("t1.x", 7.0)


def test_one_base_url_is_that_of_all_services() -> None:
    assert Endpoints.at("http://x/X/").llm == "http://x/X"
    assert Endpoints.at("http://x/") == Endpoints("http://x", "http://x", "http://x", "http://x", "http://x")
