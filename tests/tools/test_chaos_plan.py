"""What a chaos run plans, and in which order it lets it happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest

from tools.chaos.agenda import Agenda
from tools.chaos.causes import SUBMISSIONS
from tools.chaos.jobs import CONNECTIONS, NEEDS_DEFERRAL, STAGES, Kind
from tools.chaos.plan import (
    CHAOS_DAG,
    DISCARD,
    EVENTS,
    FATAL,
    ROTATED,
    SHORT_EVENTS,
    SUBMIT_FAULTS,
    chaos_plan,
    quiet_plan,
)
from tools.chaos.story import Story

ROUTES = (*SUBMISSIONS, "operations.get", "responses.get", "iam.tokens")


def test_a_plan_follows_from_its_seed_alone() -> None:
    assert chaos_plan(48, 7) == chaos_plan(48, 7)
    assert chaos_plan(48, 7) != chaos_plan(48, 8)


FORMS = pytest.mark.parametrize(("tasks", "short"), [(48, True), (200, False)])
SEEDS = pytest.mark.parametrize("seed", [1, 2, 3])


@FORMS
@SEEDS
def test_a_plan_has_every_death_and_every_fault(tasks: int, short: bool, seed: int) -> None:
    plan = chaos_plan(tasks, seed, short=short)
    assert {stage for job in plan.jobs if job.kind != "bulk" for stage in job.die_at} == set(STAGES)
    submit = [fault for fault in plan.faults if fault["route"] in SUBMISSIONS]
    assert {(fault["kind"], fault.get("status")) for fault in submit} == {
        (fault["kind"], fault.get("status")) for fault in SUBMIT_FAULTS
    }
    reads = {fault.get("status") for fault in plan.faults if fault["route"] == "operations.get"}
    assert {404, 403, 400, 502} <= reads


@FORMS
@SEEDS
def test_a_plan_has_every_kind_of_task(tasks: int, short: bool, seed: int) -> None:
    jobs = chaos_plan(tasks, seed, short=short).jobs
    assert len(jobs) == tasks
    assert {job.kind for job in jobs} == set(get_args(Kind))
    assert {job.from_trigger for job in jobs if job.kind == "watch"} == {True, False}
    assert sorted(job.folder for job in jobs if job.kind == "bulk") == [False, True]
    submits = {(job.wave, job.map_index): job.prompts for job in jobs if job.kind == "submit"}
    assert {(job.wave, job.map_index): job.prompts for job in jobs if job.kind == "watch"} == submits


@FORMS
@SEEDS
def test_a_bulk_task_dies_in_the_middle_and_some_of_its_rows_fail_once(tasks: int, short: bool, seed: int) -> None:
    plan = chaos_plan(tasks, seed, short=short)
    for job in plan.jobs:
        if job.kind == "bulk":
            assert "taken" in job.die_at
            assert job.index not in plan.doomed
            mine = [fault for fault in plan.faults if fault.get("match", "").strip() in job.rows]
            assert any(fault["kind"] in FATAL for fault in mine)
            assert len({fault["match"] for fault in mine}) == len(mine)


@SEEDS
def test_a_task_meets_only_what_can_happen_to_it(seed: int) -> None:
    """No response shows its error early; and the trouble of the vault begins with a wait."""
    plan = chaos_plan(200, seed)
    responses = [fault["kind"] for fault in plan.faults if fault["route"] == "responses.create"]
    assert responses
    assert "early_error" not in responses
    assert not [job for job in plan.jobs if job.kind == "submit" and CONNECTIONS[job.conn_id].through == "vault"]


@SEEDS
def test_nobody_waits_for_an_operation_that_is_planned_to_fail(seed: int) -> None:
    plan = chaos_plan(200, seed)
    fatal = {fault["match"].strip() for fault in plan.faults if fault["kind"] in FATAL}
    assert not {job.name for job in plan.jobs if job.kind == "submit"} & fatal


@SEEDS
def test_who_dies_on_the_way_to_an_answer_and_back_goes_that_way(seed: int) -> None:
    dying = [job for job in chaos_plan(200, seed).jobs if not NEEDS_DEFERRAL.isdisjoint(job.die_at)]
    assert all(job.deferrable for job in dying)


@pytest.mark.parametrize("events", [EVENTS, SHORT_EVENTS])
def test_the_world_changes_in_every_way_in_each_form_of_the_run(events: tuple[tuple[str, ...], ...]) -> None:
    kinds = {kind for wave in events for kind in wave}
    clears = {f"clear a {what} task{meaning}" for what in ("waiting", "finished") for meaning in ("", DISCARD)}
    assert kinds >= {*ROTATED, *clears, "look-ups of a connection fail", "the gateway dies", "the service hangs"}


def test_a_rotation_reaches_each_credential_over_each_transport() -> None:
    rotated = {CONNECTIONS[conn_id] for conn_ids in ROTATED.values() for conn_id in conn_ids}
    assert len({(way.credential, way.grpc) for way in rotated}) == 6


def test_state_is_only_discarded_where_airflow_can() -> None:
    def discards(plan: Any) -> bool:
        return any(kind.endswith(DISCARD) for wave in plan.events for kind in wave)

    assert not discards(chaos_plan(48, 1))
    assert discards(chaos_plan(48, 1, discards=True))


def test_no_prompt_is_used_twice() -> None:
    plan = quiet_plan(200, 1)
    assert len({job.prompts for job in plan.jobs}) == len(plan.jobs) == 400
    assert {job.dag_id for job in plan.jobs} == {"quiet_auto", "quiet_resume"}
    assert {job.dag_id for job in chaos_plan(10, 1).jobs} == {CHAOS_DAG}


def test_no_two_jobs_are_the_same_task() -> None:
    plan = chaos_plan(48, 1)
    assert len({job.key for job in plan.jobs}) == 48
    assert {job.wave for job in plan.jobs} == set(range(plan.waves))


class Actor:
    """Makes everything happen but what it finds nobody for."""

    def __init__(self, *impossible: str) -> None:
        self.impossible = set(impossible)
        self.happened: list[str] = []

    def happen(self, kind: str) -> bool:
        if kind not in self.impossible:
            self.happened.append(kind)
        return kind not in self.impossible

    def look_after(self) -> None:
        """All are well."""


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the clock of the story forward."""
    time = {"now": 100.0}
    monkeypatch.setattr("time.monotonic", lambda: time["now"])

    def forward(seconds: float) -> None:
        time["now"] += seconds

    return forward


