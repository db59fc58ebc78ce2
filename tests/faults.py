"""The faults that the emulator plants, and a task that they are planted in the way of."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.durability.journal import KEY
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from support import SteppedTime, Store, TaskInstance

PROMPT = "Tell me of ducks, one by one."

FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "delay": {"kind": "delay", "seconds": 0.1},
    "drop": {"kind": "drop"},
    "garbage": {"kind": "garbage"},
    "operation_error": {"kind": "operation_error", "message": "exploded"},
    "operation_empty": {"kind": "operation_empty"},
    "lost_answer": {"kind": "lost_answer"},
}
ENDINGS = ("operation_error", "operation_empty")
REQUEST_FAULTS = [name for name in FAULTS if name not in ENDINGS]

Context = dict[str, Any]


class AnotherTurn(Exception):
    """The task waits for its turn to submit."""


class Task:
    """A task of the operator, with a journal that outlives its attempts."""

    def __init__(self, hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime) -> None:
        self.hook, self.emulator, self.clock = hook, emulator, clock
        self.store = Store()
        self.context: Context = {"ti": TaskInstance(), "task_state_store": self.store}
        self.parameters: dict[str, Any] = {"prompt": PROMPT, "timeout": 7200}

    def operator(self, **parameters: Any) -> YandexAIStudioCompletionOperator:
        with DAG("dag"):
            operator = YandexAIStudioCompletionOperator(task_id="generate", **{**self.parameters, **parameters})
        operator.hook = self.hook
        return operator

    def clear(self) -> None:
        """Clear the task, as a person does: Airflow then allows it more tries."""
        self.context["ti"].max_tries += 1

    def defer(self, **parameters: Any) -> YandexAIStudioOperationTrigger:
        with pytest.raises(TaskDeferred) as caught:
            self.operator(**parameters).execute(self.context)
        trigger = caught.value.trigger
        if caught.value.method_name == "submit_later":
            raise AnotherTurn(str(caught.value.__context__))
        assert isinstance(trigger, YandexAIStudioOperationTrigger)
        return trigger

    def resume(self, trigger: YandexAIStudioOperationTrigger) -> Any:
        fields = trigger.serialize()[1]
        event = {name: fields[name] for name in ("operation_id", "submitted_at", "deadline", "api")}
        return self.operator().execute_complete(self.context, {**event, "outcome": "ended"})

    @property
    def submissions(self) -> int:
        return int(self.emulator.stats()["submissions"])

    @property
    def suspected(self) -> bool:
        """Whether the journal holds a submission whose fate is unknown."""
        return KEY in self.store.values and self.store.values[KEY]["operation_id"] is None


def cells(*rows: tuple[Any, ...]) -> Any:
    """Parametrize a test by the cells of a column, named by their faults. No fault may be missing."""
    assert [row[0] for row in rows] in ([*FAULTS], REQUEST_FAULTS)
    return [pytest.param(*row, id=row[0]) for row in rows]
