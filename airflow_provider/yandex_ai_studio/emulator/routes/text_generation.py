"""The text-generation API and its tokenizer."""

from __future__ import annotations

from typing import Any

from airflow_provider.yandex_ai_studio.emulator.access import check_folder
from airflow_provider.yandex_ai_studio.emulator.generation.completion import (
    MODEL_VERSION,
    RESPONSE_TYPE,
    Completion,
    as_text,
    complete,
    prompt,
)
from airflow_provider.yandex_ai_studio.emulator.generation.tokens import Token, tokenize
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.routes.operations import render
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.operations import success
from airflow_provider.yandex_ai_studio.emulator.wire import messages, models, proto_json, rules
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code


def complete_now(backend: Backend, request: Request) -> Answer:
    """Answer at once, or as a stream of growing answers."""
    asked = _checked(backend, request)
    completion = _generated(backend, asked, request)
    backend.stats.direct_generations += 1
    if asked.get("completionOptions", {}).get("stream"):
        return Answer.of_lines({"result": part.response()} for part in completion.parts())
    return Answer.of_json({"result": completion.response()})


def submit(backend: Backend, request: Request) -> Answer:
    """Start an operation that will hold the answer."""
    asked = _checked(backend, request)
    if asked.get("completionOptions", {}).get("stream"):
        raise ApiError(Code.INVALID_ARGUMENT, "stream is not available in asynchronous mode")
    completion = _generated(backend, asked, request)
    usual = success({"@type": RESPONSE_TYPE, **completion.response()})
    ending = (request.ending or usual).instead_of(usual.phase)
    operation = backend.operations.create(request.account_id, prompt(asked), ending, asked)
    return Answer.of_json(render(operation, backend.clock.now()))


def tokenize_text(backend: Backend, request: Request) -> Answer:
    """Return the tokens of a text."""
    asked = messages.TOKENIZE_REQUEST(proto_json.decode(request.body))
    _check_model(backend, asked, native=False)
    text = asked.get("text", "")
    if problem := rules.text_problem(text):
        raise _session_error(problem, asked, request)
    return _tokens(tokenize(text))


def tokenize_completion(backend: Backend, request: Request) -> Answer:
    """Return the tokens that a completion request is billed for."""
    return _tokens(tokenize(as_text(_checked(backend, request, native=False))))


def _checked(backend: Backend, request: Request, native: bool = True) -> dict[str, Any]:
    asked = messages.COMPLETION_REQUEST(proto_json.decode(request.body))
    _check_model(backend, asked, native)
    for problem in rules.problems(asked):
        raise _session_error(problem, asked, request)
    return asked


def _check_model(backend: Backend, asked: dict[str, Any], native: bool) -> None:
    uri = asked.get("modelUri", "")
    try:
        folder = rules.folder_of(uri)
    except ValueError as error:
        raise ApiError(Code.INVALID_ARGUMENT, str(error)) from None
    check_folder(backend, folder)
    unserved = models.problem(uri, native)
    if unserved and not backend.settings.lenient:
        raise ApiError(Code.INVALID_ARGUMENT, unserved)


def _generated(backend: Backend, asked: dict[str, Any], request: Request) -> Completion:
    try:
        completion = complete(asked)
    except ValueError as error:
        raise _session_error(str(error), asked, request) from None
    problem = models.context_problem(asked["modelUri"], completion.input_tokens)
    if problem and not backend.settings.lenient:
        raise _session_error(problem, asked, request)
    return completion


def _session_error(problem: str, asked: dict[str, Any], request: Request) -> ApiError:
    session = (
        f"internal_id={request.id}&request_id={request.id}"
        f"&client_request_id={request.headers.get('x-client-request-id', 'undefined')}"
        f"&folder_id={rules.folder_of(asked['modelUri']) or ''}"
    )
    return ApiError(Code.INVALID_ARGUMENT, f"Error in session {session}: {problem}")


def _tokens(tokens: list[Token]) -> Answer:
    rendered = [{"id": str(token.id), "text": token.text, "special": token.special} for token in tokens]
    return Answer.of_json({"tokens": rendered, "modelVersion": MODEL_VERSION})
