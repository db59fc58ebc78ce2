"""Answers that nobody planned for: a paid operation survives whatever stands beside its id and its text."""

import copy
import json
from decimal import Decimal
from typing import Any

import pendulum
import pytest
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.comms import SetXCom, _RequestFrame
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response
from pydantic import BaseModel, ConfigDict, computed_field

from airflow_provider.yandex_ai_studio.api import completion, responses, values
from airflow_provider.yandex_ai_studio.api.call import Answer, result_of
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Failure, Message, ToolCall, Usage
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest
from airflow_provider.yandex_ai_studio.exceptions import InvalidOutput, ServiceUnavailable

ENDPOINTS = Endpoints()
TURNS = (Message("user", "ping"),)
COMPLETION = CompletionRequest("gpt://b1g/yandexgpt", TURNS)
SUBMIT = completion.submit_completion(ENDPOINTS, COMPLETION)
COMPLETE = completion.complete(ENDPOINTS, COMPLETION)
GET = completion.get_operation(ENDPOINTS, "d7q1")
CREATE = responses.create_response(ENDPOINTS, ResponseRequest("gpt://b1g/yandexgpt", TURNS, background=True))
AT_ONCE = responses.create_response(ENDPOINTS, ResponseRequest("gpt://b1g/yandexgpt", TURNS))
RETRIEVE = responses.get_response(ENDPOINTS, "1e5ee267")

OPERATION = {
    "id": "d7q1",
    "description": "Async GPT Completion",
    "createdAt": "2026-06-06T12:45:48Z",
    "createdBy": "aje",
    "modifiedAt": "2026-06-06T12:45:49Z",
    "done": True,
    "metadata": None,
    "response": {
        "@type": "type.googleapis.com/yandex.cloud.ai.foundation_models.v1.CompletionResponse",
        "alternatives": [
            {
                "message": {"role": "assistant", "text": "pong", "toolCallList": None},
                "status": "ALTERNATIVE_STATUS_FINAL",
            }
        ],
        "usage": {
            "inputTextTokens": "30",
            "completionTokens": "10",
            "totalTokens": "40",
            "completionTokensDetails": {"reasoningTokens": "2"},
        },
        "modelVersion": "09.02.2025",
    },
    "error": None,
}
RESPONSE = {
    "id": "1e5ee267",
    "object": "response",
    "status": "completed",
    "created_at": 1758556157.0,
    "background": True,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "model": "gpt://b1g/yandexgpt",
    "output": [
        {"type": "reasoning", "id": "r1", "summary": []},
        {
            "type": "message",
            "id": "m1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "pong", "annotations": [], "logprobs": []}],
        },
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 40,
    },
}
TEXT_OF = {
    "d7q1": ("response", "alternatives", 0, "message", "text"),
    "1e5ee267": ("output", 1, "content", 0, "text"),
}


def told(call, answer):
    return result_of(call, Answer(200, json.dumps(answer).encode(), {}))


