"""A task that submits, and a hook that is a value: it answers as it is told, and notes what it is asked."""

from __future__ import annotations

from typing import Any

from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Operation, Usage
from airflow_provider.yandex_ai_studio.durability.journal import KEY, Journal, Record, request_fingerprint
from airflow_provider.yandex_ai_studio.durability.policy import Policy
from airflow_provider.yandex_ai_studio.durability.submission import Submission, Submitted
from airflow_provider.yandex_ai_studio.exceptions import BadRequest, RequestError, ServiceUnavailable
from support import Store

NOW, TIMEOUT = 1_800_000_000.0, 600.0
MODEL, OTHER = "gpt://b1g/yandexgpt", "gpt://b1g/other"
BODY = {"model": MODEL, "input": "Ducks."}
CALL: Call[Operation] = Call("create it", "POST", "https://ai.example/v1/it", lambda _: NEW, BODY, billed=True)
QUESTION: Call[Any] = Call("ask", "GET", "https://ai.example/v1/models", lambda value: value)

NEW = Operation("new", "responses")
RUNNING = Operation("old", "responses")
FAILED = Operation("old", "responses", done=True, error=Failure("server_error", "boom"))
DONE = Operation("old", "responses", done=True, generation=Generation("Quack.", "final", Usage()))
LOST = ServiceUnavailable("It broke off.", arrived=True)
NOT_TAKEN = BadRequest("It is wrong.", status=400, arrived=False)
NO_QUESTION = ServiceUnavailable("It is down.", status=503, arrived=False)

KNOWN = Record(request_fingerprint(BODY, None), NOW - 60, "old", "responses", MODEL, None, 2)


class Scene:
    """
    A task, its journal, and a hook that answers as it is told and notes what it is asked.

    :param record: What an earlier attempt has written down.
    :param looks: What each look at a known operation shows, one after the other.
    :param sends: What comes of each submission; the last one stays.
    :param questions: What comes of each question that costs nothing; likewise.
    """

    conn_id = "studio"

    def __init__(
        self,
        record: Record | None = None,
        *,
        looks: tuple[Operation | RequestError, ...] = (),
        sends: tuple[Operation | Exception, ...] = (NEW,),
        questions: tuple[Any, ...] = ({},),
        cancels: RequestError | None = None,
    ) -> None:
        self.store = Store()
        self.journal = Journal(self.store)
        if record:
            self.journal.write(record)
        self.looks, self.sends, self.questions, self.cancels = [*looks], [*sends], [*questions], cancels
        self.did: list[Any] = []
        self.slept: list[float] = []
        self.lines: list[str] = []
        self.now = NOW

    # -- the hook

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def get_conn(self) -> Scene:
        return self

    def get_operation(self, operation_id: str, of: str, *, repeat: bool) -> Operation:
        self.did.append(("look", operation_id, of, repeat))
        return self._next(self.looks)

    def cancel_operation(self, operation_id: str, of: str) -> None:
        self.did.append(("cancel", operation_id, of))
        if self.cancels:
            raise self.cancels

    def send(self, call: Call[Any], *, repeat: bool = True) -> Any:
        if call is CALL:
            self.did.append(("submit", self.store.values.get(KEY)))
            return self._next(self.sends)
        self.did.append(("question", call, repeat))
        return self._next(self.questions)

    @staticmethod
    def _next(answers: list[Any]) -> Any:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    # -- the log

    def info(self, message: str, *arguments: Any) -> None:
        self.lines.append(message % arguments)

    warning = info

    # -- the task

    def run(
        self, *, asked_model: str | None = None, max_tries: int = 2, journal: Any = None, **policy: str
    ) -> Submitted:
        hook: Any = self
        return Submission(
            CALL,
            api="responses",
            hook=hook,
            journal=journal or self.journal,
            question=QUESTION,
            before=lambda: self.did.append("before"),
            policy=Policy.of(timeout=TIMEOUT, **policy),
            model=MODEL,
            asked_model=asked_model,
            max_tries=max_tries,
            log=hook,
        ).run()

    @property
    def kept(self) -> Record | None:
        return self.journal.read()

    @property
    def deeds(self) -> list[str]:
        """What was done, by its name alone."""
        return [deed if isinstance(deed, str) else deed[0] for deed in self.did]
