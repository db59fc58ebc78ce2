"""The decorator with ``bulk=True``: what a function returns are the rows, in each attempt the same ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.configuration import conf
from airflow.sdk import DAG, Asset, ObjectStoragePath, task
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.bulk import kept
from airflow_provider.yandex_ai_studio.durability.journal import RETENTION
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, RowsFailed
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from bulk_task import BulkTask, Killed, rows_of
from support import API_KEY, CONN_ID, FOLDER, KEEPS_STATE, TaskInstance

Make = Callable[..., "DecoratedTask"]


class Note(BaseModel):
    """The form of an answer."""

    title: str


class LikeXComs(Sequence[str]):
    """A sequence that does not show what it holds, as the XComs of a mapped task are."""

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def __getitem__(self, index: Any) -> Any:
        return self._texts[index]

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        return "LikeXComs(<unevaluated length>)"


class DecoratedTask(BulkTask):
    """A decorated task, attempt by attempt."""

    def __init__(self, emulator: Emulator, decorated: Any, *arguments: Any, **keywords: Any) -> None:
        super().__init__(emulator)
        self.decorated, self.arguments, self.keywords = decorated, arguments, keywords

    def operator(self) -> Any:
        with DAG("dag"):
            operator = self.decorated.override(timeout=7200)(*self.arguments, **self.keywords).operator
        operator.hook = YandexAIStudioHook(CONN_ID, clock=lambda: self.clock.now, sleep=self.clock.sleep)
        operator.render_template_fields({"ti": TaskInstance(), "ds": "2026-01-05"})
        return operator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5, seconds_max=20, enforce_quotas=True) as running:
        yield running


@pytest.fixture
def make(emulator: Emulator, connection: None) -> Make:
    return lambda decorated, *arguments, **keywords: DecoratedTask(emulator, decorated, *arguments, **keywords)


def asked(emulator: Emulator) -> list[str]:
    return sorted(operation["prompt_head"] for operation in emulator.operations())


def ducks(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "text": f"Duck {number} is blue."} for number in range(count)]


def changing(calls: list[int], count: int = 8) -> Any:
    """A function that never returns the same rows twice, as a query for what is new does."""

    @task.yandex_ai_studio(bulk=True, id_field="id", prompt="Tell of it: {{ row.text }}")
    def tell():
        calls.append(1)
        return [{**row, "text": f"{row['text']} Call {len(calls)}."} for row in ducks(count)]

    return tell


def test_a_function_writes_the_prompts(make: Make, emulator: Emulator) -> None:
    @task.yandex_ai_studio(bulk=True)
    def tell(kind: str) -> list[str]:
        return [f"Tell of {kind} duck {number}." for number in range(3)]

    assert make(tell, "blue").attempt() == [f"Tell of blue duck {number}." for number in range(3)]


def test_a_function_writes_the_rows_of_a_prompt(make: Make, tmp_path: Path) -> None:
    @task.yandex_ai_studio(bulk=True, prompt="Tell of it: {{ row.text }}", id_field="id", output_path=str(tmp_path))
    def tell():
        return ducks(3)

    manifest = make(tell).attempt()
    assert manifest["counts"]["succeeded"] == 3
    assert [row["custom_id"] for row in rows_of(tmp_path)] == ["0", "1", "2"]


def test_a_function_may_return_the_path_of_a_file(make: Make, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('"Tell of ducks."\n')

    @task.yandex_ai_studio(bulk=True)
    def as_text():
        return str(tmp_path / "rows.jsonl")

    @task.yandex_ai_studio(bulk=True)
    def as_path():
        return ObjectStoragePath(tmp_path / "rows.jsonl")

    assert make(as_text).attempt() == make(as_path).attempt() == ["Tell of ducks."]


def test_arguments_are_templated_and_rows_are_not(make: Make, emulator: Emulator) -> None:
    @task.yandex_ai_studio(bulk=True, prompt="{{ row.day }}: {{ row.text }}")
    def tell(day: str):
        return [{"day": day, "text": "{{ conn.secret.password }}"}]

    make(tell, "{{ ds }}").attempt()
    assert asked(emulator) == ["2026-01-05: {{ conn.secret.password }}"]


def test_a_list_of_a_pydantic_model_asks_for_a_value_for_each_row(make: Make) -> None:
    @task.yandex_ai_studio(bulk=True, prompt="{{ row.text }}")
    def tell() -> list[Note]:
        return ducks(2)

    assert make(tell).attempt() == [{"title": "Duck 0 is blue."}, {"title": "Duck 1 is blue."}]


def test_a_schema_that_is_given_goes_before_the_annotation(make: Make) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

    @task.yandex_ai_studio(bulk=True, prompt="{{ row.text }}", json_schema=schema)
    def tell() -> list[Note]:
        return ducks(1)

    assert list(make(tell).attempt()[0]) == ["name"]


def test_dates_and_decimals_are_asked_as_they_are_in_each_attempt(make: Make, emulator: Emulator) -> None:
    moscow = timezone(timedelta(hours=3))

    @task.yandex_ai_studio(bulk=True, prompt="{{ row.on.year }}, {{ row.at }}, {{ row.price }}", row_retries=0)
    def tell():
        return [{"on": date(2026, 1, 1), "at": datetime(2026, 1, 1, tzinfo=moscow), "price": Decimal("19.90")}]

    emulator.fault("completionAsync", "operation_error", times=1)
    run = make(tell)
    with pytest.raises(RowsFailed):
        run.attempt()
    run.attempt()
    assert asked(emulator) == ["2026, 2026-01-01 00:00:00+03:00, 19.90"] * 2


def test_times_without_a_zone_are_the_same_on_a_worker_of_another_zone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task.yandex_ai_studio(bulk=True, prompt="{{ row.at }}")
    def tell():
        return [{"at": datetime(2026, 1, 1, 0, 30)}]

    run = make(tell)
    answers = []
    for zone in ("Europe/Moscow", "UTC"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        answers.append(run.attempt())
    monkeypatch.undo()
    time.tzset()
    assert answers == [["2026-01-01 00:30:00"]] * 2
    assert run.submissions == 1


def test_the_function_is_called_once_however_often_the_task_resumes(make: Make) -> None:
    calls: list[int] = []
    run = make(changing(calls))
    assert len(run.attempt()) == 8
    assert len(run.deferrals) > 0
    assert calls == [1]


@pytest.mark.parametrize(("deadly", "after"), [(3, False), (3, True), (6, True), (9, True), (12, True)])
def test_a_retry_goes_on_with_the_rows_of_the_first_attempt(
    make: Make, tmp_path: Path, deadly: int, after: bool
) -> None:
    calls: list[int] = []
    run = make(changing(calls, 30).override(output_path=str(tmp_path)))
    run.store.deadly, run.store.after = deadly, after
    with pytest.raises(Killed):
        run.attempt()
    run.store.deadly = None
    assert run.attempt()["counts"]["succeeded"] == 30
    assert calls == [1]
    assert run.submissions == 30
    assert all("Call 1." in row["output"] for row in rows_of(tmp_path))


@pytest.mark.parametrize("deadly", [1, 2])
def test_a_kill_before_the_rows_are_kept_leaves_the_output_to_others(make: Make, tmp_path: Path, deadly: int) -> None:
    run = make(changing([]).override(output_path=str(tmp_path)))
    run.store.deadly = deadly
    with pytest.raises(Killed):
        run.attempt()
    run.store.deadly = None
    assert run.attempt()["counts"]["succeeded"] == 8


def test_rows_that_failed_are_the_same_ones_in_a_further_attempt(make: Make, emulator: Emulator) -> None:
    calls: list[int] = []
    emulator.fault("completionAsync", "operation_error", times=1)
    run = make(changing(calls).override(row_retries=0))
    with pytest.raises(RowsFailed):
        run.attempt()
    assert len(run.attempt()) == 8
    assert (calls, run.submissions) == ([1], 9)


def test_rows_that_were_refused_are_written_anew_by_the_next_attempt(make: Make) -> None:
    calls: list[int] = []

    @task.yandex_ai_studio(bulk=True)
    def tell():
        calls.append(1)
        return ["Tell of ducks." if len(calls) > 1 else ""]

    run = make(tell)
    with pytest.raises(ConfigurationError, match="row 0"):
        run.attempt()
    assert run.attempt() == ["Tell of ducks."]
    assert len(calls) == 2


def test_rows_that_the_output_does_not_belong_to_are_written_anew_by_the_next_attempt(
    make: Make, tmp_path: Path
) -> None:
    make(changing([]).override(output_path=str(tmp_path))).attempt()
    calls: list[int] = []
    run = make(changing(calls, 9).override(output_path=str(tmp_path)))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="another set of requests"):
            run.attempt()
    assert len(calls) == 2


@pytest.mark.parametrize("within", [lambda xcoms: xcoms, lambda xcoms: {"of": [xcoms]}], ids=["itself", "deep"])
def test_other_arguments_call_the_function_again(make: Make, within: Any) -> None:
    @task.yandex_ai_studio(bulk=True)
    def tell(texts: Any) -> list[str]:
        return list(texts["of"][0] if isinstance(texts, dict) else texts)

    run = make(tell, within(LikeXComs("Tell of ducks.")))
    assert run.attempt() == ["Tell of ducks."]
    run.arguments = (within(LikeXComs("Tell of geese.")),)
    assert run.attempt() == ["Tell of geese."]


def test_arguments_are_the_same_in_whatever_order_a_process_shows_them(make: Make) -> None:
    calls: list[int] = []

    @task.yandex_ai_studio(bulk=True)
    def tell(kinds: Any, more: Any) -> list[str]:
        calls.append(1)
        return ["Tell of ducks."]

    run = make(tell, {8, 0}, {"ducks": {"a": 1, "b": {16, 0}}})
    run.attempt()
    run.arguments = ({0, 8}, {"ducks": {"b": {0, 16}, "a": 1}})
    run.attempt()
    assert repr({8, 0}) != repr({0, 8})
    assert calls == [1]


def test_arguments_that_were_wrong_for_once_leave_the_rows_that_were_paid_for(
    make: Make, emulator: Emulator, tmp_path: Path
) -> None:
    calls: list[str] = []

    @task.yandex_ai_studio(bulk=True, output_path=str(tmp_path), row_retries=0)
    def tell(kind: str) -> list[str]:
        calls.append(kind)
        return [f"Tell of {kind} {number}, as of call {len(calls)}." for number in range(5)]

    emulator.fault("completionAsync", "operation_error", times=1)
    run = make(tell, "duck")
    with pytest.raises(RowsFailed):
        run.attempt()
    run.arguments = ("goose",)
    with pytest.raises(ConfigurationError, match="another set of requests"):
        run.attempt()
    run.arguments = ("duck",)
    assert run.attempt()["counts"]["succeeded"] == 5
    assert (calls, run.submissions) == (["duck", "goose"], 6)


def test_an_error_about_kept_rows_says_how_to_have_new_ones(make: Make, emulator: Emulator) -> None:
    @task.yandex_ai_studio(bulk=True, prompt="{{ row.text }}", row_retries=0)
    def tell():
        return [{"text": "Tell of ducks."}]

    @task.yandex_ai_studio(bulk=True, prompt="{{ row.kind }}: {{ row.text }}")
    def mended():
        return [{"text": "Tell of ducks.", "kind": "bird"}]

    emulator.fault("completionAsync", "operation_error", times=1)
    run = make(tell)
    with pytest.raises(RowsFailed):
        run.attempt()
    run.decorated = mended
    with pytest.raises(ConfigurationError, match="`kind`") as refused:
        run.attempt()
    assert refused.value.args[0].splitlines()[-1] == f"{kept.ABOUT}."
    assert refused.value.__cause__ is None
    run.store.delete(kept.KEY)
    assert run.attempt() == ["bird: Tell of ducks."]


def test_an_error_about_new_rows_says_nothing_of_kept_ones(make: Make) -> None:
    @task.yandex_ai_studio(bulk=True, prompt="{{ row.kind }}")
    def tell():
        return [{"text": "Tell of ducks."}]

    with pytest.raises(ConfigurationError, match="`kind`") as refused:
        make(tell).attempt()
    assert "kept" not in str(refused.value)


@pytest.mark.skipif(not KEEPS_STATE, reason="Airflow 3.2 has no state store")
def test_a_piece_of_kept_rows_is_no_larger_than_airflow_likes() -> None:
    assert len(json.dumps("x" * kept.PIECE)) <= conf.getint("state_store", "max_value_storage_bytes")
    assert kept.PIECE * kept.MOST_PIECES >= 19_900_000


def test_kept_rows_outlast_the_ledger(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is written all the time; rows only at the start of a stretch, and not by each."""
    run = make(changing([]))
    ends: dict[str, float] = {}
    write = run.store.set

    def note(key: str, value: Any, *, retention: Any) -> None:
        ends[key] = run.clock.now + retention.total_seconds()
        write(key, value, retention=retention)

    monkeypatch.setattr(run.store, "set", note)
    for _ in range(4):
        run.attempt()
        rows = {end for key, end in ends.items() if key.startswith(kept.KEY)}
        assert min(rows) >= max(ends.values())
        run.clock.now += RETENTION.total_seconds() * 0.4


