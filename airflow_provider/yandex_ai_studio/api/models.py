"""The values that travel between the service, the trigger and the task. Frozen, and free of I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pendulum

Role = Literal["system", "user", "assistant"]
Api = Literal["completion", "responses"]
"""The API that an operation belongs to: text generation in asynchronous mode, or Responses in background mode."""

DEFAULT_MODEL = "yandexgpt"


@dataclass(frozen=True)
class ToolCall:
    """A function that the model asks to be called."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolResult:
    """What a called function gave, to be told to the model."""

    name: str
    content: str


@dataclass(frozen=True)
class Message:
    """One turn of a conversation. It holds a text, calls of tools, or results of tools."""

    role: Role
    text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON in the form in which users give messages."""
        given = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


@dataclass(frozen=True)
class Usage:
    """The tokens that a generation is billed for."""

    input_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    reasoning_tokens: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return plain JSON, as it goes to XCom."""
        return asdict(self)


@dataclass(frozen=True)
class Generation:
    """
    A generated text and what the service says about it.

    :param status: ``final``; ``truncated`` at ``max_tokens``; ``content_filter`` when it was withheld;
        ``tool_calls`` when the model wants tools to be called; ``refusal`` when it declined to answer, in the words
        of the text; ``partial`` while it streams; ``unspecified`` where the service does not say; ``unreadable``
        where this release can't read it.
    :param model_version: The version of the model that answered, as the service names it.
    :param tool_calls: What the model wants to be called.
    """

    text: str
    status: str
    usage: Usage
    model_version: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class IssuedToken:
    """
    A token that was issued for a credential.

    :param expires_at: Seconds since the epoch.
    """

    secret: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True)
class Failure:
    """
    An error that the service reports for an operation.

    :param code: A ``google.rpc.Code``, or the word that the Responses API uses.
    """

    code: int | str
    message: str


@dataclass(frozen=True)
class Operation:
    """
    A piece of work that the service does in its own time.

    When ``done``, it has an answer, an error, or neither. An error may be there before it is done.
    """

    id: str
    api: Api
    done: bool = False
    error: Failure | None = None
    generation: Generation | None = None
    created_at: pendulum.DateTime | None = None
    modified_at: pendulum.DateTime | None = None
