"""The last look at an operation whose wait is over: the last word is the service's, unless it is but one word."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Operation
from airflow_provider.yandex_ai_studio.client.retry import ATTEMPTS
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.durability.resume import LAST_PAUSES, Wakeup, last_look, least_deferral
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConnectionNotFound,
    NotFound,
    OperationExpired,
    OperationTimeout,
    PermissionDenied,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.waiting.decision import REFUSAL_SECONDS, Outcome, Wait
from support import SteppedTime

LOG: Any = logging.getLogger(__name__)
DAY = 86_400.0
REFUSALS = [400, 401, 403, 404]


class Look:
    """A last look at an operation of an hour, an hour before its deadline."""

    def __init__(self, hook: YandexAIStudioHook, clock: SteppedTime, emulator: Emulator) -> None:
        self.hook, self.clock, self.emulator = hook, clock, emulator
        submitted = hook.submit_completion(hook.completion_request(prompt="Tell me of ducks."))
        self.wait = Wait(submitted.id, clock.now, clock.now + 7200)

    def __call__(self, outcome: Outcome) -> Operation | None:
        """Return what was seen; None where the wait goes on, as it then is."""
        seen = last_look(self.hook, Wakeup(self.wait, outcome), LOG)
        if isinstance(seen, Wait):
            self.wait = seen
            return None
        return seen

    def refuse(self, status: int, times: int | None) -> None:
        self.emulator.fault("operations.get", "status", status=status, times=times)

    @property
    def reads(self) -> int:
        return int(self.emulator.stats()["requests"]["operations.get"])


@pytest.fixture
def look(hook: YandexAIStudioHook, clock: SteppedTime, emulator: Emulator) -> Look:
    return Look(hook, clock, emulator)


@pytest.mark.parametrize("outcome", ["ended", "timeout", "refused", "expired"])
def test_an_operation_that_runs_is_waited_for_until_its_deadline_whatever_woke_the_task(
    look: Look, clock: SteppedTime, outcome: Outcome
) -> None:
    slept = len(clock.slept)
    assert look(outcome) is None
    assert len(clock.slept) == slept  # and no worker waits for it
    look.wait = Wait(look.wait.operation_id, clock.now - 60, clock.now)
    seen = look(outcome)
    assert seen is not None
    assert not seen.done


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("outcome", ["ended", "timeout", "broken"])
def test_one_refusal_costs_nobody_an_answer(look: Look, clock: SteppedTime, status: int, outcome: Outcome) -> None:
    clock.sleep(4000)
    look.refuse(status, 1)
    seen = look(outcome)
    assert seen is not None
    assert seen.generation is not None


@pytest.mark.parametrize(
    ("status", "error"), [(400, BadRequest), (401, AuthenticationError), (403, PermissionDenied), (404, NotFound)]
)
def test_a_refusal_that_meets_the_workers_alone_is_told_after_the_five_minutes_that_a_trigger_gives_it(
    look: Look, clock: SteppedTime, status: int, error: type[Exception]
) -> None:
    look.refuse(status, None)
    began = clock.now

    def look_again_and_again() -> None:
        while look("ended") is None:
            clock.sleep(5)

    with pytest.raises(error, match=f"{look.wait.operation_id} was submitted before that, and is not cancelled"):
        look_again_and_again()
    assert clock.now - began == pytest.approx(REFUSAL_SECONDS + sum(LAST_PAUSES), abs=sum(LAST_PAUSES) + 5)


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (403, PermissionDenied)])
def test_a_refusal_that_ended_the_wait_is_told_at_once(look: Look, status: int, error: type[Exception]) -> None:
    look.refuse(status, None)
    with pytest.raises(error):
        look("refused")
    assert look.reads == 1  # the trigger has had the patience


def test_a_connection_that_is_not_found_for_a_moment_costs_nobody_an_answer(
    look: Look, clock: SteppedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    waking, found = YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep), look.hook.settings
    answers: list[Any] = [ConnectionNotFound("a secrets backend hiccups"), found]

    def looked_up() -> Settings:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(waking, "_looked_up", looked_up)
    look.hook = waking
    clock.sleep(4000)
    seen = look("ended")
    waking.get_conn().close()
    assert seen is not None
    assert seen.generation is not None
    answers[:] = [ConnectionNotFound("it is gone")] * 8
    look.hook = YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep)
    monkeypatch.setattr(look.hook, "_looked_up", looked_up)
    assert look("ended") is None
    clock.sleep(4000)
    with pytest.raises(ConnectionNotFound):  # its deadline has passed
        look("ended")


def test_404s_within_moments_do_not_make_an_operation_expired(look: Look) -> None:
    look.refuse(404, None)
    assert look("ended") is None
    with pytest.raises(OperationExpired, match=look.wait.operation_id):
        look("expired")


def test_a_404_about_an_operation_that_need_not_be_kept_is_final(look: Look, clock: SteppedTime) -> None:
    look.refuse(404, None)
    look.wait = Wait(look.wait.operation_id, clock.now - 3 * DAY, clock.now + 7200)
    with pytest.raises(OperationExpired):
        look("ended")


def test_a_404_at_the_deadline_is_a_timeout_that_says_so(look: Look, clock: SteppedTime) -> None:
    look.refuse(404, None)
    clock.sleep(7300)
    with pytest.raises(OperationTimeout, match="did not know it at the last look"):
        look("timeout")


def test_an_answer_behind_the_trigger_s_is_asked_for_again_where_the_deadline_has_passed(
    look: Look, clock: SteppedTime
) -> None:
    clock.sleep(7300)
    look.emulator.fault("operations.get", "stale", seconds=7000, times=2)
    seen = look("ended")
    assert seen is not None
    assert seen.generation is not None
    assert look.reads == 3
    look.emulator.fault("operations.get", "stale", seconds=7000, times=1)
    seen = look("timeout")  # nobody saw its end
    assert seen is not None
    assert not seen.done


def test_an_outage_is_waited_out_in_the_triggerer(look: Look) -> None:
    look.refuse(503, None)
    slept = len(look.clock.slept)
    assert look("ended") is None
    assert look.reads == ATTEMPTS  # the client's own patience, and no further look of a worker's
    assert len(look.clock.slept) - slept == ATTEMPTS - 1


@pytest.mark.parametrize(
    ("version", "seconds"), [("3.2.0", 20.0), ("3.2.4", 20.0), ("3.3.2", 5.0), ("3.4.0b2", 5.0), ("3.20.0", 5.0)]
)
def test_on_airflow_3_2_a_task_stays_deferred_longer_for_a_retry_would_pay_again(version: str, seconds: float) -> None:
    assert least_deferral(version) == seconds
