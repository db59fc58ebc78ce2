"""A bulk run by value: rows, a ledger, and a hook that answers as it is told and notes what it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Message, Operation, Usage
from airflow_provider.yandex_ai_studio.bulk.attempt import Attempt
from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks
from airflow_provider.yandex_ai_studio.bulk.folder import Folder
from airflow_provider.yandex_ai_studio.bulk.harvesting import Harvesting
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY, Head, Ledger
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, Price
from airflow_provider.yandex_ai_studio.bulk.plan import Reader, look_through
from airflow_provider.yandex_ai_studio.bulk.pool import Group, Pool
from airflow_provider.yandex_ai_studio.bulk.rows import InMemory
from airflow_provider.yandex_ai_studio.bulk.submitting import Limits, Submitting
from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    PermissionDenied,
    RateLimited,
    ServiceUnavailable,
)
from support import Store

T = TypeVar("T")

NOW, TIMEOUT = 1_800_000_000.0, 600.0
MODEL = "gpt://b1g/yandexgpt"
USED = Usage(10, 5, 15)
PRICE = Price(1000.0, 2000.0, "RUB")

LOST = ServiceUnavailable("It broke off.", arrived=True)
AWAY = ServiceUnavailable("It is down.", status=503, arrived=False)
FULL = RateLimited("Wait.\nIt is full.\nToo many requests.", arrived=False)
FULL_HOUR = RateLimited("Wait.\nquota ai.textGenerationAsyncRequestsPerHour.count exceeded", arrived=False)
WRONG = BadRequest("Correct it.\nIt is too long.", arrived=False)
DENIED = PermissionDenied("Not allowed.", arrived=False)
NO_KEY = AuthenticationError("The key is wrong.", arrived=False)


def taken(operation_id: str) -> Operation:
    return Operation(operation_id, "completion")


def done(operation_id: str, *, status: str = "final", used: Usage = USED) -> Operation:
    return Operation(operation_id, "completion", done=True, generation=Generation("Quack.", status, used, "v1"))


def failed(operation_id: str) -> Operation:
    return Operation(operation_id, "completion", done=True, error=Failure(13, "boom"))


class InTurn(Pool):
    """Sends one request after the other, in this thread."""

    def __init__(self) -> None:
        pass

    def close(self) -> None:
        pass

    def start(self, one: Callable[[T], Operation], items: Sequence[T]) -> Group:
        requests: list[Future[Operation]] = []
        for item in items:
            request: Future[Operation] = Future()
            try:
                request.set_result(one(item))
            except Exception as error:
                request.set_exception(error)
            requests.append(request)
        return Group(requests)


class Scene:
    """
    A run of ``Row 0``, ``Row 1``, and so on, whose operations are called ``op0``, ``op1``.

    :param sends: By row: what comes of each of its submissions; after that, it is taken.
    :param looks: By operation: what each look at it shows, the last one for good; without one, it has an answer.
    :param questions: What comes of each question that costs nothing; then 1.
    :ivar did: What the service was asked, each with what the ledger said just then.
    """

    conn_id = "studio"

    def __init__(
        self,
        rows: int | Sequence[Any] = 12,
        *,
        chunk_size: int = 100,
        output: Path | None = None,
        form: str = "jsonl",
        id_field: str | None = None,
        price: Price | None = None,
        per_second: float = 10.0,
        polls: float = 40.0,
        base: CompletionRequest | None = None,
    ) -> None:
        self.store = Store()
        self.now = NOW
        self.sends: dict[int, list[Operation | Exception]] = {}
        self.looks: dict[str, list[Operation | Exception]] = {}
        self.questions: list[Any] = []
        self.did: list[Any] = []
        self.paused: list[tuple[float, Exception]] = []
        self.slept: list[float] = []
        self.lines: list[str] = []
        self.settings = SimpleNamespace(
            endpoints=Endpoints(), submits_per_second=per_second, polls_per_second=polls, prices=None
        )
        self.base = base or CompletionRequest(MODEL, (Message("system", "Be brief."), Message("user", "-")))
        given = [f"Row {row}" for row in range(rows)] if isinstance(rows, int) else rows
        render = None if isinstance(rows, int) or isinstance(given[0], str) else lambda row: str(row["text"])
        self.reader = Reader(InMemory(given), render, id_field)
        self.plan = look_through(self.reader, parameters="p", chunk_size=chunk_size, deduplicate=True)
        self.chunk_size, self.price = chunk_size, price
        self.folder = Folder(str(output), form) if output else None
        self.ledger = Ledger(self.store)
        self.head = Head.begin(
            self.plan, chunk_size, NOW, str(output) if output else None, form, run="r1", model=MODEL, parameters={}
        )
        for number, twins in self.plan.twins.items():
            self.ledger.write(self.head.chunk(number, twins=twins))
        self.ledger.write(self.head)
        if self.folder:
            self.folder.path.mkdir(parents=True, exist_ok=True)

    # -- the hook

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def get_conn(self) -> Scene:
        return self

    def pause(self, seconds: float, *, after: Exception) -> None:
        self.paused.append((seconds, after))

    def send(self, call: Call[Any], *, repeat: bool = True) -> Any:
        assert call.body is not None
        prompt = call.body["messages"][-1]["text"]
        if call.aim != "submit the completion":
            self.did.append(("question", prompt, repeat, call.timeout))
            self.last_call = call
            return self._answer(self.questions, 1)
        row = int(prompt.split()[1])
        number = row // self.chunk_size
        self.did.append(("submit", row, repeat, self.store.values[f"{KEY}_{number}"].get("intent")))
        self.last_call = call
        return self._answer(self.sends.get(row, []), taken(f"op{row}"))

    def get_operation(self, operation_id: str, *, repeat: bool = True) -> Operation:
        self.did.append(("look", operation_id, repeat))
        looks = self.looks.get(operation_id, [])
        answer: Operation = self._answer(looks, done(operation_id), last_stays=True)
        return answer

    @staticmethod
    def _answer(answers: list[Any], otherwise: Any, *, last_stays: bool = False) -> Any:
        answer = otherwise
        if answers:
            answer = answers[0] if last_stays and len(answers) == 1 else answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    # -- the log

    def info(self, message: str, *arguments: Any) -> None:
        self.lines.append(message % arguments if arguments else message)

    warning = error = info

    # -- the run

    @property
    def log(self) -> Any:
        return self

    @property
    def hook(self) -> Any:
        return self

    def chunks(self, head: Head | None = None) -> Chunks:
        """Take the run up as another process would, from what is written down."""
        self.head = head or Head.of(json.loads(json.dumps(self.store.values[KEY])))
        return Chunks(self.head, self.ledger, self.reader, self.folder, self.price, self.log)

    def begun(self, *, ago: float = 0.0) -> Chunks:
        """Take the run up, with all of its rows submitted."""
        chunks = self.chunks()
        for opened in chunks.in_turn():
            for row in opened.chunk.waiting:
                opened.chunk.submitted(row, f"op{opened.chunk.number * self.chunk_size + row}", NOW - ago)
        return chunks

    def limits(self, **limits: Any) -> Limits:
        return Limits(**{"row_retries": 1, "timeout": TIMEOUT, "max_failed_rows": None, "bounds": Bounds(), **limits})

    def submitting(self, chunks: Chunks | None = None, *, pool: Pool | None = None, **limits: Any) -> Submitting:
        return Submitting(
            chunks or self.chunks(),
            hook=self.hook,
            base=self.base,
            limits=self.limits(**limits),
            pool=pool or InTurn(),
            log=self.log,
        )

    def harvesting(
        self, chunks: Chunks, *, wakeup: Wakeup | None = None, stops: bool = False, **limits: Any
    ) -> Harvesting:
        return Harvesting(
            chunks,
            hook=self.hook,
            form=self.base.output,
            limits=self.limits(**limits),
            pool=InTurn(),
            must_stop=lambda: stops,
            wakeup=wakeup or Wakeup(),
            log=self.log,
        )

    def submit_all(self, submitting: Submitting, most: int = 200) -> list[float]:
        """Submit until there is nothing to submit for now. Return the pauses in between."""
        pauses = []
        for _ in range(most):
            delay = submitting.next()
            if delay is None:
                return pauses
            if delay:
                pauses.append(delay)
                self.sleep(delay)
        raise AssertionError("it goes on and on")

    def submitted(self) -> list[int]:
        """Return the rows that were submitted, in turn."""
        return [deed[1] for deed in self.did if deed[0] == "submit"]

    def chunk_written(self, number: int = 0) -> dict[str, Any]:
        """Return a chunk as it is written down."""
        written: dict[str, Any] = self.store.values[f"{KEY}_{number}"]
        return written


class World(Scene):
    """A task that was never begun, attempt by attempt."""

    def __init__(self, rows: Any = 4, **how: Any) -> None:
        self.out = how.pop("output", None)
        super().__init__(rows, **how)
        self.store.values.clear()
        self.checks = 0

    def attempt(self, **changes: Any) -> Attempt:
        limits = changes.pop("limits", {})
        return Attempt(
            **{
                "hook": self.hook,
                "conn_id": "studio",
                "base": self.base,
                "limits": self.limits(**limits),
                "asked_model": None,
                "with_model": lambda model: (self.base, self.limits(**limits)),
                "ledger": Ledger(self.store),
                "reader": self.reader,
                "output_path": str(self.out) if self.out else None,
                "output_format": "jsonl",
                "chunk_size": self.chunk_size,
                "deduplicate": True,
                "keep_failed": False,
                "log": self.log,
                "check": self._check,
                **changes,
            }
        )

    def _check(self) -> None:
        self.checks += 1

    @property
    def written(self) -> Head:
        return Head.of(self.store.values[KEY])

    def runs_on(self, *rows: int) -> None:
        """Let these operations not end."""
        self.looks = {f"op{row}": [taken(f"op{row}")] for row in rows}
