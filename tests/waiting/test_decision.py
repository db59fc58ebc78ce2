"""A wait ends for a reason, once, and not after its deadline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Operation, Usage
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.waiting.decision import NOT_FOUND_GRACE, REFUSALS, AskAgain, End, Wait, decide

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

fractions = st.floats(0, 1)
pauses = st.floats(0, 30)
transient = st.sampled_from([RUNNING, BUSY, DOWN])
anything = st.sampled_from(
    [RUNNING, ANSWERED, EMPTY, FAILED, FAILED_EARLY, BUSY, DOWN, UNKNOWN, REFUSED, BadRequest("400")]
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


@pytest.mark.parametrize("operation", [ANSWERED, EMPTY, FAILED, FAILED_EARLY])
@pytest.mark.parametrize("age", [0, DAY])
def test_an_operation_that_is_done_or_has_an_error_ends_the_wait_even_past_the_deadline(operation, age):
    assert after(operation, wait=wait_of(lasting=60), age=age) == End("ended", operation=operation)


@pytest.mark.parametrize("error", [BadRequest("400"), PermissionDenied("403"), RequestError("of no known kind")])
def test_what_no_repetition_can_mend_ends_the_wait_at_once(error):
    assert after(error) == End("refused", error=error)


@pytest.mark.parametrize("seen", [RUNNING, BUSY, DOWN])
def test_without_a_deadline_a_wait_goes_on_through_any_trouble(seen):
    assert isinstance(after(*[seen] * 500, age=30 * DAY), AskAgain)


@pytest.mark.parametrize(("seen", "error"), [(RUNNING, None), (BUSY, BUSY), (DOWN, DOWN), (REFUSED, REFUSED)])
def test_at_the_deadline_a_wait_ends_with_what_was_last_in_the_way(seen, error):
    wait = wait_of(lasting=3600)
    assert after(seen, wait=wait, age=3599.75).delay == 0.25
    assert after(seen, wait=wait, age=3600) == End("timeout", error=error)


def test_a_refused_credential_gets_some_tries():
    assert isinstance(after(*[REFUSED] * (REFUSALS - 1)), AskAgain)
    assert after(*[REFUSED] * REFUSALS) == End("refused", error=REFUSED)


def test_a_success_between_refusals_starts_their_count_anew():
    nearly = [REFUSED] * (REFUSALS - 1)
    assert isinstance(after(*nearly, RUNNING, *nearly), AskAgain)


@pytest.mark.parametrize("outage", [DOWN, BUSY])
def test_an_outage_is_no_refusal(outage):
    """One 401 after it, from a token that aged meanwhile, must not end a wait of hours."""
    assert isinstance(after(*[outage] * REFUSALS, REFUSED), AskAgain)


def test_an_unknown_operation_has_a_grace_and_is_gone_after_it():
    assert isinstance(after(UNKNOWN, age=0), AskAgain)
    assert isinstance(after(UNKNOWN, age=NOT_FOUND_GRACE - 1), AskAgain)
    assert after(UNKNOWN, age=NOT_FOUND_GRACE) == End("expired", error=UNKNOWN)
    assert after(RUNNING, UNKNOWN, age=DAY) == End("expired", error=UNKNOWN)


def test_a_success_forgets_the_troubles_and_troubles_slow_the_questions_down():
    assert after(DOWN, DOWN, DOWN).wait.troubles == 3
    assert after(DOWN, DOWN, DOWN, RUNNING).wait == wait_of()
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
            assert decision.error is (seen if isinstance(seen, RequestError) else None)
            return
        wait, now = decision.wait, now + decision.delay
        for name in ("operation_id", "submitted_at", "deadline"):
            assert getattr(wait, name) == getattr(first, name)
