"""What the run reads in Airflow's database, as views that are the same for each release."""

from __future__ import annotations

from tools.harness.airflow import LocalAirflow

TASKS, PAST, XCOMS = "chaos_tasks", "chaos_past", "chaos_xcoms"
"""Task instances in their latest attempt, earlier attempts, and the XComs of the latest."""

SEPARATE = {
    TASKS: "select id::text as id, dag_id, run_id, task_id, map_index, state, try_number, pool from task_instance",
    PAST: "select dag_id, run_id, task_id, map_index, try_number, end_date from task_instance_history",
    XCOMS: "select dag_id, run_id, task_id, map_index, key, value from xcom",
}
"""Up to Airflow 3.3."""

TOGETHER = {
    TASKS: "select id::text as id, dag_id, run_id, task_id, region_index as map_index, state, try_number, pool"
    " from task_instance where working_set",
    PAST: "select dag_id, run_id, task_id, region_index as map_index, try_number, end_date"
    " from task_instance where working_set is null",
    XCOMS: "select dag_id, run_id, task_id, region_index as map_index, key, value"
    " from xcom_v2 join task_instance on task_instance.id = task_instance_id where working_set",
}
"""From Airflow 3.4 on: each attempt is a row of the same table, and owns its XComs."""


def create_views(airflow: LocalAirflow) -> None:
    """Create the views for the release that runs."""
    separate = airflow.sql("select 1 as found from pg_tables where tablename = 'task_instance_history'")
    for name, statement in (SEPARATE if separate else TOGETHER).items():
        airflow.sql(f"create view {name} as {statement}")
