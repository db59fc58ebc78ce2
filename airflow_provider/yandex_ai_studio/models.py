"""The values that travel between the service, the trigger and the task. Frozen, and free of I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import pendulum

from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

Role = Literal["system", "user", "assistant"]
Api = Literal["completion"]

DEFAULT_MODEL = "yandexgpt"


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: ``role`` is system, user or assistant."""

    role: Role
    text: str


@dataclass(frozen=True)
class CompletionRequest:
    """
    What the text generation API is asked for. Build it with :meth:`of`, which checks its parts.

    :param model_uri: ``gpt://<folder>/<model>[/<branch>]``.
    :param messages: The conversation so far; the model writes the next assistant turn.
    :param temperature: 0 (most predictable) to 1 (most creative); None leaves it to the service (0.3).
    :param max_tokens: Upper bound of the answer's length in tokens; None leaves it to the service.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/text-generation/api-ref/TextGeneration/completion
    """

    model_uri: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None

    @classmethod
    def of(
        cls,
        *,
        model: str,
        folder_id: str | None,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        instructions: str | None = None,
        temperature: float | str | None = None,
        max_tokens: int | str | None = None,
    ) -> CompletionRequest:
        """
        Check the parts of a request and put them together.

        Numbers may be strings, because a rendered template is one.

        :param model: A short name (``yandexgpt``, ``yandexgpt-lite/rc``) or a full model URI.
        :param folder_id: The folder that a short name belongs to.
        :param prompt: The text of a single user message. Give either this or ``messages``.
        :param messages: Mappings with ``role`` and ``text``.
        :param instructions: A system message that goes before the others.
        :raises ConfigurationError: It names the parameter that is wrong.
        """
        return cls(
            model_uri=model_uri(model, folder_id),
            messages=_conversation(prompt, messages, instructions),
            temperature=_temperature(temperature),
            max_tokens=_max_tokens(max_tokens),
        )


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
        ``tool_calls`` when the model wants tools to be called; ``partial`` while it streams;
        ``unspecified`` where the service does not say.
    :param model_version: The version of the model that answered, as the service names it.
    """

    text: str
    status: str
    usage: Usage
    model_version: str | None = None


@dataclass(frozen=True)
class Failure:
    """An error that the service reports for an operation (``google.rpc.Status``)."""

    code: int
    message: str


@dataclass(frozen=True)
class Operation:
    """
    A piece of work that the service does in its own time.

    When ``done``, it has an answer, an error, or neither. An error may be there before it is done.

    :param api: The API that it belongs to.
    """

    id: str
    api: Api
    done: bool = False
    error: Failure | None = None
    generation: Generation | None = None
    created_at: pendulum.DateTime | None = None
    modified_at: pendulum.DateTime | None = None


def model_uri(model: str, folder_id: str | None) -> str:
    """
    Return the URI of a model: a full URI as it is, a short name within the folder.

    :raises ConfigurationError: No model, or a short name and no folder.
    """
    model = model.strip()
    if not model:
        raise ConfigurationError("`model` is empty. Name one, e.g. 'yandexgpt'. Nothing was sent to the service.")
    if "://" in model:
        return model
    if not folder_id:
        raise ConfigurationError(
            f"The model {model!r} belongs to a folder, and none is given. Set `folder_id` in the connection's "
            f"extra fields, or give the model as a full URI: gpt://<folder_id>/{model}. "
            "Nothing was sent to the service."
        )
    return f"gpt://{folder_id}/{model}"


def _conversation(
    prompt: str | None, messages: Sequence[Mapping[str, Any]] | None, instructions: str | None
) -> tuple[Message, ...]:
    if (prompt is None) == (messages is None):
        given = "neither" if prompt is None else "both"
        raise ConfigurationError(
            f"Give either `prompt` or `messages`; {given} of them is set. Nothing was sent to the service."
        )
    head = () if instructions is None else (Message("system", _text(instructions, "`instructions`")),)
    if prompt is not None:
        return (*head, Message("user", _text(prompt, "`prompt`")))
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence) or not messages:
        raise ConfigurationError(
            "`messages` must be a list with at least one {'role': ..., 'text': ...}, "
            f"not {_shape(messages)}. Nothing was sent to the service."
        )
    return (*head, *(_message(item, number) for number, item in enumerate(messages, start=1)))


def _message(item: Mapping[str, Any], number: int) -> Message:
    where = f"message {number} of `messages`"
    if not isinstance(item, Mapping) or not {"role", "text"} >= item.keys():
        raise ConfigurationError(
            f"The {where} must have the keys 'role' and 'text' and no others; it is {_shape(item)}. "
            "Nothing was sent to the service."
        )
    role = item.get("role")
    if role not in get_args(Role):
        shown = repr(role) if isinstance(role, str) and re.fullmatch(r"\w{1,20}", role) else _shape(role)
        raise ConfigurationError(
            f"The {where} has {shown} as its role; it must be one of {', '.join(get_args(Role))}. "
            "Nothing was sent to the service."
        )
    return Message(cast(Role, role), _text(item.get("text"), f"the text of {where}"))


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(
            f"{what[0].upper()}{what[1:]} must be a text that is not empty; it is {_shape(value)}. "
            "Nothing was sent to the service."
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{what[0].upper()}{what[1:]} holds half a character (a lone surrogate), which can't be sent. Was it cut "
            "or decoded wrongly? Nothing was sent to the service."
        ) from None
    return value


def _temperature(value: float | str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not 0 <= number <= 1:
        raise ConfigurationError(
            f"`temperature` must be a number from 0 to 1, not {value!r}. Nothing was sent to the service."
        )
    return number


def _max_tokens(value: int | str | None) -> int | None:
    if value is None:
        return None
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number < 2**63:
        raise ConfigurationError(
            f"`max_tokens` must be a whole number of at least 1, not {value!r}. Nothing was sent to the service."
        )
    return number


def _shape(value: Any) -> str:
    """Describe a wrong value without repeating a text that may be private."""
    if isinstance(value, str):
        return "an empty text" if not value.strip() else "a text"
    if isinstance(value, Mapping):
        return f"a mapping with the keys {sorted(map(str, value))}"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    return repr(value) if value is None else f"a {type(value).__name__}"
