"""What runs on the Airflow of the system tests, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AWKWARD = (
    "| \"Ёж\" \\ 🦔 \t'tab' |\n"
    '| {"a": "\\n"} {{ no_template }} %s  &amp; <b> |\n'
    "| сто ‰ e\u0301 \u200b\u2028 конец 👩\u200d👩\u200d👧 |"
)
"""What JSON, Jinja, SQL, HTML or a terminal may stumble over. The emulator repeats a table as it stands."""

EXAMPLES = ("summarize_dependencies", "submit_and_wait")
"""The example DAGs that run here, in files of the same names."""

BY_ASSET = ("summarize_reviews", "review_digest")
"""The DAGs of the example ``review_digest``: the second is scheduled on the asset of the first."""

PACKAGES = 10
"""How many packages the example DAG summarizes."""

DOOMED = {"route": "completionAsync", "kind": "operation_error", "code": 13, "message": "doomed"}
LOST_ANSWER = {"route": "completionAsync", "kind": "lost_answer"}
SPENT_QUOTA = {"route": "completionAsync", "kind": "status", "status": 429, "times": 6}
"""As often as one stretch on a worker asks."""


@dataclass(frozen=True)
class Plan:
    """
    A run of a DAG with a prompt.

    :param own_service: Its operations run until the test lets them end. Else the shared emulator's few seconds.
    :param conn_id: The connection, where the service is shared.
    :param fault: What goes wrong at the service, once.
    :param early: Begin it before the first test. The others begin with the module that asks for them: an operation
        that runs for long is seldom asked about, and so its end is seen late.
    """

    dag_id: str
    prompt: str = "The river rises in the hills and flows past the old town."
    own_service: bool = True
    conn_id: str = "yandex_ai_studio_default"
    fault: Mapping[str, Any] | None = None
    early: bool = False


PLANS = {
    "paths": Plan("system_paths", AWKWARD, early=True),
    "mapped": Plan("system_mapped", own_service=False, early=True),
    "service_account": Plan("system_generate", own_service=False, conn_id="service_account", early=True),
    "iam_token": Plan("system_generate", own_service=False, conn_id="iam_token", early=True),
    "timeout": Plan("system_timeout", early=True),
    "spent_quota": Plan("system_generate", fault=SPENT_QUOTA, early=True),
    "sensor_timeout": Plan("system_sensor_timeout", early=True),
    "failed_operation": Plan("system_generate_again", "The hedgehog sleeps.", fault=DOOMED),
    "failed_operation_sensed": Plan("system_sense_failed", "The walrus rests.", fault=DOOMED),
    "fails_before_it_defers": Plan("system_fails_before_it_defers"),
    "execution_timeout": Plan("system_execution_timeout"),
    "deferred_execution_timeout": Plan("system_deferred_execution_timeout"),
    "last_execution_timeout": Plan("system_last_execution_timeout"),
    "lost_answer": Plan("system_lost_answer", fault=LOST_ANSWER),
    "lost_answer_is_final": Plan("system_lost_answer_is_final", fault=LOST_ANSWER),
    "clear_succeeded": Plan("system_generate", "The cleared success is asked for once.", own_service=False),
    "clear_deferred": Plan("system_generate"),
    "clear_kept": Plan("system_generate"),
    "clear_on_worker": Plan("system_generate_on_the_worker"),
    "delivered_twice": Plan("system_generate_on_the_worker"),
    "lost_worker": Plan("system_generate_on_the_worker_again"),
    "mark_failed": Plan("system_generate_again"),
    "mark_success": Plan("system_generate_again"),
    "mark_run_failed": Plan("system_generate_again"),
    "mark_on_worker": Plan("system_generate_on_the_worker"),
    "mark_sensor": Plan("system_sense"),
    "rotated_key": Plan("system_generate"),
    "triggerer_restart": Plan("system_generate"),
}
