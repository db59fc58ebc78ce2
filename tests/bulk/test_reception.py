"""How a run bears a service that does not take what it submits: by value."""

from __future__ import annotations

import json
from concurrent.futures import CancelledError

import pytest

from airflow_provider.yandex_ai_studio.bulk.reception import (
    AWAY,
    BLIND,
    DAY,
    LASTING,
    LOSSES,
    PAUSES,
    STRANGER_REFUSALS,
    TRIES,
    Reception,
    Trouble,
    may_have_arrived,
    trouble_of,
)
from airflow_provider.yandex_ai_studio.bulk.steady_clock import SteadyClock
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServiceUnavailable,
)

TIMEOUT = 1800.0

LOST = ServiceUnavailable("lost")
AWAY_NOW = ServiceUnavailable("away", arrived=False)
NO_TLS = ServiceUnavailable("no TLS", arrived=False, lasting=True)
REFUSED = PermissionDenied("refused", arrived=False)
FULL = RateLimited("full", arrived=False)
BUG = ZeroDivisionError("a bug")


def after(*rounds: tuple[float, Trouble], reception: Reception | None = None) -> Reception:
    how = reception or Reception()
    for at, trouble in rounds:
        how = how.after(0, int(trouble == "lost"), trouble, at)
    return how


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (LOST, True),
        (BUG, True),
        (AWAY_NOW, False),
        (REFUSED, False),
        (FULL, False),
        (ConfigurationError("a key"), False),
        (CancelledError(), False),
    ],
)
def test_only_what_was_surely_not_taken_is_no_loss(error: Exception, may: bool) -> None:
    assert may_have_arrived(error) is may


@pytest.mark.parametrize(
    ("errors", "trouble", "cause"),
    [
        ([], "", None),
        ([CancelledError()], "", None),
        ([FULL], "full", FULL),
        ([FULL, AWAY_NOW], "unavailable", AWAY_NOW),
        ([NO_TLS, AWAY_NOW], "unavailable", NO_TLS),
        ([NO_TLS, NO_TLS], "lasting", NO_TLS),
        ([FULL, AWAY_NOW, REFUSED], "refused", REFUSED),
        ([FULL, AWAY_NOW, REFUSED, LOST], "lost", LOST),
        ([LOST, BUG], "lost", BUG),
    ],
)
def test_a_round_is_told_by_the_worst_that_it_met(
    errors: list[Exception], trouble: Trouble, cause: Exception | None
) -> None:
    assert trouble_of(errors) == (trouble, cause)


@pytest.mark.parametrize("error", [AuthenticationError, NotFound, PermissionDenied])
def test_each_refusal_of_the_account_is_one(error: type[Exception]) -> None:
    refusal = error("refused", arrived=False)  # type: ignore[call-arg]
    assert trouble_of([refusal]) == ("refused", refusal)
    assert trouble_of([ConfigurationError("a key")])[0] == "refused"


def test_a_trouble_lasts_from_its_first_round_and_tries_are_counted_whatever_it_is() -> None:
    assert after((5, "full"), (6, "full"), (9, "full")) == Reception(trouble="full", since=5, began=5)
    assert after((5, "full"), (6, "refused")) == Reception(0, 0, "refused", 6, 5, tries=1, refusals=1)
    assert after((5, "refused"), (6, "unavailable"), (8, "unavailable"), (9, "refused")) == Reception(
        0, 0, "refused", 9, 5, tries=4, refusals=2
    )
    assert after((5, "full"), (6, "")) == Reception(trouble="full", since=5, began=5)


def test_what_is_taken_ends_a_trouble_and_forgets_no_loss() -> None:
    assert after((5, "lost")).after(4, 1, "lost", 7) == Reception(taken=4, lost=2)
    assert Reception().after(0, 3, "lost", 7).lost == 3


def test_how_it_stands_is_written_down_and_read_again() -> None:
    how = after((5, "lost"), (6, "full"))
    assert Reception.of(json.loads(json.dumps(how.value()))) == how
    assert Reception.of({}) == Reception()
    assert Reception.of({**how.value(), "unknown": 1}) == how


@pytest.mark.parametrize(
    ("trouble", "probes"), [("", False), ("full", False), ("lost", True), ("refused", True), ("unavailable", True)]
)
def test_one_row_asks_whether_a_service_works_again_and_none_whether_a_quota_is_back(
    trouble: Trouble, probes: bool
) -> None:
    assert Reception(trouble=trouble).probes is probes


def test_a_row_is_risked_once_in_a_while_where_no_free_question_is_answered() -> None:
    risky = [tries for tries in range(2 * BLIND + 2) if Reception(trouble="unavailable", tries=tries).risks_a_row]
    assert risky == [BLIND, 2 * BLIND]
    assert 1800 < BLIND * AWAY < 7200


def test_pauses_grow_and_are_never_the_same_for_all() -> None:
    rounds = [Reception(trouble="lost", tries=number) for number in (0, 1, 2, 3, 30)]
    assert [how.pause(1.0) for how in rounds] == [PAUSES[0], *PAUSES, PAUSES[-1]]
    assert [how.pause(0.0) for how in rounds] == [PAUSES[0] / 2, *(pause / 2 for pause in PAUSES), PAUSES[-1] / 2]


