"""
The DAGs of the chaos run, made from the plan that ``tools/chaos/plan.py`` drew.

The operators are the package's own. Their subclasses only kill the process that they run in, once at each stage that
the plan names; that they did is noted in a file, because the log may die with it. That of the bulk operator notes as
well which operations the ledger knows, because no log names them.

=============  =====================================================================================
before_submit  nothing has happened yet
sending        the intent is written down, the request is not sent
taken          the service has taken the request, and its answer is not looked at
before_defer   the id is written down, the task has not deferred yet
resume_begin   the trigger has fired, the answer is not fetched
resume_end     the answer is fetched and its XComs are written, the text is not returned
=============  =====================================================================================
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator, task

from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.operators.responses import YandexAIStudioResponseOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from tools.chaos.parts import texts_of

HOME = Path(os.environ["CHAOS_HOME"])
DYING = threading.Lock()
"""A process dies once, whichever of its threads is first."""


class Mortal(BaseOperator):
    """
    Dies at the stages that it is told. Its names must not be those of an operator, which would never be called.

    :param job: The name under which its deaths are noted.
    :param die_at: The stages.
    :param die_whole: Kill the supervising process first.
    """

    dies_at_call = 1
    """The first submission of a process inside which it may die."""

    def __init__(self, *, job: str, die_at: list[str], die_whole: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.die_at = die_at
        self.die_whole = die_whole
        self.dead = False

    def execute(self, context):
        return self.live(super().execute, context)

    def submit_later(self, context, event, **kwargs):
        return self.live(super().submit_later, context, event, **kwargs)

    def live(self, submit, context, *more, **kwargs):
        self.arm(context)
        self.reach("before_submit")
        value = submit(context, *more, **kwargs)
        if getattr(self, "deferrable", True) and getattr(self, "wait_for_completion", True):
            # The answer was there already: what was to die on the way to it and back dies here.
            for stage in ("before_defer", "resume_begin", "resume_end"):
                self.reach(stage)
        return value

    def defer(self, **kwargs):
        if kwargs["method_name"] != "submit_later":  # nothing is written down yet
            self.reach("before_defer")
        super().defer(**kwargs)

    def execute_complete(self, context, event, **kwargs):
        self.arm(context)
        self.reach("resume_begin")
        value = super().execute_complete(context, event, **kwargs)
        self.reach("resume_end")
        return value

    def arm(self, context):
        self.dying_attempt = context["ti"].try_number
        client = self.hook.get_conn()
        send, calls = client.send, itertools.count(1)

        def send_or_die(call, **how):
            if not call.billed:
                return send(call, **how)
            dies = next(calls) >= self.dies_at_call
            if dies:
                self.reach("sending")
            operation = send(call, **how)
            if dies:
                self.reach("taken")
            return operation

        client.send = send_or_die

    def reach(self, stage: str) -> None:
        with DYING:
            if stage not in self.die_at or self.dead:
                return
            try:
                with (HOME / "deaths" / f"{self.job}.{stage}").open("x") as note:
                    note.write(str(self.dying_attempt))
            except FileExistsError:
                return
            self.dead = True
        if self.die_whole:
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


class MortalCompletionOperator(Mortal, YandexAIStudioCompletionOperator):
    """Has a text generated, and dies."""


class MortalResponseOperator(Mortal, YandexAIStudioResponseOperator):
    """Has a text generated with the Responses API, and dies."""


class MortalBulkOperator(Mortal, YandexAIStudioBulkCompletionOperator):
    """Has many texts generated, and dies among them."""

    dies_at_call = 6

    def _store(self, context):
        return Witness(super()._store(context), HOME / "ledgers" / self.job)


class Witness:
    """
    Notes the operations that a ledger knows: what was written to it, and what is found in it.

    :param store: Where the ledger lies.
    :param notes: The file of the notes.
    """

    def __init__(self, store: Any, notes: Path) -> None:
        self._store = store
        self._notes = notes
        self._noted: set[str] = set()

    def get(self, key):
        value = self._store.get(key)
        self._note(value)
        return value

    def set(self, key, value, **how):
        self._store.set(key, value, **how)
        self._note(value)

    def delete(self, key):
        self._store.delete(key)

    def _note(self, value):
        if isinstance(value, dict):
            new = {known[0] for known in value.get("ids", {}).values()} - self._noted
            with self._notes.open("a") as notes:
                notes.write("".join(f"{id_}\n" for id_ in sorted(new)))
            self._noted |= new


@task(task_id="check", retries=4, retry_delay=timedelta(seconds=3))
def check(expected: list[list[str]], found: list[Any]) -> None:
    """Compare what downstream tasks get with what was asked for."""
    for wanted, value in zip(expected, found, strict=True):
        texts = texts_of(value) if isinstance(value, Mapping) else [value] if isinstance(value, str) else list(value)
        if texts != wanted:
            raise ValueError(f"{texts} instead of {wanted}")


def operator_of(job: dict[str, Any]) -> tuple[type[BaseOperator], dict[str, Any]]:
    """Return the operator of a job, and what only this job gives it."""
    mine = {name: job[name] for name in ("conn_id", "end_from_trigger")}
    if job["kind"] == "watch":
        return YandexAIStudioOperationSensor, mine
    mine |= {"job": job["name"], "die_at": job["die_at"], "die_whole": job["die_whole"]}
    if job["kind"] == "bulk":
        del mine["end_from_trigger"]
        mine |= {"inputs": job["prompts"], "chunk_size": 20}
        return MortalBulkOperator, mine | {"output_path": str(HOME / "out" / job["name"]) if job["folder"] else None}
    mine |= {"prompt": job["prompts"][0], "deferrable": job["deferrable"]}
    if job["kind"] == "respond":
        return MortalResponseOperator, mine
    return MortalCompletionOperator, mine | {"wait_for_completion": job["kind"] != "submit"}


def make(dag_id: str, plan: dict[str, Any]) -> None:
    groups: dict[str, list[dict[str, Any]]] = {}
    for job in plan["jobs"]:
        if job["dag_id"] == dag_id:
            groups.setdefault(job["task_id"], []).append(job)
    with DAG(dag_id, schedule=None, max_active_tasks=plan["active"], tags=["chaos"]):
        outputs: dict[str, Any] = {}
        for task_id, (first, *others) in groups.items():
            operator, mine = operator_of(first)
            delay = timedelta(seconds=plan["retry_seconds"])
            alike = {"task_id": task_id, "pool": first["pool"], "retries": first["retries"], "retry_delay": delay}
            if first["kind"] == "watch":
                submitted = outputs[task_id.replace("watch", "submit")]
                if first["map_index"] < 0:
                    watch = operator(operation_id=submitted, start_from_trigger=first["from_trigger"], **alike, **mine)
                else:
                    watch = operator.partial(**alike, **mine).expand(operation_id=submitted)
                outputs[task_id] = watch.output
            elif first["map_index"] < 0:
                outputs[task_id] = operator(**alike, **mine).output
            else:
                each = [mine, *(operator_of(job)[1] for job in others)]
                mapped = operator.partial(map_index_template="{{ task.job }}", **alike)
                outputs[task_id] = mapped.expand_kwargs(each).output
        told = [task_id for task_id, members in groups.items() if members[0]["kind"] != "submit"]
        check(
            [[prompt for job in groups[task_id] for prompt in job["prompts"]] for task_id in told],
            [outputs[task_id] for task_id in told],
        )


PLAN = json.loads((HOME / "plan.json").read_text())
for dag_id in sorted({job["dag_id"] for job in PLAN["jobs"]}):
    make(dag_id, PLAN)
