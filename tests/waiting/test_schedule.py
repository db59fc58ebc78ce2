"""An end is seen soon, a long wait costs little, and no second holds more than the budget."""

import heapq
import itertools
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio.waiting import schedule
from airflow_provider.yandex_ai_studio.waiting.schedule import (
    CAUTION,
    LONGEST_LOOK_UP,
    PROBE_SECONDS,
    QUIET,
    RECOVERY_SECONDS,
    ROUNDS,
    SLOWEST_SHARE,
    LookUps,
    RateBudget,
    next_report,
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


def test_the_first_question_comes_a_second_after_the_submission():
    ages = {-5.0: 1, 0: 1, 0.25: 0.75, 1: 0, HOUR: 0}
    assert {age: schedule.first_delay(age) for age in ages} == ages


def test_the_delay_after_troubles_doubles_and_the_random_source_spreads_it_over_half_of_it():
    assert [schedule.trouble_delay(troubles, random=1) for troubles in range(1, 8)] == [1, 2, 4, 8, 16, 32, 60]
    assert schedule.trouble_delay(1, random=0) == 0.5


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
    assert [patience(unanswered) for unanswered in range(4)] == [5, 10, 20, 40]
    assert patience(10**6) > 3600


def test_a_small_budget_gives_out_one_request_at_a_time():
    assert RateBudget(2).next_round(0.0) == (0, 1)
    slow = RateBudget(0.5)
    assert slow.next_round(0.0) == (0, 1)
    slow.sent(0.0, 1)
    slow.answered(0.1)
    assert slow.next_round(1.0) == (pytest.approx(1.1), 0)
    assert slow.next_round(2.1) == (0, 1)


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
    rates = [budget.rate(now + later) for later in range(int(RECOVERY_SECONDS + PROBE_SECONDS) + 1)]
    assert rates == sorted(rates)
    assert rates[-1] == per_second


def test_a_rate_that_was_refused_is_come_near_soon_and_tried_again_late():
    budget = RateBudget(40)
    budget.slow_down(100.0)
    assert budget.rate(100 + RECOVERY_SECONDS / 2) == pytest.approx(40 * CAUTION, rel=0.01)
    assert budget.rate(138.0) == 38.5  # 30 s beyond 36, of the 120 s in which it would regain all 40, squared
    assert budget.rate(100 + RECOVERY_SECONDS + 20) < 40
    for now in (400.0, 401.0, 402.0, 403.0):
        budget.slow_down(now)
    assert budget.rate(403 + RECOVERY_SECONDS) < 12


class Quota:
    """A service that takes so many requests in any second, and refuses the others."""

    def __init__(self, per_second):
        self.per_second, self.taken = per_second, deque()

    def takes(self, now):
        while self.taken and self.taken[0] <= now - 1:
            self.taken.popleft()
        if len(self.taken) >= self.per_second:
            return False
        self.taken.append(now)
        return True


@pytest.mark.parametrize("pollers", [2, 3, 5])
def test_pollers_that_know_nothing_of_each_other_come_to_share_a_quota(pollers):
    """Each has 40 a second to itself and always somebody to ask about; together they have 50."""
    quota, budgets = Quota(50), [RateBudget(40) for _ in range(pollers)]
    events = [(0.13 * number, number) for number in range(pollers)]
    taken, refused = Counter(), Counter()
    while (event := heapq.heappop(events))[0] < 900:
        now, number = event
        delay, size = budgets[number].next_round(now)
        heapq.heappush(events, (now + (delay if not size else 0.02) + EPSILON, number))
        if not size:
            continue
        budgets[number].sent(now, size)
        for _ in range(size):
            within = quota.takes(now)
            budgets[number].answered(now + 0.02)
            if now >= 60:
                (taken if within else refused)[number] += 1
            if not within:
                budgets[number].slow_down(now + 0.02)
    assert refused.total() <= 0.007 * taken.total()
    assert taken.total() >= 0.8 * 50 * 840
    assert min(taken.values()) >= 0.5 * max(taken.values())


def test_requests_that_are_refused_together_count_once():
    budget = RateBudget(40)
    for _ in range(20):
        budget.slow_down(100.0)
    budget.slow_down(100.9)
    assert budget.rate(100.0) == 20
    budget.slow_down(101.0)
    assert budget.rate(101.0) == pytest.approx((20 + 40 / RECOVERY_SECONDS) / 2)


def test_a_connection_that_gives_trouble_is_looked_up_at_once_and_then_the_later_the_longer_it_has_lasted():
    look_ups, now, times = LookUps(), HOUR, []
    look_ups.looked_up(0.0)
    look_ups.trouble(now)
    assert look_ups.due <= now
    while now < 2 * HOUR:
        look_ups.looked_up(now)
        look_ups.trouble(now)
        times.append(now)
        now = look_ups.due
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 1
    assert pauses[-1] == LONGEST_LOOK_UP
    for at, pause in zip(times, pauses, strict=False):
        assert pause <= max(1, 0.05 * (at - HOUR) + EPSILON)


def test_a_trouble_after_a_quiet_time_is_a_new_one():
    look_ups = LookUps()
    look_ups.trouble(0.0)
    look_ups.trouble(QUIET)
    look_ups.looked_up(QUIET)
    assert look_ups.due == QUIET + 0.05 * QUIET
    look_ups.trouble(3 * QUIET)
    look_ups.looked_up(3 * QUIET)
    assert look_ups.due == 3 * QUIET + 1


def test_a_long_wait_is_told_of_at_growing_intervals():
    waited, told = 0.0, []
    while waited < 20 * HOUR:
        waited += next_report(waited)
        told.append(waited / 60)
    assert told[:8] == [1, 2, 4, 8, 16, 32, 64, 124]
    assert len(told) < 30


def test_a_slower_rate_is_what_the_queue_gets():
    budget = RateBudget(40)
    budget.slow_down(100.0)
    assert budget.next_round(100.0) == (0, 10)


def test_a_connection_is_looked_up_at_once_where_it_never_was():
    assert LookUps().due < 0


def test_an_edited_rate_holds_from_now_on_and_forgets_no_place():
    budget = RateBudget(40)
    assert budget.next_round(100.0) == (0, 20)
    budget.sent(100.0, 20)
    budget.slow_down(100.0)
    budget.allow(40)
    assert budget.rate(100.0) == 20
    budget.allow(10)
    assert budget.rate(100.0) == 10
    assert budget.next_round(101.0) == (0.5, 0)  # 20 are still under way
    budget.allow(80)
    assert budget.next_round(102.0) == (0, 40)
