"""The example pipelines from table to table, on a PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

from airflow_provider.yandex_ai_studio.emulator import Emulator
from dag_runs import Home
from support import API_KEY, FOLDER, KEEPS_STATE, submissions
from tools.harness.postgres import scratch_postgres

pytestmark = pytest.mark.skipif(not KEEPS_STATE, reason="the bulk operator refuses to run on Airflow 3.2")

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with scratch_postgres() as url:
        yield url


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=0.5) as running:
        yield running


@pytest.fixture
def sql(database: str) -> Iterator[Sql]:
    """Run a statement, and return its rows."""
    url = make_url(database)
    with closing(psycopg2.connect(host=url.query["host"], user=url.username, dbname=url.database)) as connection:
        connection.autocommit = True
        connection.cursor().execute("drop table if exists feedback, feedback_summaries, mail, invoices")

        def execute(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return cursor.fetchall() if cursor.description else []

        yield execute


@pytest.fixture
def home(tmp_path: Path, emulator: Emulator, database: str) -> Home:
    url = make_url(database)
    connection = {"conn_type": "postgres", "host": url.query["host"], "login": url.username, "schema": url.database}
    environment = {
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "0",
        "AIRFLOW_CONN_FEEDBACK_DB": json.dumps(connection),
        "AIRFLOW_CONN_MAIL_DB": json.dumps(connection),
        "INVOICES_FOLDER": str(tmp_path / "invoices"),
        "SUMMARIES_FOLDER": str(tmp_path / "summaries"),
    }
    return Home(tmp_path, emulator, environment)


def succeeds(home: Home, dag_id: str) -> None:
    result = home.test(dag_id)
    assert set(result["tasks"].values()) == {"success"}, result
    assert result["run"] == "success"


def test_the_nightly_summaries_pay_once_for_each_row_and_no_further_night_for_one_that_failed(
    home: Home, emulator: Emulator, sql: Sql
) -> None:
    sql("create table feedback (id bigint primary key, message text)")
    for number in range(1000, 1030):
        sql("insert into feedback values (%s, %s)", number, f"Order {number} came late; {{{{ ds }}}} it said.")
    sql("insert into feedback values (1, null), (2, ''), (3, E' \\n\\t')")  # there is nothing to pay for in these
    emulator.fault("completionAsync", "operation_error", match="Order 1007 ", times=None)
    succeeds(home, "nightly_summaries")
    assert submissions(emulator) == 30 + 2  # the one that fails is tried three times
    [(failed, summary, error)] = sql("select id, summary, error from feedback_summaries where error is not null")
    assert (failed, summary, error.partition(":")[0]) == (1007, None, "operation_failed")
    assert sql("select count(*) from feedback_summaries where summary is not null") == [(29,)]

    sql("insert into feedback values (99, 'Order 99 came in time.')")
    succeeds(home, "nightly_summaries")
    assert submissions(emulator) == 32 + 1  # the new one alone

    emulator.clear_faults()
    sql("delete from feedback_summaries where error is not null")
    succeeds(home, "nightly_summaries")
    assert submissions(emulator) == 33 + 1  # the failed one alone
    assert sql("select count(*) from feedback_summaries where error is not null or tokens is null") == [(0,)]
    found = dict(sql("select id, summary from feedback_summaries"))
    assert set(found) == {99, *range(1000, 1030)}
    assert [number for number, summary in found.items() if f"Order {number} came" not in summary] == []

    succeeds(home, "nightly_summaries")
    assert submissions(emulator) == 34
    assert dict(sql("select id, summary from feedback_summaries")) == found


def test_a_night_in_which_most_rows_fail_loads_the_others_and_pays_for_none_of_these_again(
    home: Home, emulator: Emulator, sql: Sql
) -> None:
    sql("create table feedback (id bigint primary key, message text)")
    for number in range(1, 16):
        sql("insert into feedback values (%s, %s)", number, f"Order {number} {'came' if number < 4 else 'broke'}.")
    emulator.fault("completionAsync", "operation_error", match=" broke", times=None)
    succeeds(home, "nightly_summaries")
    assert submissions(emulator) == 3 + 12 * 3
    assert sql("select id from feedback_summaries where summary is not null order by id") == [(1,), (2,), (3,)]

    succeeds(home, "nightly_summaries")
    assert submissions(emulator) == 39
    assert sql("select count(*), count(error) from feedback_summaries") == [(15, 12)]


@pytest.mark.parametrize(
    ("dag_id", "source", "target", "generate"),
    [
        ("nightly_summaries", "feedback (id, message)", "feedback_summaries", "summarize"),
        ("extract_invoices", "mail (id, body)", "invoices", "extract"),
    ],
)
def test_a_night_whose_load_fails_holds_up_the_next_one_and_nothing_is_paid_twice(
    home: Home, emulator: Emulator, sql: Sql, dag_id: str, source: str, target: str, generate: str
) -> None:
    sql(f"create table {source.replace('id', 'id bigint primary key').replace(')', ' text)')}")
    succeeds(home, dag_id)
    sql(f"insert into {source} values (1, 'Order 1 came late.'), (2, 'Order 2 came in time.')")
    sql(f"alter table {target} add column broken integer not null")
    assert home.test(dag_id) == {
        "run": "failed",
        "tasks": {"create_table": "success", generate: "success", "load": "failed"},
    }
    assert home.test(dag_id)["tasks"] == {"create_table": "success", generate: None, "load": None}
    assert (submissions(emulator), sql(f"select count(*) from {target}")) == (2, [(0,)])


def test_extraction_fills_typed_columns_and_leaves_out_what_does_not_fit(
    home: Home, emulator: Emulator, sql: Sql
) -> None:
    sql("create table mail (id bigint primary key, body text)")
    for number in range(1, 7):
        sql("insert into mail values (%s, %s)", number, f"Supplier {number} writes: please pay.")
    sql("insert into mail values (7, null), (8, ''), (9, E' \\n'), (10, 'None')")  # no mail can refuse the others
    answers = {
        "Supplier 2 ": ("2026-02-01", "9999999999.99"),
        "Supplier 3 ": ("next week", "5"),
        "Supplier 4 ": ("2026-02-01", "9999999999.995"),
        "Supplier 5 ": ("2026-02-01", "1e999"),
    }
    for supplier, (due, amount) in answers.items():
        text = f'{{"supplier": "{supplier}", "due": "{due}", "amount": {amount}, "currency": "RUB"}}'
        body = {"alternatives": [{"message": {"role": "assistant", "text": text}}]}
        emulator.fault("completionAsync", "operation_answer", match=supplier, times=None, body=body)
    succeeds(home, "extract_invoices")
    fits = "select id, supplier, due, amount, currency from invoices where error is null"
    rows = {row[0]: row[1:] for row in sql(fits)}
    assert set(rows) == {1, 2, 6, 10}
    assert rows[2] == ("Supplier 2 ", date(2026, 2, 1), Decimal("9999999999.99"), "RUB")
    assert all(f"Supplier {number}" in rows[number][0] for number in (1, 2, 6))
    assert {tuple(map(type, row)) for row in rows.values()} == {(str, date, Decimal, str)}
    assert submissions(emulator) == 4 + 3 * 3  # what does not fit is asked three times

    misfits = sql("select id, supplier, due, amount, currency, error from invoices where error is not null order by id")
    assert [row[:5] for row in misfits] == [(number, None, None, None, None) for number in (3, 4, 5)]
    assert all(row[5].startswith("output_validation_error: ") for row in misfits)

    succeeds(home, "extract_invoices")
    assert submissions(emulator) == 13
    emulator.clear_faults()
    sql("delete from invoices where error is not null")
    succeeds(home, "extract_invoices")
    assert submissions(emulator) == 13 + 3
    assert sql("select count(*), count(due) from invoices") == [(7, 7)]
