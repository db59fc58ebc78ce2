"""The hook: the only reader of an Airflow connection."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_provider.yandex_ai_studio import api, schedule
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConfigurationError,
    NotFound,
    RequestError,
    YandexAIStudioError,
)
from airflow_provider.yandex_ai_studio.models import CompletionRequest, Generation, Operation
from airflow_provider.yandex_ai_studio.settings import Settings
from airflow_provider.yandex_ai_studio.waiting import End, Wait, decide

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider.yandex_ai_studio.async_transport import AsyncClient
    from airflow_provider.yandex_ai_studio.transport import Client


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
        self._sleep = sleep

    @cached_property
    def settings(self) -> Settings:
        """
        What the connection says, checked.

        :raises ConfigurationError: It names the field that is wrong.
        """
        connection = self.get_connection(self.conn_id)
        return _settings(connection, connection.extra_dejson)

    def get_conn(self) -> Client:
        """Return the client that sends this hook's calls. It is made once and kept."""
        return self._client

    @cached_property
    def _client(self) -> Client:
        from airflow_provider.yandex_ai_studio.transport import Client

        return Client(self.settings, sleep=self._sleep)

    async def get_async_conn(self) -> AsyncClient:
        """Look the connection up without blocking the event loop, and return a new client. Close it after use."""
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        from airflow_provider.yandex_ai_studio.async_transport import AsyncClient

        connection = await get_async_connection(self.conn_id)
        return AsyncClient(_settings(connection, await get_async_extra_dejson(connection)))

    def completion_request(
        self,
        *,
        model: str | None = None,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        instructions: str | None = None,
        temperature: float | str | None = None,
        max_tokens: int | str | None = None,
    ) -> CompletionRequest:
        """
        Check the parts of a completion and put them together. Nothing is sent.

        :param model: A short name, with a branch if need be (``yandexgpt``, ``yandexgpt-lite/rc``), or a full
            model URI. Default: the connection's ``model``, else ``yandexgpt``.
        :param prompt: The text of a single user message. Give either this or ``messages``.
        :param messages: A conversation: mappings with ``role`` (system, user, assistant) and ``text``.
        :param instructions: A system message that goes before the others.
        :param temperature: 0 to 1. Default: the service's, 0.3.
        :param max_tokens: Upper bound of the answer's length in tokens. Default: the service's.
        :raises ConfigurationError: It names the parameter that is wrong.
        """
        return CompletionRequest.of(
            model=model or self.settings.model,
            folder_id=self.settings.folder_id,
            prompt=prompt,
            messages=messages,
            instructions=instructions,
            temperature=temperature,
            max_tokens=max_tokens,
        )

    def submit_completion(self, request: CompletionRequest) -> Operation:
        """
        Start an asynchronous completion. This is what is paid for: keep the id of what it returns.

        :raises RequestError: The service refused it, or its answer got lost.
        """
        return self.get_conn().send(api.submit_completion(self.settings.endpoints, request))

    def complete(self, request: CompletionRequest) -> Generation:
        """
        Generate a text while the caller waits, for at most 180 s.

        :raises RequestError: The service refused it, or its answer got lost.
        """
        return self.get_conn().send(api.complete(self.settings.endpoints, request))

    def get_operation(self, operation_id: str, *, repeat: bool = True) -> Operation:
        """
        Ask how an operation stands.

        :param repeat: Ask again, up to half a minute, where the service gives no answer for now.
        :raises NotFound: The service does not know it (any more); results are kept for 3 days.
        """
        send = self.get_conn().send if repeat else self.get_conn().send_once
        return send(api.get_operation(self.settings.endpoints, operation_id))

    def cancel_operation(self, operation_id: str) -> Operation:
        """
        Ask the service to cancel an operation. That it does so for text generation is not documented.

        :raises RequestError: It refused.
        """
        endpoints, client = self.settings.endpoints, self.get_conn()
        try:
            return client.send(api.cancel_operation(endpoints, operation_id))
        except (BadRequest, NotFound):
            return client.send(api.cancel_operation(endpoints, operation_id, method=api.CANCEL_METHODS[1]))

    async def cancel_operation_async(self, operation_id: str) -> Operation:
        """Do the same as :meth:`cancel_operation`, from an event loop."""
        async with await self.get_async_conn() as client:
            endpoints = client.settings.endpoints
            try:
                return await client.send(api.cancel_operation(endpoints, operation_id))
            except (BadRequest, NotFound):
                return await client.send(api.cancel_operation(endpoints, operation_id, method=api.CANCEL_METHODS[1]))

    def wait_for_operation(self, wait: Wait) -> End:
        """
        Wait for an operation on this worker, until it ends or its deadline passes.

        A service that is out of order does not end the wait.
        """
        self._sleep(schedule.first_delay(self.clock() - wait.submitted_at))
        while True:
            seen: Operation | RequestError
            try:
                seen = self.get_operation(wait.operation_id, repeat=False)
            except RequestError as error:
                seen = error
            decision = decide(wait, seen, now=self.clock(), random=random.random())
            if isinstance(decision, End):
                return decision
            if isinstance(seen, RequestError):
                self.log.warning("%s Asking again in %.0f s.", seen, decision.delay)
            if isinstance(seen, AuthenticationError):
                self._forget_connection()
            self._sleep(decision.delay)
            wait = decision.wait

    def _forget_connection(self) -> None:
        """Have the connection looked up anew: keys rotate."""
        self.get_conn().close()
        del self._client, self.settings

    def count_tokens(self, request: CompletionRequest) -> int:
        """Count the input tokens of a request as its model sees them. Free of charge."""
        return self.get_conn().send(api.count_tokens(self.settings.endpoints, request))

    def list_models(self) -> list[str]:
        """Return the URIs of the models that the folder can use."""
        return self.get_conn().send(api.list_models(self.settings.endpoints))

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection with one call that is free of charge: it counts the tokens of a word.

        :return: Whether it works, and a sentence that says what is wrong if not.
        """
        try:
            request = self.completion_request(prompt="ping")
            count = self.count_tokens(request)
        except YandexAIStudioError as error:
            return False, str(error)
        return True, f"The service answers, and the model {request.model_uri} is open to this account ({count} tokens)."


def _settings(connection: Connection, extra: Mapping[str, Any]) -> Settings:
    expected = YandexAIStudioHook.conn_type
    if connection.conn_type and connection.conn_type.replace("-", "_") != expected:
        raise ConfigurationError(
            f"The connection {connection.conn_id!r} is of the type {connection.conn_type!r}; it must be of the "
            f"type {expected!r}. Nothing was sent to the service."
        )
    host = connection.host or ""
    if host and connection.port:
        host = f"{host}:{connection.port}"
    return Settings.of(
        conn_id=connection.conn_id,
        host=host,
        password=connection.password,
        extra=extra,
        read_text=lambda path: Path(path).read_text(encoding="utf-8"),
    )