def test_a_kill_while_rows_are_renewed_leaves_them_whole(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PIECE", 50)
    calls: list[int] = []
    run = make(changing(calls))
    run.attempt()
    run.clock.now += RETENTION.total_seconds() * 0.6
    run.store.deadly = run.store.writes + 2
    with pytest.raises(Killed):
        run.attempt()
    run.store.deadly = None
    run.attempt()
    assert calls == [1]


def test_an_argument_of_no_value_is_the_same_in_each_process(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []

    @task.yandex_ai_studio(bulk=True)
    def tell(source: Any) -> list[str]:
        calls.append(1)
        return ["Tell of ducks."]

    run = make(tell, object())
    run.attempt()
    run.arguments = (other := object(),)
    run.attempt()
    assert repr(other) != repr(object())
    assert calls == [1]
    assert "can't be compared (object)" in capsys.readouterr().out


def test_a_task_that_resumes_goes_on_whatever_became_of_its_arguments(make: Make) -> None:
    calls: list[int] = []

    @task.yandex_ai_studio(bulk=True)
    def tell(texts: Any) -> list[str]:
        calls.append(1)
        return list(texts)

    run = make(tell, ["Tell of ducks."])
    resume = run._wait

    def change(trigger: Any) -> None:
        run.arguments = (["Tell of geese."],)
        resume(trigger)

    run._wait = change  # type: ignore[method-assign]
    assert run.attempt() == ["Tell of ducks."]
    assert calls == [1]


def test_a_function_that_changes_its_arguments_is_not_called_again(make: Make) -> None:
    calls: list[int] = []

    @task.yandex_ai_studio(bulk=True)
    def tell(texts: list[str]) -> list[str]:
        calls.append(1)
        texts.append(f"Tell of geese {len(calls)}.")
        return texts

    run = make(tell, "unused")
    for _ in range(2):
        run.arguments = (["Tell of ducks."],)
        assert len(run.attempt()) == 2
    assert calls == [1]


def test_without_its_state_a_task_that_resumes_begins_anew(make: Make) -> None:
    calls: list[int] = []
    run = make(changing(calls))
    resume = run._wait

    def lose_the_state(trigger: Any) -> None:
        if not calls[1:]:
            run.store.values.clear()
        resume(trigger)

    run._wait = lose_the_state  # type: ignore[method-assign]
    assert all("Call 2." in answer for answer in run.attempt())
    assert len(calls) == 2


def test_many_rows_are_kept_in_values_of_a_bounded_size(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PIECE", 50)
    run = make(changing([]))
    assert len(run.attempt()) == 8
    pieces = [value for key, value in run.store.values.items() if key.startswith(f"{kept.KEY}_")]
    assert len(pieces) > 2
    assert max(map(len, pieces)) == 50


def test_a_piece_that_is_gone_calls_the_function_again(make: Make) -> None:
    calls: list[int] = []
    run = make(changing(calls))
    run.attempt()
    run.store.delete(f"{kept.KEY}_0")
    run.attempt()
    assert len(calls) == 2


def test_a_kill_while_other_rows_are_kept_never_mixes_them(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PIECE", 50)

    @task.yandex_ai_studio(bulk=True)
    def tell(kind: str) -> list[str]:
        return [f"Tell of {kind} {number}, the {number}th of its kind." for number in range(20)]

    run = make(tell, "duck")
    run.attempt()
    run.arguments = ("goose",)
    run.store.deadly, run.store.after = run.store.writes + 2, True
    with pytest.raises(Killed):
        run.attempt()
    run.store.deadly, run.arguments = None, ("duck",)
    assert all("duck" in answer for answer in run.attempt())


def test_too_many_rows_are_refused_before_anything_is_sent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_PIECES", 0)
    run = make(changing([]))
    with pytest.raises(ConfigurationError, match="return its path"):
        run.attempt()
    assert run.submissions == 0


@pytest.mark.parametrize(
    "written", [None, 3, {"text": "x"}, (row for row in "ab"), b"x"], ids=lambda v: type(v).__name__
)
def test_what_is_no_list_is_refused_before_anything_is_sent(make: Make, written: Any) -> None:
    @task.yandex_ai_studio(bulk=True)
    def tell():
        return written

    run = make(tell)
    with pytest.raises(ConfigurationError, match="The function tell of"):
        run.attempt()
    assert run.submissions == 0


def test_rows_that_can_t_be_kept_are_refused_without_their_text(make: Make) -> None:
    @task.yandex_ai_studio(bulk=True, prompt="{{ row.text }}")
    def tell():
        return [{"text": "a secret", "more": object()}]

    run = make(tell)
    with pytest.raises(ConfigurationError, match="Row 0 holds a value of the type object") as refused:
        run.attempt()
    assert "secret" not in str(refused.value)
    assert run.submissions == 0


def test_one_prompt_that_is_no_list_is_refused_without_its_text(make: Make) -> None:
    @task.yandex_ai_studio(bulk=True)
    def tell():
        return "Tell of Mr. Secret"

    with pytest.raises(ConfigurationError, match="or a list, if it is a prompt") as refused:
        make(tell).attempt()
    assert "Secret" not in str(refused.value)


def test_what_the_function_returns_can_t_be_a_parameter() -> None:
    @task.yandex_ai_studio(bulk=True, inputs=["Tell of ducks."])
    def tell():
        return ["Tell of ducks."]

    with DAG("dag"), pytest.raises(ConfigurationError, match="Leave `inputs` out: it is what the function"):
        tell()


def test_parameters_are_the_operator_s_and_can_be_overridden() -> None:
    @task.yandex_ai_studio(bulk=True, model="yandexgpt-lite", row_retries=1, outlets=[Asset("ducks")])
    def tell():
        return ["Tell of ducks."]

    with DAG("dag"):
        operator = tell.override(task_id="more", row_retries=5)().operator
    assert (operator.task_id, operator.model, operator.row_retries) == ("more", "yandexgpt-lite", 5)


def test_it_can_be_mapped() -> None:
    @task.yandex_ai_studio(bulk=True, on_row_error="keep")
    def tell(kind: str) -> list[str]:
        return [f"Tell of {kind} ducks."]

    with DAG("dag"):
        mapped = tell.partial().expand(kind=["blue", "red"]).operator
    assert mapped.operator_class.custom_operator_name == "@task.yandex_ai_studio"
    assert mapped.unmap({"op_kwargs": {"kind": "red"}}).on_row_error == "keep"


def test_the_fields_of_a_manifest_can_be_xcoms_of_their_own() -> None:
    @task.yandex_ai_studio(bulk=True, multiple_outputs=True, output_path="/ducks")
    def tell():
        return ["Tell of ducks."]

    with DAG("dag"):
        assert tell().operator.multiple_outputs


def test_a_list_has_no_keys_for_xcoms_of_their_own() -> None:
    @task.yandex_ai_studio(bulk=True, multiple_outputs=True)
    def tell():
        return ["Tell of ducks."]

    @task.yandex_ai_studio(bulk=True)
    def annotated() -> dict[str, str]:
        return ["Tell of ducks."]

    for each in (tell, annotated):
        with DAG("dag"), pytest.raises(ConfigurationError, match="multiple_outputs"):
            each()


def test_an_output_that_renders_to_nothing_is_refused(make: Make, emulator: Emulator) -> None:
    @task.yandex_ai_studio(bulk=True, multiple_outputs=True, output_path="{{ ds[:0] }}")
    def tell():
        return ["Tell of ducks."]

    run = make(tell)
    with pytest.raises(ConfigurationError, match="Give `output_path` a folder"):
        run.attempt()
    assert run.submissions == 0


def test_one_value_and_one_for_each_row_are_told_apart() -> None:
    @task.yandex_ai_studio(bulk=True)
    def rows() -> Note:
        return ["Tell of ducks."]

    @task.yandex_ai_studio
    def prompt() -> list[Note]:
        return "Tell of ducks."

    with DAG("dag"), pytest.raises(ConfigurationError, match=r"return list\[Note\]"):
        rows()
    with DAG("dag"), pytest.raises(ConfigurationError, match="bulk=True"):
        prompt()