def story(
    mayhem: Actor,
    world: Actor,
    events: list[tuple[str, ...]],
    agenda: Agenda,
    under_way: Callable[[int], bool] = lambda waves: True,
) -> tuple[Story, list[int]]:
    waves: list[int] = []
    return Story(events, mayhem, world, waves.append, under_way, agenda), waves  # type: ignore[arg-type] # stand-ins


def test_each_event_finds_the_jobs_of_its_wave_begun(now: Callable[[float], None]) -> None:
    mayhem, world = Actor(), Actor()
    told, waves = story(mayhem, world, [("kill", "rotate"), ("storm",)], Agenda())
    seen = []
    for _ in range(6):
        told.go_on()
        seen.append((list(waves), len(mayhem.happened), len(world.happened)))
        now(3.5)
    assert seen[:3] == [([0], 0, 1), ([0], 0, 1), ([0, 1], 1, 1)]
    assert (waves, mayhem.happened, told.left) == ([0, 1, 2], ["kill", "storm"], [])


def test_an_event_that_finds_nobody_lets_the_next_jobs_begin_and_is_told_in_the_end(
    now: Callable[[float], None],
) -> None:
    told, waves = story(Actor("kill"), Actor("rotate"), [("kill", "rotate"), ("storm",)], Agenda())
    for _ in range(10):
        told.go_on()
        now(10)
    assert waves == [0, 1, 2]
    assert told.left == ["kill", "storm", "rotate"]
    assert told.happened == []


def test_nothing_happens_until_everybody_is_back(now: Callable[[float], None]) -> None:
    agenda, mayhem = Agenda(), Actor()
    told, _ = story(mayhem, Actor(), [("kill",)], agenda)
    told.go_on()
    agenda.later(30, lambda: None)
    now(20)
    told.go_on()
    assert mayhem.happened == []
    now(20)
    told.go_on()
    assert mayhem.happened == ["kill"]


def test_on_a_slow_machine_the_events_wait_for_their_jobs(now: Callable[[float], None]) -> None:
    under_way: set[int] = set()
    mayhem = Actor()
    told, waves = story(mayhem, Actor(), [("kill",), ("storm",)], Agenda(), under_way.__contains__)
    for begun in (1, 2):
        for _ in range(3):
            told.go_on()
            now(60)
        assert len(waves) == begun
        assert len(mayhem.happened) == begun - 1
        under_way.add(begun)
        told.go_on()


def test_what_nobody_met_happens_again_and_is_told_if_it_does_not(now: Callable[[float], None]) -> None:
    agenda, world = Agenda(), Actor()
    told, _ = story(Actor(), world, [("kill", "rotate")], agenda)
    told.go_on()
    agenda.again.append("rotate")
    world.impossible = {"rotate"}
    told.go_on()
    assert (told.happened, told.left) == ([], ["kill", "rotate"])
    world.impossible = set()
    now(10)
    told.go_on()
    assert told.happened == ["rotate"]
    assert world.happened == ["rotate", "rotate"]


@FORMS
@SEEDS
def test_no_fault_waits_for_more_requests_than_there_surely_are(tasks: int, short: bool, seed: int) -> None:
    plan = chaos_plan(tasks, seed, short=short)
    keyed = sum(CONNECTIONS[job.conn_id].credential == "service_account" for job in plan.jobs)
    latest = {route: max(fault.get("after", 0) for fault in plan.faults if fault["route"] == route) for route in ROUTES}
    assert latest["operations.get"] < tasks
    assert latest["responses.get"] < sum(job.kind == "respond" for job in plan.jobs)
    assert latest["iam.tokens"] < keyed
    assert all(not latest[route] for route in SUBMISSIONS)