@pytest.mark.parametrize("trouble", ["refused", "lasting", "unavailable"])
def test_a_worker_waits_for_a_few_rounds_only(trouble: Trouble) -> None:
    assert not Reception(trouble=trouble, tries=TRIES - 1).keeps_no_worker
    assert Reception(trouble=trouble, tries=TRIES).keeps_no_worker
    assert not Reception(trouble="lost", tries=TRIES).keeps_no_worker
    assert sum(PAUSES) < AWAY


def test_a_quota_is_tried_again_the_later_the_longer_it_is_spent_up_to_twenty_minutes() -> None:
    how = after((1000, "full"))
    assert [Reception().quota_opens_at(60, now) for now in (0, 50, 60)] == [60, 60, 60]
    assert [how.quota_opens_at(now + 60, now) - now for now in (1030, 1300, 9999)] == [60, 300, 1200]
    assert how.quota_opens_at(5000, 1300) == 5000


@pytest.mark.parametrize(
    ("trouble", "patience"),
    [("refused", 300), ("lasting", LASTING), ("unavailable", TIMEOUT), ("full", DAY), ("lost", DAY)],
)
def test_each_trouble_is_borne_for_its_time(trouble: Trouble, patience: float) -> None:
    how = Reception(trouble=trouble, since=1000, began=1000, tries=9, refusals=9)
    assert how.gives_up_at(TIMEOUT) == 1000 + patience
    assert not how.is_over(1000 + patience, TIMEOUT, known=True)
    assert how.is_over(1001 + patience, TIMEOUT, known=True)
    assert not Reception().is_over(10**9, TIMEOUT, known=True)


def test_what_no_waiting_mends_is_borne_no_longer_than_any_outage() -> None:
    assert Reception(trouble="lasting").gives_up_at(100) == 100


def test_troubles_that_alternate_come_to_an_end() -> None:
    how = after(*((float(at), ("full", "unavailable")[at // 600 % 2]) for at in range(0, int(DAY) + 1201, 600)))
    assert (how.began, how.since) == (0, DAY + 1200)
    assert how.is_over(DAY + 1, TIMEOUT, known=True)
    assert not how.is_over(DAY + 1, 3 * DAY, known=True)


@pytest.mark.parametrize("other", ["unavailable", "lasting", "lost"])
def test_troubles_that_alternate_keep_no_worker(other: Trouble) -> None:
    troubles: list[Trouble] = ["refused", other] * TRIES
    first = after(*enumerate(troubles[: TRIES - 1]))
    assert not first.keeps_no_worker
    assert first.after(0, 0, "refused", 9).keeps_no_worker
    assert first.after(0, 0, "unavailable", 9).keeps_no_worker
    assert after(*enumerate(troubles)).pause(1.0) == PAUSES[-1]


def test_a_quota_that_is_spent_for_long_leaves_a_worker_its_patience_with_other_troubles() -> None:
    busy = after(*((float(at), "full") for at in range(100)))
    assert not busy.after(0, 0, "unavailable", 100).keeps_no_worker


def test_an_account_that_was_never_right_is_told_whatever_comes_between_its_refusals() -> None:
    how = after(*enumerate(["refused", "unavailable"] * STRANGER_REFUSALS))
    assert not after(*enumerate(["refused", "unavailable"] * (STRANGER_REFUSALS - 1))).is_over(9, TIMEOUT, known=False)
    assert how.after(0, 0, "refused", 9).is_over(9, TIMEOUT, known=False)
    assert not how.after(0, 0, "refused", 9).is_over(9, TIMEOUT, known=True)


def test_a_few_refusals_end_a_run_of_which_nothing_was_ever_taken_and_no_other() -> None:
    few = Reception(trouble="refused", refusals=STRANGER_REFUSALS, since=0, began=0)
    assert few.is_over(1, TIMEOUT, known=False)
    assert not few.is_over(1, TIMEOUT, known=True)
    assert not few.is_over(301, TIMEOUT, known=True)  # too few, however long ago the first one was
    assert Reception(trouble="refused", refusals=STRANGER_REFUSALS + 1).is_over(301, TIMEOUT, known=True)
    one_less = Reception(trouble="refused", refusals=STRANGER_REFUSALS - 1)
    assert not one_less.is_over(10**6, TIMEOUT, known=False)


@pytest.mark.parametrize(("taken", "most"), [(0, LOSSES), (100, LOSSES + 10), (10_000, LOSSES + 1000)])
def test_losses_are_borne_as_a_share_of_what_was_taken(taken: int, most: int) -> None:
    assert not Reception(taken, most).loses_too_much
    assert Reception(taken, most + 1).loses_too_much


def test_a_clock_that_is_set_back_stands_still_and_goes_on() -> None:
    shown = iter([100.0, 101.0, 50.0, 51.0, 45.0, 60.0, 200.0])
    clock = SteadyClock(lambda: next(shown))
    assert [clock() for _ in range(6)] == [101, 101, 102, 102, 117, 257]
