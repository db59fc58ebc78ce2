"""A service on loopback that answers by a list, with the metadata service beside it; and the roads that ask it."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client.credentials import MetadataService
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.client.worker import Client
from wire import Asked, Reply, Server

ROADS = ["worker", "stream", "triggerer"]
REQUEST = CompletionRequest.of(model="yandexgpt", folder_id="b1g", prompt="Ducks.")
QUACK = {"alternatives": [{"message": {"role": "assistant", "text": "Quack."}, "status": "ALTERNATIVE_STATUS_FINAL"}]}
GOOD = Reply({"result": QUACK})


class Service(Server):
    """
    Answers calls by its replies, of which the last one stays, and hands out tokens: t1.x, t2.x, and so on.

    :param tokens: What it says instead to who wants a token.
    """

    def __init__(self, *replies: Reply, tokens: Reply | None = None, **how: Any) -> None:
        self.replies = list(replies)
        self.tokens = tokens
        self.issued = 0
        super().__init__(self._reply, **how)

    def _reply(self, asked: Asked) -> Reply:
        if "computeMetadata" not in asked.path:
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        self.issued += 1
        return self.tokens or Reply({"access_token": f"t{self.issued}.x", "expires_in": 3600})

    @property
    def authorizations(self) -> list[str | None]:
        """Those of the calls, tokens apart."""
        return [asked.headers.get("authorization") for asked in self.asked if "computeMetadata" not in asked.path]


def settings(base_url: str, **fields: Any) -> Settings:
    given = {"credential": MetadataService(), "folder_id": "b1g", "conn_id": "studio", **fields}
    return Settings(endpoints=Endpoints.at(base_url), **given)


def ask(road: str, where: Settings, *, call: Call[Any] | None = None, sleep: Any = None, repeat: bool = False) -> Any:
    """Send one call by one of the roads; on the worker's and by stream it may be repeated."""
    if road == "triggerer":

        async def sent() -> Any:
            async with AsyncClient(where) as client:
                return await client.send(call or completion.complete(where.endpoints, REQUEST))

        return asyncio.run(sent())
    with Client(where, sleep=sleep or (lambda _: None)) as client:
        if road == "stream":
            return list(client.stream(call or completion.stream_completion(where.endpoints, REQUEST)))[-1]
        return client.send(call or completion.complete(where.endpoints, REQUEST), repeat=repeat)
