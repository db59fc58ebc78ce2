"""A task of the bulk operator in stepped time, with a ledger that outlives its attempts and may be cut off anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator
from support import API_KEY, CONN_ID, FOLDER, SteppedTime, Store, TaskInstance


class Killed(BaseException):
    """The process is gone: nothing in the package catches this."""


class FragileStore(Store):
    """A store whose process is killed before or after a write. ``deadly`` counts the writes until then."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.deadly: int | None = None
        self.after = False

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        self.writes += 1
        dies = self.deadly is not None and self.writes >= self.deadly
        if dies and not self.after:
            raise Killed
        super().set(key, json.loads(json.dumps(value)), retention=retention)
        if dies:
            raise Killed


class BulkTask:
    """
    A task, attempt by attempt.

    :ivar event: What wakes it up each time; if it is empty, what the trigger would say.
    """

    def __init__(self, emulator: Emulator, **parameters: Any) -> None:
        self.emulator = emulator
        self.clock = SteppedTime(emulator)
        self.store = FragileStore()
        self.parameters: dict[str, Any] = {"timeout": 7200, **parameters}
        self.deferrals: list[Any] = []
        self.event: dict[str, Any] = {}
        self.most_stretches = 200
        self.values: dict[str, Any] = {}
        self.dag: dict[str, Any] = {}
        self.emulator_seconds = 20.0
        self.keeps_kwargs = True

    def operator(self) -> YandexAIStudioBulkCompletionOperator:
        with DAG("dag", **self.dag):
            operator = YandexAIStudioBulkCompletionOperator(task_id="generate", **self.parameters)
        operator.hook = YandexAIStudioHook(CONN_ID, clock=lambda: self.clock.now, sleep=self.clock.sleep)
        return operator

    def attempt(self) -> Any:
        """Run an attempt to its end, each stretch in a process of its own, as it were."""
        return self._stretches(lambda operator, context: operator.execute(context))

    def _stretches(self, start: Any) -> Any:
        for _ in range(self.most_stretches):
            operator = self.operator()
            context: Any = {**self.values, "ti": TaskInstance(), "task_state_store": self.store}
            try:
                with closing(operator.hook):
                    return start(operator, context)
            except TaskDeferred as deferred:
                self.deferrals.append(deferred)
                self._wait(deferred.trigger)
                event = self.event or self._event(deferred.trigger)
                kwargs = json.loads(json.dumps(deferred.kwargs)) if self.keeps_kwargs else {}
            start = _resume(kwargs, event)
        raise AssertionError(f"The task goes on after {self.most_stretches} stretches on a worker")

    def _wait(self, trigger: Any) -> None:
        path, fields = trigger.serialize()
        assert path.endswith("triggers.bulk.YandexAIStudioBulkTrigger")
        json.dumps(fields)
        longest = self.emulator_seconds if fields["chunks"] else 0.0
        until = fields["wake_at"] - self.clock.now if fields["wake_at"] else longest
        self.clock.sleep(max(5.0, until))

    def _event(self, trigger: Any) -> dict[str, Any]:
        """Wait on until the trigger has something to tell, and return what."""
        while True:
            running = {each["id"] for each in self.emulator.operations() if each["state"] == "running"}
            over = [
                int(number)
                for number, operations in trigger.chunks.items()
                if not any(known in running and self.clock.now < at + trigger.timeout for known, at in operations)
            ]
            if over:
                return Wakeup("Operations have ended", chunks=tuple(over)).event()
            if trigger.wake_at is not None and trigger.wake_at <= self.clock.now:
                return Wakeup("It is time to go on", chunks=()).event()
            self.clock.sleep(1.0)

    @property
    def submissions(self) -> int:
        return int(self.emulator.stats()["submissions"])

    @property
    def refusals(self) -> int:
        return int(self.emulator.stats()["responses"].get("completionAsync", {}).get("429", 0))


def _resume(kwargs: dict[str, Any], event: dict[str, Any]) -> Any:
    return lambda operator, context: operator.execute_complete(context, event, **kwargs)


@contextmanager
def closing(hook: YandexAIStudioHook) -> Iterator[None]:
    try:
        yield
    finally:
        if "_client" in vars(hook):
            hook.get_conn().close()


def texts(count: int) -> list[str]:
    return [f"Row {number} is about ducks that number {number}." for number in range(count)]


def file_of(path: Path, rows: list[Any]) -> str:
    """Write rows as JSON lines, with empty lines between them, and return the path."""
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    return str(path)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return all rows of an output, in the order of the inputs, by its manifest."""
    manifest = json.loads((path / "manifest.json").read_text())
    rows = [json.loads(line) for part in manifest["parts"] for line in (path / part).read_text().splitlines()]
    return sorted(rows, key=lambda row: row["index"])


__all__ = ["API_KEY", "FOLDER", "BulkTask", "Killed", "file_of", "rows_of", "texts"]
