"""Look for what must not be there: in every table of the metadata database, and in every file of Airflow's home."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tools.harness.airflow import LocalAirflow


def pattern_of(needles: Iterable[str]) -> re.Pattern[str]:
    """Return what finds any of these strings, and also in the form that PostgreSQL gives bytes."""
    return re.compile("|".join(re.escape(form) for needle in needles for form in (needle, needle.encode().hex())))


def tables_with(airflow: LocalAirflow, pattern: re.Pattern[str]) -> list[str]:
    """Return the tables of which a row, as text, holds what is looked for, with how often it does."""
    tables = [
        row["table_name"]
        for row in airflow.sql("select table_name from information_schema.tables where table_schema = 'public'")
    ]
    assert {"connection", "trigger", "serialized_dag", "log"} <= set(tables)
    assert {"xcom", "xcom_v2"} & set(tables)  # the second of each from Airflow 3.4 on
    assert {"rendered_task_instance_fields", "rtif_v2"} & set(tables)
    found = {
        table: sum(bool(pattern.search(row["text"])) for row in airflow.sql(f'select t::text as text from "{table}" t'))
        for table in tables
    }
    return [f"{table}: {rows} rows" for table, rows in sorted(found.items()) if rows]


def files_with(airflow: LocalAirflow, pattern: re.Pattern[str]) -> list[str]:
    """Return the files that hold what is looked for."""
    files = [path for path in airflow.home.rglob("*") if path.is_file()]
    return sorted(
        str(path.relative_to(airflow.home)) for path in files if pattern.search(path.read_text(errors="replace"))
    )
