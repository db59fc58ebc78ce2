"""A request and an answer as plain values, so that routes can be called without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.state.operations import Ending

_JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """Hold what a route needs to know of a request.

    :param headers: by any capitalization.
    :param id: what the answer's ``x-request-id`` says.
    :param parameters: the variable parts of the path.
    :param query: what stands behind the question mark.
    :param account_id: whom the credential belongs to; empty on routes that ask for none.
    :param behind: by how many seconds a fault wants the answer to be out of date.
    :param ending: how a fault wants the operation to end that this request creates or reads.
    """

    headers: Mapping[str, str]
    body: bytes
    id: str
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    query: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    account_id: str = ""
    ending: Ending | None = None
    behind: float = 0.0

    @property
    def target(self) -> str | None:
        """Return the id that the path names, if it names one."""
        return next(iter(self.parameters.values()), None)


@dataclass(frozen=True)
class Answer:
    """Hold an answer; one of several parts is sent part by part.

    :param seconds: how long the body takes to go out.
    :param unpacked: send it compressed, and with so much white space that it unpacks to at least so many bytes;
        ``None`` sends it as it is.
    :param traced: say in the headers which request it answers.
    :param ends: say where it ends; else the connection breaks there.
    """

    status: int
    parts: tuple[bytes, ...]
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seconds: float = 0.0
    unpacked: int | None = None
    traced: bool = True
    ends: bool = True

    @classmethod
    def of_json(cls, payload: object, status: int = 200) -> Answer:
        """Return an answer with a JSON body."""
        return cls(status, (_encoded(payload),))

    def changed(self, change: Callable[[Any], Any]) -> Answer:
        """Return the answer with each of its JSON bodies changed; one that has none stays as it is."""
        if self.content_type != _JSON:
            return self
        end = b"\n" if len(self.parts) > 1 else b""
        return replace(self, parts=tuple(_encoded(change(json.loads(part))) + end for part in self.parts))

    @classmethod
    def of_lines(cls, payloads: Iterable[dict[str, Any]]) -> Answer:
        """Return a stream of JSON bodies, one a line."""
        return cls(200, tuple(_encoded(payload) + b"\n" for payload in payloads))

    @classmethod
    def of_events(cls, payloads: Iterable[dict[str, Any]], closing: str | None = None) -> Answer:
        """Return a stream of server-sent events, each named by its ``type`` if it has one.

        :param closing: what the last event says that is not JSON.
        """
        events = [(payload.get("type"), _encoded(payload)) for payload in payloads]
        events += [] if closing is None else [(None, closing.encode())]
        parts = tuple(
            (f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n" for name, data in events
        )
        return cls(200, parts, "text/event-stream", {"Cache-Control": "no-cache"})

    @classmethod
    def of_text(cls, text: str, status: int, content_type: str = "text/plain") -> Answer:
        """Return an answer that is not JSON, or not sound JSON."""
        return cls(status, (text.encode(),), content_type)


def _encoded(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