def paths(value, before=()):
    """Return where each member of a JSON value is."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [before] if before else []
    for key, item in inside:
        found += paths(item, (*before, key))
    return found


def replaced(answer, path, value):
    changed = copy.deepcopy(answer)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


def leads_to_the_text(answer, path):
    where = TEXT_OF[answer["id"]]
    return path == where[: len(path)]


def names_what_the_text_is_in(path):
    return path[-1] == "type"


WORDS = ["true", "false", "completed", "in_progress", "yes", "-1", "1e9", "9" * 25, "", "0001-01-01T00:00:00Z", "٣"]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["code", "message", "reason", "text", "usage", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize(("call", "answer"), [(SUBMIT, OPERATION), (CREATE, RESPONSE)], ids=["completion", "response"])
@given(data=st.data())
def test_an_answer_with_a_usable_id_is_a_submission_whatever_else_it_says(call, answer, data):
    path = data.draw(st.sampled_from([path for path in paths(answer) if path != ("id",)]))
    assert told(call, replaced(answer, path, data.draw(anything))).id == answer["id"]


@pytest.mark.parametrize(("call", "answer"), [(SUBMIT, OPERATION), (CREATE, RESPONSE)], ids=["completion", "response"])
@given(data=st.data())
def test_a_bare_id_among_any_garbage_is_a_submission(call, answer, data):
    garbage = {name: data.draw(anything) for name in answer if name != "id"}
    assert told(call, garbage | {"id": "d7q1"}).id == "d7q1"


@pytest.mark.parametrize(("call", "answer"), [(SUBMIT, OPERATION), (CREATE, RESPONSE)], ids=["completion", "response"])
@pytest.mark.parametrize(("value", "meant"), [(17, "17"), (" d7q1\n", "d7q1")])
def test_an_id_in_another_dress_is_a_submission(call, answer, value, meant):
    assert told(call, answer | {"id": value}).id == meant


@pytest.mark.parametrize(("call", "answer"), [(SUBMIT, OPERATION), (CREATE, RESPONSE)], ids=["completion", "response"])
@pytest.mark.parametrize("value", [None, "", " ", True, 5.5, -1.0, "a/b", "a b", "x" * 201, ["d7q1"], {}])
def test_an_id_that_cannot_be_asked_for_is_no_submission(call, answer, value):
    with pytest.raises(ServiceUnavailable) as error:
        told(call, answer | {"id": value})
    assert error.value.arrived


@pytest.mark.parametrize(
    ("call", "answer"),
    [(GET, OPERATION), (RETRIEVE, RESPONSE), (AT_ONCE, RESPONSE)],
    ids=["completion", "response", "response at once"],
)
@given(data=st.data())
def test_a_text_survives_whatever_stands_beside_it(call, answer, data):
    untouched = [path for path in paths(answer) if not leads_to_the_text(answer, path)]
    path = data.draw(st.sampled_from([path for path in untouched if not names_what_the_text_is_in(path)]))
    value = data.draw(anything)
    seen = told(call, replaced(answer, path, value))
    if path == ("error",) and answer is OPERATION and seen.error:
        assert value["code"]  # an error with a code outweighs a text, as the vendor's SDK has it
    elif path == ("status",) and call is RETRIEVE:
        assert (seen.done, seen.error) == (value == "completed", None)  # neither done nor lost
    else:
        assert (seen.done, seen.error, seen.generation.text) == (True, None, "pong")
        assert all(type(count) is int and count >= 0 for count in seen.generation.usage.as_dict().values())


@pytest.mark.parametrize(
    ("call", "answer"),
    [(GET, OPERATION), (RETRIEVE, RESPONSE), (AT_ONCE, RESPONSE)],
    ids=["completion", "response", "response at once"],
)
@given(data=st.data())
def test_a_text_that_cannot_be_read_ends_the_operation_and_never_crashes(call, answer, data):
    path = data.draw(st.sampled_from([path for path in paths(answer) if leads_to_the_text(answer, path)]))
    value = data.draw(anything)
    seen = told(call, replaced(answer, path, value))
    assert (seen.done, seen.error) == (True, None)
    if seen.generation is not None and seen.generation.status != "unreadable":
        assert seen.generation.text in ("", value)


@pytest.mark.parametrize("path", [("output", 1, "type"), ("output", 1, "content", 0, "type")])
@given(value=anything)
def test_a_text_of_an_unknown_type_is_unreadable_and_not_paid_for_again(path, value):
    assert told(RETRIEVE, replaced(RESPONSE, path, value)).generation.status == "unreadable"


@given(answer=anything)
@pytest.mark.parametrize("call", [GET, RETRIEVE], ids=["completion", "response"])
def test_an_answer_that_says_nothing_is_no_news(call, answer):
    try:
        seen = told(call, answer)
    except ServiceUnavailable:
        return
    assert seen.error


@pytest.mark.parametrize(
    ("created", "meant"),
    [
        (1758556157, 1758556157),
        (1758556157.25, 1758556157.25),
        (1758556157206.0, 1758556157.206),
        ("2026-06-06T12:45:48Z", 1780749948),
        *[(nonsense, None) for nonsense in (0, -1, 1, True, "1758556157", "0001-01-01T00:00:00Z", 10**400, 1e18)],
        *[(nonsense, None) for nonsense in (float("nan"), float("inf"), None, [], {}, "9999-12-31T23:59:59Z")],
    ],
)
@pytest.mark.parametrize(("call", "field"), [(SUBMIT, "createdAt"), (CREATE, "created_at")])
def test_a_time_is_read_in_seconds_or_milliseconds_and_nonsense_is_none(call, field, created, meant):
    at = told(call, {"id": "d7q1", field: created}).created_at
    assert at == (None if meant is None else pendulum.from_timestamp(meant))


@pytest.mark.parametrize("value", [-1, True, "-1", 1.5, "many", float("nan"), float("inf"), 2**63, "9" * 25, [], None])
def test_a_number_that_cannot_be_read_is_nought(value):
    usage = {"inputTextTokens": value, "completionTokens": value, "totalTokens": "40"}
    seen = told(COMPLETE, OPERATION["response"] | {"usage": usage})
    assert (seen.text, seen.usage) == ("pong", Usage(0, 0, 40))


@pytest.mark.parametrize(
    ("said", "ended"),
    [
        (True, True),
        ("true", True),
        ("True", True),
        *[(no, False) for no in (False, None, "false", "no", "", [], {}, 5)],
    ],
)
def test_only_a_clear_yes_ends_an_operation_that_shows_no_outcome(said, ended):
    seen = told(GET, {"id": "d7q1", "done": said})
    assert (seen.done, seen.error, seen.generation) == (ended, None, None)


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        ({"code": 8, "message": "quota"}, Failure(8, "quota")),
        ({"code": "8"}, Failure(8, "")),
        ({"code": "server_error", "message": 5}, Failure("server_error", "")),
        ({"message": "boom"}, Failure(0, "boom")),
        ("boom", Failure(0, "boom")),
        *[(nothing, None) for nothing in ({}, None, "", " ", [], ["boom"], 5, True, {"code": True}, {"code": -3})],
    ],
)
@pytest.mark.parametrize("done", [True, False])
def test_an_error_that_can_be_read_is_final_and_garbage_is_none(error, meant, done):
    assert told(GET, {"id": "d7q1", "done": done, "error": error}).error == meant
    status = "completed" if done else "on its way"
    assert told(RETRIEVE, {"id": "1e5ee267", "status": status, "error": error}).error == meant


def test_an_error_without_a_code_does_not_outweigh_a_text():
    for error in ("boom", {"message": "boom"}, {}, [5]):
        assert told(GET, OPERATION | {"error": error}).error is None
    assert told(GET, OPERATION | {"error": {"code": 13}}).error == Failure(13, "")


def test_no_answer_at_all_is_told_from_one_that_cannot_be_read():
    for nothing in (None, {}, [], "", {"alternatives": []}, {"alternatives": None}):
        assert told(GET, OPERATION | {"response": nothing}).generation is None
    for garbage in ("pong", [5], 5, {"alternatives": "pong"}, {"alternatives": [None]}, {"alternatives": {"a": 1}}):
        assert told(GET, OPERATION | {"response": garbage}).generation.status == "unreadable"
        running = told(GET, OPERATION | {"response": garbage, "done": False})
        assert (running.done, running.generation) == (False, None)


def test_an_unreadable_answer_still_says_what_was_billed():
    usage = OPERATION["response"]["usage"]
    garbage = {"alternatives": ["pong"], "usage": usage, "modelVersion": "1"}
    seen = told(GET, OPERATION | {"response": garbage}).generation
    assert (seen.usage, seen.model_version) == (Usage(30, 10, 40, 2), "1")


def test_a_text_that_is_still_written_does_not_end_an_operation():
    partial = replaced(OPERATION, ("response", "alternatives", 0, "status"), "ALTERNATIVE_STATUS_PARTIAL")
    assert not told(GET, partial | {"done": False}).done
    assert told(GET, partial).generation.status == "partial"


def test_calls_of_tools_are_taken_in_whole_or_not_at_all():
    good, bad = {"functionCall": {"name": "f", "arguments": {"a": 1}}}, {"functionCall": {"name": 5}}

    def calls(listed, text):
        message = {"text": text, "toolCallList": listed}
        return told(COMPLETE, {"alternatives": [{"message": message, "status": "ALTERNATIVE_STATUS_TOOL_CALLS"}]})

    assert calls({"toolCalls": [good]}, None).tool_calls == (ToolCall("f", {"a": 1}),)
    for garbage in ({"toolCalls": [good, bad]}, {"toolCalls": "f"}, ["f"], {"toolCalls": [None]}):
        assert calls(garbage, None).status == "unreadable"
        assert (calls(garbage, "pong").text, calls(garbage, "pong").tool_calls) == ("pong", ())


def call_of(name="weather", arguments='{"city": "Moscow"}', **members):
    return {"type": "function_call", "call_id": "c1", "name": name, "arguments": arguments, **members}


def message_of(*parts, **members):
    return {
        "type": "message",
        "id": "m1",
        "role": "assistant",
        "status": "completed",
        "content": list(parts),
        **members,
    }


REFUSAL = {"type": "refusal", "refusal": "I won't."}
OUTPUT_TEXT = {"type": "output_text", "text": "pong", "annotations": []}
WEATHER = ToolCall("weather", {"city": "Moscow"})


@pytest.mark.parametrize(
    ("output", "status", "text", "calls"),
    [
        ([message_of(REFUSAL)], "refusal", "I won't.", ()),
        ([message_of(OUTPUT_TEXT, REFUSAL)], "refusal", "I won't.", ()),
        ([call_of()], "tool_calls", "", (WEATHER,)),
        ([call_of(arguments="")], "tool_calls", "", (ToolCall("weather", {}),)),
        ([call_of(), call_of("time", "{}")], "tool_calls", "", (WEATHER, ToolCall("time", {}))),
        ([message_of(OUTPUT_TEXT), call_of()], "tool_calls", "pong", (WEATHER,)),
        ([message_of(OUTPUT_TEXT)], "final", "pong", ()),
        ([message_of({"type": "output_text", "text": "", "annotations": []})], "final", "", ()),
        ([message_of(OUTPUT_TEXT), call_of(arguments="{")], "final", "pong", ()),
        ([call_of(arguments="{")], "unreadable", "", ()),
        ([{"type": "web_search_call", "id": "w1", "status": "completed"}], "unreadable", "", ()),
    ],
)
def test_what_a_response_holds_instead_of_a_text_has_a_type(output, status, text, calls):
    seen = told(RETRIEVE, RESPONSE | {"output": output}).generation
    assert (seen.status, seen.text, seen.tool_calls) == (status, text, calls)


@pytest.mark.parametrize("output", [None, [], [{"type": "reasoning", "id": "r1", "summary": []}], [message_of()]])
def test_a_response_of_nothing_or_of_reasoning_alone_has_no_answer(output):
    seen = told(RETRIEVE, RESPONSE | {"output": output})
    assert (seen.done, seen.generation, seen.error) == (True, None, None)


def test_a_call_that_was_cut_off_is_no_call():
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    seen = told(RETRIEVE, RESPONSE | cut | {"output": [call_of(arguments='{"ci')]})
    assert (seen.error.code, seen.generation) == ("max_output_tokens", None)
    seen = told(RETRIEVE, RESPONSE | cut)
    assert (seen.error, seen.generation.status, seen.generation.text) == (None, "truncated", "pong")


@pytest.mark.parametrize("members", [{}, {"output": [message_of(REFUSAL)]}, {"output": [call_of()]}])
def test_the_answers_of_these_tests_are_those_that_openai_s_client_knows(members):
    read = Response.model_validate(RESPONSE | members, strict=True)
    assert [item.type for item in read.output] == [item["type"] for item in (RESPONSE | members)["output"]]
    assert (read.output_text or None) == ("pong" if not members else None)


def read(call, data):
    return result_of(call, Answer(200, json.dumps(data).encode(), {}))


UNSTORABLE = "a\0b\ud83ec"
STORED = "a\ufffdb\ufffdc"


def test_what_postgresql_cannot_store_is_replaced_so_that_no_paid_answer_is_lost_in_xcom():
    told = copy.deepcopy(OPERATION)
    [alternative] = told["response"]["alternatives"]
    alternative["message"] = {"role": "assistant", "text": UNSTORABLE}
    assert read(GET, told).generation.text == STORED
    call = {"functionCall": {"name": "note", "arguments": {UNSTORABLE: [UNSTORABLE, {"n": UNSTORABLE}, 1, None]}}}
    alternative["message"] = {"role": "assistant", "toolCallList": {"toolCalls": [call]}}
    [asked] = read(GET, told).generation.tool_calls
    assert asked.arguments == {STORED: [STORED, {"n": STORED}, 1, None]}


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"\ud83e\udd86", "\U0001f986"),  # a pair: one character
        (r"\uD83E\uDD86", "\U0001f986"),
        (r"\ud83e\ud83e\udd86", "\ufffd\U0001f986"),
        (r"\udd86\ud83e", "\ufffd\ufffd"),
        (r"\uDFFF\uD800", "\ufffd\ufffd"),
        (r"\\u0000", r"\u0000"),  # a backslash and five letters
        (r"\\\u0000", "\\\ufffd"),
        (r"\n\u0001\ud7ff\ue000", "\n\x01\ud7ff\ue000"),
        ('\\"\U0001f986', '"\U0001f986'),
    ],
)
def test_all_else_is_read_as_it_is_escaped(escaped, text):
    assert values.decoded(f'"{escaped}"') == values.decoded(f'"{escaped}"'.encode()) == text


def test_what_is_no_utf_8_is_replaced_and_costs_no_answer():
    assert values.decoded(b'\xef\xbb\xbf["a\xed\xa0\xbe\xff"]') == ["a\ufffd\ufffd\ufffd\ufffd"]


def test_a_structured_answer_can_be_stored_as_well():
    assert Output.of(json_object=True, json_schema=None).value_of(json.dumps({"a": UNSTORABLE})) == {"a": STORED}


NUMBERS = "[NaN, -Infinity, 1e999, -1e400, 18446744073709551616, -9223372036854775809, 1" + "0" * 5000 + "]"
"""Numbers that no XCom can hold: not finite, or of more than 64 bits."""


def test_a_number_that_cannot_be_stored_stays_the_text_that_it_is_written_as():
    kept = ["NaN", "-Infinity", "1e999", "-1e400", "18446744073709551616", "-9223372036854775809", "1" + "0" * 5000]
    assert values.decoded(NUMBERS) == kept
    assert [values.unstorable(one) for one in values.decoded(NUMBERS)] == [None] * 7
    told = ["18446744073709551615", "-9223372036854775808", "1e308", "-0.5", "true"]
    assert values.decoded(f"[{','.join(told)}]") == [2**64 - 1, -(2**63), 1e308, -0.5, True]


def test_arguments_of_a_tool_that_cannot_be_stored_stay_texts_in_both_apis():
    body = json.dumps({**RESPONSE, "output": [call_of(arguments='{"price": NaN, "paid": [1e999, 1]}')]})
    [asked] = result_of(RETRIEVE, Answer(200, body.encode(), {})).generation.tool_calls
    assert asked.arguments == {"price": "NaN", "paid": ["1e999", 1]}
    told = copy.deepcopy(OPERATION)
    call = {"functionCall": {"name": "pay", "arguments": {"price": float("nan"), "paid": [float("inf"), 1]}}}
    told["response"]["alternatives"][0]["message"] = {"role": "assistant", "toolCallList": {"toolCalls": [call]}}
    [asked] = read(GET, told).generation.tool_calls
    assert asked.arguments == {"price": "NaN", "paid": ["Infinity", 1]}


def test_numbers_beside_an_answer_cost_no_answer_whatever_they_are():
    body = json.dumps(OPERATION).replace('"30"', "NaN").replace('"10"', "1" + "0" * 5000).replace('"40"', "1e999")
    generation = result_of(GET, Answer(200, body.encode(), {})).generation
    assert (generation.text, generation.usage) == ("pong", Usage(reasoning_tokens=2))


def nested(depth):
    """Return an object with this many levels below it."""
    value = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("arguments", [nested(101), {"a": [{"__classname__": "x"}]}, {"__id__": 1}])
def test_a_call_with_arguments_that_no_xcom_takes_is_unreadable_and_not_paid_for_again(arguments):
    told = copy.deepcopy(OPERATION)
    call = {"functionCall": {"name": "note", "arguments": arguments}}
    told["response"]["alternatives"][0]["message"] = {"role": "assistant", "toolCallList": {"toolCalls": [call]}}
    assert read(GET, told).generation.status == "unreadable"


class Anything(BaseModel):
    """A model that takes any value, and writes it down as it is."""

    model_config = ConfigDict(ser_json_inf_nan="constants")
    a: Any


class Emptied(BaseModel):
    """A model that pydantic writes down with None for what is not finite."""

    a: Any


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1e999}', "a number that JSON has no form for"),
        ('{"a": [{"b": 18446744073709551616}]}', "more than 64 bits"),
        ('{"a": {"__classname__": "x"}}', "__classname__"),
        (json.dumps(nested(101)), "nested too deeply"),
        (json.dumps(nested(400)), "nested too deeply"),
    ],
    ids=["infinite", "huge", "reserved", "deep", "deeper"],
)
@pytest.mark.parametrize(
    "form",
    [
        {"json_object": True, "json_schema": None},
        {"json_object": False, "json_schema": {"type": "object"}},
        {"json_object": False, "json_schema": Anything},
        {"json_object": False, "json_schema": Emptied},
    ],
    ids=["an object", "a schema", "a model", "a model that empties"],
)
def test_a_structured_answer_that_no_xcom_takes_is_invalid(form, text, why):
    with pytest.raises(InvalidOutput, match=why):
        Output.of(**form).value_of(text)


def test_a_number_that_a_model_works_out_is_looked_at_as_well():
    class Rate(Anything):
        @computed_field
        def rate(self) -> float:
            return float("inf")

    with pytest.raises(InvalidOutput, match="a number that JSON has no form for"):
        Output.of(json_object=False, json_schema=Rate).value_of('{"a": 1}')


def test_what_can_be_stored_can_be_written_to_xcom():
    """By Airflow's own way: from the task to its supervisor, and on to the API server."""
    edges = [nested(98), 2**64 - 1, -(2**63), 1e308, {"__type": "x"}, "\ufffd", None, True]
    assert values.unstorable(edges) is None
    written = BaseXCom.serialize_value(edges)
    sent = SetXCom(key="return_value", value=written, dag_id="d", task_id="t", run_id="r").model_dump()
    assert _RequestFrame(id=1, body=sent).as_bytes()
    assert json.loads(json.dumps(written, allow_nan=False)) == edges


def test_a_model_makes_of_a_number_what_it_likes_before_it_is_stored():
    class Amount(BaseModel):
        a: Decimal

    form = Output.of(json_object=False, json_schema=Amount)
    assert form.value_of('{"a": 40817810099910004312}') == {"a": "40817810099910004312"}


def test_an_end_without_an_id_is_that_of_the_operation_that_was_asked_for():
    assert read(GET, {"id": None, "done": True, "error": {"code": 13, "message": "boom"}}).id == "d7q1"
