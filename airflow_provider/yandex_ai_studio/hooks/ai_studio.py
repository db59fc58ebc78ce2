"""The hook: the only reader of an Airflow connection."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider.yandex_ai_studio.api import completion, operations, responses
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.models import Api, Generation, Operation
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest
from airflow_provider.yandex_ai_studio.api.words import ended
from airflow_provider.yandex_ai_studio.client import retry
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConfigurationError,
    ConnectionNotFound,
    NotFound,
    RequestError,
    ServiceUnavailable,
    YandexAIStudioError,
)
from airflow_provider.yandex_ai_studio.telemetry import Metric, tags_of, tell
from airflow_provider.yandex_ai_studio.waiting import schedule
from airflow_provider.yandex_ai_studio.waiting.decision import End, Wait, decide, is_doubtful

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider.yandex_ai_studio.client.settings import Settings
    from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
    from airflow_provider.yandex_ai_studio.client.worker import Client
    from airflow_provider.yandex_ai_studio.waiting.listeners import Turn

CANCEL_PATIENCE = 30.0
"""Seconds for a cancellation from an event loop, once it has its turn: as long as Airflow gives an ``on_kill``."""


class YandexAIStudioHook(BaseHook):
    """
    Talk to Yandex AI Studio.

    :param conn_id: The Airflow connection with the credential.
    :param clock: Gives the time in seconds since the epoch.
    :param sleep: Waits the given seconds.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/
    """

    conn_name_attr = "conn_id"
    default_conn_name = "yandex_ai_studio_default"
    conn_type = "yandex_ai_studio"
    hook_name = "Yandex AI Studio"

    def __init__(
        self,
        conn_id: str = default_conn_name,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.clock = clock
        self.sleep = sleep

    @cached_property
    def settings(self) -> Settings:
        """
        What the connection says, checked.

        :raises ConfigurationError: It names the field that is wrong.
        :raises ConnectionNotFound: Airflow does not find it.
        """
        return self._looked_up()

    def _looked_up(self) -> Settings:
        try:
            connection = self.get_connection(self.conn_id)
        except AirflowNotFoundException:
            raise ConnectionNotFound(
                f"Create the Airflow connection {self.conn_id!r} (Admin > Connections), or correct `conn_id`.\n"
                "Airflow does not find it. It says the same where a secrets backend gives no answer for now: then "
                "another attempt finds it. Nothing was sent to the service."
            ) from None
        return _settings(connection, connection.extra_dejson)

    def get_conn(self) -> Client:
        """Return the client that sends this hook's calls. It is made once and kept."""
        return self._client

    @cached_property
    def _client(self) -> Client:
        return self._client_of(self.settings)

    def _client_of(self, settings: Settings) -> Client:
        if settings.transport == "grpc":
            from airflow_provider.yandex_ai_studio.client.grpc import GrpcClient

            return GrpcClient(settings, sleep=self.sleep)
        from airflow_provider.yandex_ai_studio.client.worker import Client

        return Client(settings, sleep=self.sleep)

    def twin(self) -> YandexAIStudioHook:
        """
        Return a hook on the same connection, with a client of its own.

        For a signal handler: it interrupts this hook's client in the middle of a call, which no lock or socket bears.
        """
        twin = YandexAIStudioHook(self.conn_id, clock=self.clock, sleep=self.sleep)
        twin.settings = self.settings
        return twin

    async def get_async_conn(self) -> AsyncClient:
        """Look the connection up without blocking the event loop, and return a new client. Close it after use."""
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        connection = await get_async_connection(self.conn_id)
        settings = _settings(connection, await get_async_extra_dejson(connection))
        if settings.transport == "grpc":
            from airflow_provider.yandex_ai_studio.client.grpc import GrpcAsyncClient

            return GrpcAsyncClient(settings)
        from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient

        return AsyncClient(settings)

    def completion_request(self, *, model: str | None = None, **parts: Any) -> CompletionRequest:
        """
        Check the parts of a completion and put them together. Nothing is sent.

        :param model: A short name, with a branch if need be (``yandexgpt``, ``yandexgpt-lite/rc``), or a full
            model URI. Default: the connection's ``model``, else ``yandexgpt``.
        :param parts: The others, as
            :meth:`~airflow_provider.yandex_ai_studio.api.completion_request.CompletionRequest.of` takes them.
        :raises ConfigurationError: It names the parameter that is wrong.
        """
        settings = self.settings
        return CompletionRequest.of(model=model or settings.model, folder_id=settings.folder_id, **parts)

    def response_request(self, *, model: str | None = None, **parts: Any) -> ResponseRequest:
        """
        Check the parts of a response and put them together. Nothing is sent.

        :param model: As for :meth:`completion_request`.
        :param parts: The others, as
            :meth:`~airflow_provider.yandex_ai_studio.api.response_request.ResponseRequest.of` takes them.
        :raises ConfigurationError: It names the parameter that is wrong.
        """
        settings = self.settings
        return ResponseRequest.of(model=model or settings.model, folder_id=settings.folder_id, **parts)

    def submit_completion(self, request: CompletionRequest) -> Operation:
        """
        Start an asynchronous completion. This is what is paid for: keep the id of what it returns.

        :raises RequestError: The service refused it, or its answer got lost.
        """
        return self.get_conn().send(completion.submit_completion(self.settings.endpoints, request))

    def complete(self, request: CompletionRequest) -> Generation:
        """
        Generate a text while the caller waits, for at most 180 s.

        :raises RequestError: The service refused it, or its answer got lost.
        """
        return self.get_conn().send(completion.complete(self.settings.endpoints, request))

    def stream_completion(self, request: CompletionRequest) -> Iterator[Generation]:
        """
        Generate a text while the caller reads along.

        :return: Generations, each with all of the text that there is so far; it may still change until the last one,
            whose status is not ``partial``.
        :raises RequestError: The service refused it, or the stream broke.

        .. seealso:: https://yandex.cloud/en/docs/foundation-models/operations/yandexgpt/create-prompt
        """
        status = "partial"
        try:
            for generation in self.get_conn().stream(completion.stream_completion(self.settings.endpoints, request)):
                status = generation.status
                yield generation
        except RequestError as error:
            if status == "partial":
                raise
            self.log.info("The answer is complete. What was to follow: %s", error)
        if status == "partial":
            raise ServiceUnavailable(
                "Retry the task, or leave `stream` out: the stream ended before the answer did.\n"
                "It was billed, and its text is lost. Another attempt pays again."
            )

    def create_response(self, request: ResponseRequest) -> Operation:
        """
        Create a response. One in the background is an operation of the API ``responses``; else it is done.

        :raises RequestError: The service refused it, or its answer got lost.
        """
        return self.get_conn().send(responses.create_response(self.settings.endpoints, request))

    def get_operation(self, operation_id: str, of: Api = "completion", *, repeat: bool = True) -> Operation:
        """
        Ask how an operation stands.

        :param of: The API that it belongs to.
        :param repeat: Ask again, up to half a minute, where the service gives no answer for now.
        :raises NotFound: The service does not know it (any more).
        """
        tell(Metric("reads"), tags=tags_of(self.conn_id))
        return self.get_conn().send(operations.read(self.settings.endpoints, of, operation_id), repeat=repeat)

    def cancel_operation(self, operation_id: str, of: Api = "completion") -> Operation:
        """
        Ask the service to cancel an operation. That it does so for text generation is not documented.

        :param of: The API that it belongs to.
        :raises RequestError: It refused.
        """
        *others, last = operations.cancel(self.settings.endpoints, of, operation_id)
        for call in others:
            with suppress(BadRequest, NotFound):
                return self.get_conn().send(call)
        return self.get_conn().send(last)

    async def cancel_if_running(self, operation_id: str, of: Api = "completion") -> bool:
        """
        Ask the service to cancel an operation, from an event loop, unless it is seen to be done already.

        It is asked in turn with all waits on the connection: with their client, their token and within their budget.
        What fails for now is repeated within :data:`CANCEL_PATIENCE` of its first turn. A look at the operation that
        fails keeps nobody from the cancellation.

        :return: Whether it was asked.
        :raises Exception: What came of the last attempt.
        """
        from airflow_provider.yandex_ai_studio.waiting import poller  # a worker needs no aiohttp

        loop, asked, until = asyncio.get_running_loop(), False, math.inf
        for attempt in itertools.count(1):
            try:
                async with poller.visit(self.conn_id, self.get_async_conn) as turn:
                    done = await self._is_seen_done(turn, operation_id, of)
                    until = min(until, loop.time() + CANCEL_PATIENCE)
                    if not done:
                        asked = True
                        await self._cancel(turn, operation_id, of, until)
                    return asked
            except Exception as error:
                delay = retry.delay_before(attempt + 1, random=random.random())
                if not _may_pass(error) or attempt >= retry.ATTEMPTS or loop.time() + delay >= until:
                    raise
                self.log.info("%s Asking again in %.0f s.", ended(error), delay)
            await asyncio.sleep(delay)
        raise AssertionError

    async def _is_seen_done(self, turn: Turn, operation_id: str, of: Api) -> bool:
        try:
            async with turn() as client, asyncio.timeout(schedule.FIRST_PATIENCE):
                call = operations.read(client.settings.endpoints, of, operation_id)
                return (await client.send(call, repeat=False)).done
        except Exception as error:
            self.log.info("Whether the operation is done can't be seen: %s", ended(error))
            return False

    async def _cancel(self, turn: Turn, operation_id: str, of: Api, until: float) -> None:
        now = asyncio.get_running_loop().time
        for way in itertools.count():
            async with turn() as client, asyncio.timeout_at(min(until, now() + CANCEL_PATIENCE / 2)):
                calls = operations.cancel(client.settings.endpoints, of, operation_id)
                with suppress(BadRequest, NotFound) if way < len(calls) - 1 else nullcontext():
                    await client.send(calls[way], repeat=False)
                    return

    def wait_for_operation(self, wait: Wait) -> End:
        """
        Wait for an operation on this worker, until it ends or its deadline passes.

        A service that is out of order does not end the wait, nor does a connection that is wrong for a while.
        """
        wait = wait.begun(self.clock())
        self.sleep(schedule.first_delay(self.clock() - wait.submitted_at))
        while True:
            seen: Operation | RequestError | ConfigurationError
            try:
                seen = self.get_operation(wait.operation_id, wait.api, repeat=False)
            except (RequestError, ConfigurationError) as error:
                seen = error
            decision = decide(wait, seen, now=self.clock(), random=random.random())
            if isinstance(decision, End):
                return decision
            if not isinstance(seen, Operation):
                self.log.warning("%s Asking again in %.0f s.", seen, decision.delay)
            wait = decision.wait
            self.pause(decision.delay, after=seen, times=wait.troubles)

    def pause(
        self,
        seconds: float,
        *,
        after: Operation | RequestError | ConfigurationError | ConnectionNotFound,
        times: int = 1,
    ) -> None:
        """
        Wait before a question is repeated. Where the connection may be what fails, look it up anew.

        :param after: What came of the question.
        :param times: How many in a row failed, with this one.
        """
        if is_doubtful(after, times):
            self._renew_connection()
        self.sleep(seconds)

    def _renew_connection(self) -> None:
        try:
            settings = self._looked_up()
            client = self._client_of(settings)
        except Exception as error:  # what can't be had, or is wrong, for a moment ends no wait: there is another look
            self.log.warning("The connection can't be looked up anew for now: %s", error)
            return
        if old := vars(self).get("_client"):
            kept, gone = (old, client) if client.is_like(old) else (client, old)
            gone.close()
            client = kept
        self.settings, self._client = settings, client

    def count_tokens(self, request: CompletionRequest) -> int:
        """Count the input tokens of a request as its model sees them. Free of charge."""
        return self.get_conn().send(completion.count_tokens(self.settings.endpoints, request))

    def list_models(self) -> list[str]:
        """Return the URIs of the models that the folder can use."""
        return self.get_conn().send(responses.list_models(self.settings.endpoints))

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection with one call that is free of charge: it counts the tokens of a word.

        :return: Whether it works, and a sentence that says what is wrong if not.
        """
        try:
            request = self.completion_request(prompt="ping")
            count = self.get_conn().send(completion.count_tokens(self.settings.endpoints, request), repeat=False)
        except YandexAIStudioError as error:
            return False, str(error)
        return True, f"The service answers, and the model {request.model_uri} is open to this account ({count} tokens)."


def _may_pass(error: Exception) -> bool:
    """Tell whether another attempt with the connection looked up anew may go well: keys rotate, backends hiccup."""
    if isinstance(error, RequestError):
        return isinstance(error, AuthenticationError) or retry.may_repeat(error, billed=False)
    return not isinstance(error, ConfigurationError)


def _settings(connection: Connection, extra: Mapping[str, Any]) -> Settings:
    from airflow_provider.yandex_ai_studio.client.settings import (
        Settings,
        fields_of_yandexcloud,
    )  # a DAG file needs none

    conn_type = (connection.conn_type or YandexAIStudioHook.conn_type).replace("-", "_")
    host, password = connection.host or "", connection.password
    if conn_type == "yandexcloud":
        host, password, extra = "", None, fields_of_yandexcloud(connection.conn_id, extra)
    elif conn_type != YandexAIStudioHook.conn_type:
        raise ConfigurationError(
            f"Give a connection of the type {YandexAIStudioHook.conn_type!r}, or of 'yandexcloud' with a key.\n"
            f"The connection {connection.conn_id!r} is of the type {conn_type!r}.\nNothing was sent to the service."
        )
    if host and connection.port:
        scheme, separator, rest = host.rpartition("://")
        name, slash, path = rest.partition("/")
        host = f"{scheme}{separator}{name}:{connection.port}{slash}{path}"
    return Settings.of(
        conn_id=connection.conn_id,
        host=host,
        password=password,
        extra=extra,
        read_text=lambda path: Path(path).read_text(encoding="utf-8"),
    )
