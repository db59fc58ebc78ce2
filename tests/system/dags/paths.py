"""Every way from a prompt to the task that uses the text."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor

CONN_ID = "{{ dag_run.conf['conn_id'] }}"


@task
def exactly(text: str) -> str:
    """Return the text that came from XCom, byte for byte."""
    return text.encode().hex()


@dag(schedule=None)
def system_paths():
    def generate(task_id: str, **options):
        return YandexAIStudioCompletionOperator(
            task_id=task_id, prompt="{{ dag_run.conf['prompt'] }}", conn_id=CONN_ID, **options
        )

    def sense(task_id: str, **options):
        return YandexAIStudioOperationSensor(
            task_id=task_id, operation_id=submit.output, conn_id=CONN_ID, timeout=600, **options
        )

    submit = generate("submit", wait_for_completion=False)
    for path in (
        generate("blocking", deferrable=False),
        generate("ended_in_triggerer"),
        generate("resumed_on_worker", end_from_trigger=False),
        sense("sensed_in_triggerer"),
        sense("sensed_and_resumed", end_from_trigger=False),
        sense("sensed_without_worker", start_from_trigger=True),
        sense("poked", deferrable=False, poke_interval=1),
        sense("rescheduled", deferrable=False, poke_interval=15, mode="reschedule"),
    ):
        exactly.override(task_id=f"use_{path.task_id}")(path.output)


@dag(schedule=None)
def system_mapped():
    generate = YandexAIStudioCompletionOperator.partial(
        task_id="generate", instructions="{{ dag_run.conf['instructions'] }}", conn_id=CONN_ID
    ).expand(prompt=task(lambda: PROMPTS, task_id="prompts")())

    @task
    def use(texts: list[str]) -> list[str]:
        return list(texts)

    use(generate.output)


PROMPTS = [f"Number {number} of the mapped prompts is about «{topic}»." for number, topic in enumerate("абвгд")]

system_paths()
system_mapped()
