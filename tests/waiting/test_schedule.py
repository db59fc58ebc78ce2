"""An end is seen soon, a long wait costs little, and no second holds more than the budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio.waiting import schedule
from airflow_provider.yandex_ai_studio.waiting.schedule import (
    RECOVERY_SECONDS,
    ROUNDS,
    SLOWEST_SHARE,
    RateBudget,
    patience,
)

HOUR = 3600.0
EPSILON = 1e-6

fractions = st.floats(0, 1)
ages = st.floats(-HOUR, 1000 * HOUR)  # below 0: the clocks of worker and triggerer differ
rates = st.floats(0.1, 100)


def questions(ends_at, randoms):
    """Return when an operation is asked about, up to the question that sees its end."""
    times = [schedule.first_delay(0)]
    while times[-1] < ends_at:
        times.append(times[-1] + schedule.next_delay(times[-1], random=randoms[len(times) % len(randoms)]))
    return times


@given(st.floats(0, 72 * HOUR), st.lists(fractions, min_size=1, max_size=8))
def test_an_end_is_seen_within_a_tenth_of_the_run_time(ends_at, randoms):
    assert questions(ends_at, randoms)[-1] - ends_at <= 0.1 * ends_at + 1


@given(st.lists(fractions, min_size=1, max_size=8))
def test_an_hour_costs_about_a_hundred_questions_and_a_day_not_two_thousand(randoms):
    assert len(questions(HOUR, randoms)) <= 130
    assert len(questions(24 * HOUR, randoms)) <= 1900


@given(ages, fractions)
def test_a_delay_stays_in_its_bounds(age, random):
    assert 0 <= schedule.first_delay(age) <= 1
    assert 0.8 <= schedule.next_delay(age, random=random) <= 60


def test_an_operation_that_was_submitted_long_ago_is_asked_about_at_once():
    assert schedule.first_delay(HOUR) == 0


@given(st.integers(1, 10**6), fractions)
def test_the_delay_after_troubles_grows_up_to_its_bound(troubles, random):
    delay = schedule.trouble_delay(troubles, random=random)
    assert 0.5 <= delay <= 60
    assert delay <= schedule.trouble_delay(troubles + 1, random=random)


@given(rates, st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1), st.booleans()), max_size=60))
def test_no_second_at_the_service_holds_more_requests_than_the_budget(per_second, rounds):
    """Whenever it sees a request between its sending and its answer, whatever the times and the 429s."""
    budget, now, seen = RateBudget(per_second), 0.0, []
    for latency, share, refused in rounds:
        if refused:
            budget.slow_down(now)
        delay, size = budget.next_round(now)
        while not size:
            now += delay
            delay, size = budget.next_round(now)
        budget.sent(now, size)
        seen += [now + share * latency] * size
        now += latency
        for _ in range(size):
            budget.answered(now)
    most = max(1, int(per_second))
    for first, one_too_many in zip(seen, seen[most:], strict=False):
        assert one_too_many - first >= 1 - EPSILON


def test_rounds_use_most_of_the_budget():
    budget, now, sent = RateBudget(40), 0.0, 0
    while now < 60:
        delay, size = budget.next_round(now)
        if size:
            budget.sent(now, size)
            sent += size
            now += 0.02
            for _ in range(size):
                budget.answered(now)
        else:
            now += delay + EPSILON
    assert 60 * 40 * 0.9 < sent <= 61 * 40


def test_requests_that_hang_leave_the_rest_of_the_budget_to_the_others():
    budget = RateBudget(40)
    budget.sent(0.0, 20)
    budget.sent(0.5, 15)
    assert budget.next_round(1.0) == (0, 5)
    budget.sent(1.0, 5)
    assert budget.next_round(1.5) == (pytest.approx(1 / ROUNDS), 0)
    budget.answered(1.7)
    assert budget.next_round(2.0) == (pytest.approx(0.7), 0)
    assert budget.next_round(2.7) == (0, 1)


def test_a_question_that_hangs_is_given_up_soon_and_a_slow_service_gets_more_time():
    assert [patience(troubles) for troubles in range(4)] == [5, 10, 20, 40]
    assert patience(10**6) > 3600


def test_an_idle_budget_does_not_save_up_a_burst():
    budget = RateBudget(40)
    assert budget.next_round(HOUR) == (0, 20)
    budget.sent(HOUR, 20)
    assert budget.next_round(HOUR) == (pytest.approx(1 / ROUNDS), 0)


def test_a_lone_wait_is_asked_about_at_once():
    budget = RateBudget(40)
    budget.sent(0.0, 1)
    budget.answered(0.1)
    assert budget.next_round(1.0) == (0, 20)


@given(rates, st.floats(0, 10**9), st.lists(st.floats(0, 5), max_size=60))
def test_a_429_slows_down_never_to_a_halt_and_recovers_in_full(per_second, now, pauses):
    budget = RateBudget(per_second)
    before = budget.rate(now)
    budget.slow_down(now)
    assert budget.rate(now) == pytest.approx(before / 2)
    for pause in pauses:
        now += pause
        before = budget.rate(now)
        budget.slow_down(now)
        assert per_second * SLOWEST_SHARE * (1 - EPSILON) <= budget.rate(now) <= before
    assert budget.rate(now + RECOVERY_SECONDS / 2) <= budget.rate(now + RECOVERY_SECONDS)
    assert budget.rate(now + RECOVERY_SECONDS) == per_second


def test_requests_that_are_refused_together_count_once():
    budget = RateBudget(40)
    for _ in range(20):
        budget.slow_down(100.0)
    budget.slow_down(100.9)
    assert budget.rate(100.0) == 20
    budget.slow_down(101.0)
    assert budget.rate(101.0) == pytest.approx((20 + 40 / RECOVERY_SECONDS) / 2)


def test_a_slower_rate_is_what_the_queue_gets():
    budget = RateBudget(40)
    budget.slow_down(100.0)
    assert budget.next_round(100.0) == (0, 10)
