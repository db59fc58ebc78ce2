"""
The DAGs of the chaos run, made from the plan that ``tools/chaos/plan.py`` drew.

The operator is the package's own. Its subclass only kills the process that it runs in, once at each stage that the plan
names; that it did is noted in a file, because its log may die with it.

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

import json
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator

HOME = Path(os.environ["CHAOS_HOME"])


class MortalCompletionOperator(YandexAIStudioCompletionOperator):
    """
    Dies at the stages that it is told.

    :param job: The name under which its deaths are noted.
    :param die_at: The stages.
    :param die_whole: Kill the supervising process first.
    """

    def __init__(self, *, job: str, die_at: list[str], die_whole: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.die_at = die_at
        self.die_whole = die_whole

    def execute(self, context):
        self._attempt = context["ti"].try_number
        self._reached("before_submit")
        client = self.hook.get_conn()
        send = client.send

        def send_or_die(call, **how):
            if not call.billed:
                return send(call, **how)
            self._reached("sending")
            operation = send(call, **how)
            self._reached("taken")
            return operation

        client.send = send_or_die
        text = super().execute(context)
        if self.deferrable:
            # The answer was there already: what was to die on the way to it and back dies here.
            for stage in ("before_defer", "resume_begin", "resume_end"):
                self._reached(stage)
        return text

    def defer(self, **kwargs):
        self._reached("before_defer")
        super().defer(**kwargs)

    def execute_complete(self, context, event):
        self._attempt = context["ti"].try_number
        self._reached("resume_begin")
        text = super().execute_complete(context, event)
        self._reached("resume_end")
        return text

    def _reached(self, stage: str) -> None:
        if stage not in self.die_at:
            return
        try:
            with (HOME / "deaths" / f"{self.job}.{stage}").open("x") as note:
                note.write(str(self._attempt))
        except FileExistsError:
            return
        if self.die_whole:
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


@task(retries=4, retry_delay=timedelta(seconds=3))
def check(expected: list[list[str]], texts: list[list[str]]) -> None:
    """Compare what downstream tasks get with what was asked for."""
    for wanted, found in zip(expected, texts, strict=True):
        if (found := list(found)) != wanted:
            raise ValueError(f"{found} instead of {wanted}")


def make(dag_id: str, plan: dict[str, Any]) -> None:
    jobs = [job for job in plan["jobs"] if job["dag_id"] == dag_id]
    with DAG(dag_id, schedule=None, max_active_tasks=plan["active"], tags=["chaos"]):
        groups: dict[str, list[dict[str, Any]]] = {}
        for job in jobs:
            groups.setdefault(job["task_id"], []).append(job)
        texts = [
            MortalCompletionOperator.partial(
                task_id=task_id,
                pool=members[0]["pool"],
                retries=plan["retries"],
                retry_delay=timedelta(seconds=plan["retry_seconds"]),
                map_index_template="{{ task.job }}",
            )
            .expand_kwargs(
                [
                    {
                        "job": job["name"],
                        **{
                            name: job[name]
                            for name in (
                                "prompt",
                                "conn_id",
                                "end_from_trigger",
                                "deferrable",
                                "die_at",
                                "die_whole",
                            )
                        },
                    }
                    for job in members
                ]
            )
            .output
            for task_id, members in groups.items()
        ]
        check([[job["prompt"] for job in members] for members in groups.values()], texts)


PLAN = json.loads((HOME / "plan.json").read_text())
for dag_id in sorted({job["dag_id"] for job in PLAN["jobs"]}):
    make(dag_id, PLAN)
