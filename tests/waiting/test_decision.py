"""A wait ends for a reason, once, and not after its deadline."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Operation, Usage
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.waiting.decision import (
    REFUSAL_SECONDS,
    REFUSALS,
    AskAgain,
    End,
    Wait,
    decide,
    is_doubtful,
)

SUBMITTED = 1_700_000_000.0
DAY = 86_400.0

RUNNING = Operation("d7q1", "completion")
ANSWERED = Operation("d7q1", "completion", done=True, generation=Generation("Hi", "final", Usage()))
EMPTY = Operation("d7q1", "completion", done=True)
FAILED = Operation("d7q1", "completion", done=True, error=Failure(13, "internal"))
FAILED_EARLY = Operation("d7q1", "completion", done=False, error=Failure(13, "internal"))

BUSY = RateLimited("429")
DOWN = ServiceUnavailable("503")
UNKNOWN = NotFound("404")
REFUSED = AuthenticationError("401")
FORBIDDEN = PermissionDenied("403")
WRONG = BadRequest("400")
MISCONFIGURED = ConfigurationError("the connection is wrong")

REFUSING = {REFUSED: "refused", FORBIDDEN: "refused", WRONG: "refused", MISCONFIGURED: "refused", UNKNOWN: "expired"}

fractions = st.floats(0, 1)
pauses = st.floats(0, 30)
transient = st.sampled_from([RUNNING, BUSY, DOWN])
anything = st.sampled_from(
    [RUNNING, ANSWERED, EMPTY, FAILED, FAILED_EARLY, BUSY, DOWN, UNKNOWN, REFUSED, WRONG, MISCONFIGURED]
)


def wait_of(lasting=None):
    deadline = None if lasting is None else SUBMITTED + lasting
    return Wait("d7q1", submitted_at=SUBMITTED, deadline=deadline)


def after(*seen, wait=None, age=100.0, random=0.5):
    """Return the decision after a number of answers, none of which but the last may end the wait."""
    wait = wait or wait_of()
    for each in seen[:-1]:
        decision = decide(wait, each, now=SUBMITTED + age, random=random)
        assert isinstance(decision, AskAgain)
        wait = decision.wait
    return decide(wait, seen[-1], now=SUBMITTED + age, random=random)


@pytest.mark.parametrize("kind", [RateLimited, ServiceUnavailable, NotFound])
def test_who_is_asked_to_wait_waits_so_long_unless_the_deadline_comes_first(kind):
    asked = kind("no", retry_after=45.0)
    assert after(asked).delay == 45.0
    assert after(asked, wait=wait_of(lasting=110)).delay == 10.0
    assert after(*[kind("no", retry_after=1.5)] * 9).delay > 1.5


@pytest.mark.parametrize("operation", [ANSWERED, EMPTY, FAILED, FAILED_EARLY])
@pytest.mark.parametrize("age", [0, DAY])
def test_an_operation_that_is_done_or_has_an_error_ends_the_wait_even_past_the_deadline(operation, age):
    assert after(operation, wait=wait_of(lasting=60), age=age) == End("ended", operation=operation)


@pytest.mark.parametrize("seen", [RUNNING, BUSY, DOWN])
def test_without_a_deadline_a_wait_goes_on_through_any_trouble(seen):
    assert isinstance(after(*[seen] * 500, age=30 * DAY), AskAgain)


@pytest.mark.parametrize(("seen", "error"), [(RUNNING, None), (BUSY, BUSY), (DOWN, DOWN), (REFUSED, REFUSED)])
def test_at_the_deadline_a_wait_ends_with_what_was_last_in_the_way(seen, error):
    wait = wait_of(lasting=3600)
    assert after(seen, wait=wait, age=3599.75).delay == 0.25
    assert after(seen, wait=wait, age=3600) == End("timeout", error=error)


def over_time(seen, seconds, *, wait=None, age=100.0):
    """Return the last decision after the answers came in equal steps over so many seconds."""
    wait, step = wait or wait_of(), seconds / max(1, len(seen) - 1)
    for number, each in enumerate(seen):
        decision = decide(wait, each, now=SUBMITTED + age + number * step, random=0.5)
        if isinstance(decision, End):
            assert number == len(seen) - 1
            return decision
        wait = decision.wait
    return decision


@pytest.mark.parametrize(("error", "outcome"), REFUSING.items())
def test_a_refusal_ends_a_wait_when_it_was_repeated_over_minutes(error, outcome):
    assert over_time([error] * REFUSALS, REFUSAL_SECONDS) == End(outcome, error=error)


@pytest.mark.parametrize("error", REFUSING)
def test_neither_a_few_refusals_nor_many_within_moments_end_a_wait(error):
    assert isinstance(over_time([error] * (REFUSALS - 1), 10 * REFUSAL_SECONDS), AskAgain)
    assert isinstance(over_time([error] * 100, REFUSAL_SECONDS - 1), AskAgain)


@pytest.mark.parametrize("between", [RUNNING, BUSY, DOWN, FORBIDDEN])
def test_whatever_comes_between_two_refusals_starts_their_count_anew(between):
    """An outage is no refusal, and one 401 after it, from a token that aged meanwhile, must not end a wait of hours."""
    nearly = [UNKNOWN] * (REFUSALS - 1)
    assert isinstance(over_time([*nearly, between, *nearly], 10 * REFUSAL_SECONDS), AskAgain)


def test_a_refusal_is_an_answer_and_slows_the_questions_down_no_more_than_one():
    """The key that waits need may come at any moment: its end is seen within the same tenth of the age."""
    for age in (0, 100, 3600):
        assert after(*[REFUSED] * 4, age=age).delay == after(RUNNING, age=age).delay


def test_an_operation_that_the_service_need_not_keep_any_longer_is_gone_at_the_first_404():
    assert after(UNKNOWN, age=3 * DAY) == End("expired", error=UNKNOWN)
    responses = Wait("1e5ee267", submitted_at=SUBMITTED, api="responses")
    assert isinstance(after(UNKNOWN, wait=responses, age=29 * DAY), AskAgain)
    assert after(UNKNOWN, wait=responses, age=30 * DAY) == End("expired", error=UNKNOWN)


def test_a_success_forgets_the_troubles_and_troubles_slow_the_questions_down():
    assert after(DOWN, DOWN, DOWN).wait.troubles == 3
    assert after(DOWN, DOWN, DOWN, RUNNING).wait == wait_of()
    assert after(REFUSED, REFUSED, RUNNING).wait == wait_of()
    assert after(REFUSED, DOWN).wait == replace(wait_of(), troubles=2)
    assert after(*[DOWN] * 5).delay > after(DOWN).delay


@given(fractions, st.floats(0, 3 * DAY))
def test_a_running_operation_is_asked_about_after_a_tenth_of_its_age(random, age):
    assert 0 < after(RUNNING, age=age, random=random).delay <= max(1, 0.1 * age)


@given(st.lists(st.tuples(transient, fractions, pauses), min_size=1, max_size=20), st.floats(0, DAY / 2))
def test_a_wait_ends_at_its_deadline_not_before_and_no_question_later(steps, lasting):
    """The answers repeat for as long as it takes; each takes its time as well."""
    wait, now = wait_of(lasting), SUBMITTED
    for number in range(100_000):
        seen, random, latency = steps[number % len(steps)]
        now += latency
        decision = decide(wait, seen, now=now, random=random)
        if now >= wait.deadline:
            assert decision.outcome == "timeout"
            return
        assert isinstance(decision, AskAgain)
        assert 0 < decision.delay <= 60
        assert now + decision.delay <= wait.deadline
        wait, now = decision.wait, now + decision.delay
    raise AssertionError("the wait never came to its deadline")


@given(st.lists(st.tuples(anything, fractions, pauses), max_size=60), st.none() | st.floats(0, DAY))
def test_a_wait_keeps_its_operation_and_its_deadline_whatever_happens(steps, lasting):
    first = wait = wait_of(lasting)
    now = SUBMITTED
    for seen, random, latency in steps:
        now += latency
        decision = decide(wait, seen, now=now, random=random)
        if isinstance(decision, End):
            assert decision.outcome in ("ended", "timeout", "expired", "refused")
            assert (decision.operation is seen) == (decision.outcome == "ended")
            assert decision.error is (None if isinstance(seen, Operation) else seen)
            return
        wait, now = decision.wait, now + decision.delay
        for name in ("operation_id", "submitted_at", "deadline"):
            assert getattr(wait, name) == getattr(first, name)


@pytest.mark.parametrize(
    ("seen", "at"),
    [
        (REFUSED, 1),
        (MISCONFIGURED, 1),
        (ServiceUnavailable("301", lasting=True), 1),
        *[(each, 3) for each in (DOWN, UNKNOWN, FORBIDDEN, WRONG)],
        (BUSY, None),
        (RUNNING, None),
    ],
)
def test_a_connection_is_doubted_for_a_credential_at_once_and_for_any_error_but_a_spent_quota_when_it_lasts(seen, at):
    assert next((times for times in range(1, 100) if is_doubtful(seen, times)), None) == at
