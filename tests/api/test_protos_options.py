"""Each option of a completion, and the calls of tools, held against the vendor's own protos."""

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st
from yandex.cloud.ai.foundation_models.v1 import text_common_pb2 as text
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as generation

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Message, ToolCall, ToolResult
from airflow_provider.yandex_ai_studio.api.output import Output

ENDPOINTS = Endpoints()
MODEL = "gpt://b1g/yandexgpt"
REQUEST = CompletionRequest(MODEL, (Message("user", "ping"),))

texts = st.text(min_size=1, max_size=50)
structs = st.dictionaries(st.sampled_from("abc"), texts | st.booleans() | st.integers(-(2**53), 2**53), max_size=3)
calls = st.lists(st.builds(ToolCall, texts, structs), min_size=1, max_size=2).map(tuple)
results = st.lists(st.builds(ToolResult, texts, texts), min_size=1, max_size=2).map(tuple)
turns = (
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts)
    | st.builds(Message, st.just("assistant"), tool_calls=calls)
    | st.builds(Message, st.just("user"), tool_results=results)
)
tools = st.fixed_dictionaries(
    {"name": texts}, optional={"description": texts, "parameters": structs, "strict": st.just(True)}
)
options = st.fixed_dictionaries(
    {"messages": st.lists(turns, min_size=1, max_size=3).map(tuple)},
    optional={
        "reasoning": st.sampled_from(["disabled", "enabled_hidden"]),
        "output": st.just(Output(json_object=True)) | structs.map(lambda schema: Output(schema=schema)),
        "tools": st.lists(tools, min_size=1, max_size=2).map(tuple),
        "tool_choice": st.sampled_from(["auto", "none", "required", "weather"]),
        "parallel_tool_calls": st.booleans(),
    },
)


def options_meant_by(read):
    """Say what a request asks for beside the model, in the words of the package."""
    parts = {"messages": tuple(turn_meant_by(message) for message in read.messages)}
    if read.completion_options.HasField("reasoning_options"):
        mode = read.completion_options.reasoning_options.mode
        parts["reasoning"] = text.ReasoningOptions.ReasoningMode.Name(mode).lower()
    match read.WhichOneof("ResponseFormat"):
        case "json_object":
            parts["output"] = Output(json_object=read.json_object)
        case "json_schema":
            parts["output"] = Output(schema=MessageToDict(read.json_schema.schema))
    if read.tools:
        parts["tools"] = tuple(MessageToDict(tool.function) for tool in read.tools)
    match read.tool_choice.WhichOneof("ToolChoice"):
        case "mode":
            parts["tool_choice"] = text.ToolChoice.ToolChoiceMode.Name(read.tool_choice.mode).lower()
        case "function_name":
            parts["tool_choice"] = read.tool_choice.function_name
    if read.HasField("parallel_tool_calls"):
        parts["parallel_tool_calls"] = read.parallel_tool_calls.value
    return parts


def turn_meant_by(message):
    match message.WhichOneof("Content"):
        case "tool_call_list":
            made = [call.function_call for call in message.tool_call_list.tool_calls]
            return Message(
                message.role, tool_calls=tuple(ToolCall(call.name, MessageToDict(call.arguments)) for call in made)
            )
        case "tool_result_list":
            given = [result.function_result for result in message.tool_result_list.tool_results]
            return Message(message.role, tool_results=tuple(ToolResult(done.name, done.content) for done in given))
    return Message(message.role, message.text)


@pytest.mark.parametrize(
    "endpoint",
    [completion.submit_completion, completion.complete, completion.stream_completion, completion.count_tokens],
)
@given(parts=options)
def test_the_protos_read_each_option_as_it_was_meant(endpoint, parts):
    body = dict(endpoint(ENDPOINTS, CompletionRequest(MODEL, **parts)).body)
    assert options_meant_by(ParseDict(body, generation.CompletionRequest())) == parts  # strict


def test_only_the_stream_is_asked_for_as_a_stream():
    streams = {
        endpoint.__name__: ParseDict(
            dict(endpoint(ENDPOINTS, REQUEST).body), generation.CompletionRequest()
        ).completion_options.stream
        for endpoint in (completion.submit_completion, completion.complete, completion.stream_completion)
    }
    assert streams == {"submit_completion": False, "complete": False, "stream_completion": True}


@pytest.mark.parametrize("defaults", [True, False], ids=["defaults written", "defaults omitted"])
@given(made=calls)
def test_calls_of_tools_are_read_as_the_protos_write_them(made, defaults):
    response = generation.CompletionResponse(alternatives=[{"status": text.Alternative.ALTERNATIVE_STATUS_TOOL_CALLS}])
    for call in made:
        written = response.alternatives[0].message.tool_call_list.tool_calls.add().function_call
        written.name = call.name
        written.arguments.update(call.arguments)
    written_as = MessageToDict(response, always_print_fields_with_no_presence=defaults)
    read = completion.complete(ENDPOINTS, REQUEST).parse({"result": written_as})
    assert (read.status, read.tool_calls, read.text) == ("tool_calls", made, "")
