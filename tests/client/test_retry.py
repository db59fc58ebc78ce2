"""A request is repeated where that is safe and may help, and never without a bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio import exceptions
from airflow_provider.yandex_ai_studio.client import retry

KINDS = [
    exceptions.RequestError,
    exceptions.BadRequest,
    exceptions.AuthenticationError,
    exceptions.PermissionDenied,
    exceptions.NotFound,
    exceptions.RateLimited,
    exceptions.ServiceUnavailable,
]
PASSING = [exceptions.RateLimited, exceptions.ServiceUnavailable]

fractions = st.floats(0, 1)
errors = st.builds(lambda kind, arrived: kind("no", arrived=arrived), st.sampled_from(KINDS), st.booleans())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("billed", [True, False])
@pytest.mark.parametrize("arrived", [True, False])
def test_only_what_passes_is_repeated_and_a_billed_request_only_if_it_was_not_taken(kind, billed, arrived):
    safe = not (billed and arrived)
    assert retry.may_repeat(kind("no", arrived=arrived), billed=billed) is (kind in PASSING and safe)


@given(errors, st.integers(1, 100), fractions)
def test_a_billed_request_that_may_have_arrived_is_never_sent_twice(error, attempt, random):
    if error.arrived:
        assert retry.next_delay(error, billed=True, attempt=attempt, random=random) is None


@given(errors, st.booleans(), st.integers(1, 10**6), fractions)
def test_a_delay_stays_in_its_bounds(error, billed, attempt, random):
    delay = retry.next_delay(error, billed=billed, attempt=attempt, random=random)
    assert delay is None or 0.5 <= delay <= 30


@given(fractions)
def test_a_failing_request_is_sent_a_fixed_number_of_times_in_half_a_minute(random):
    error, delays = exceptions.RateLimited("no", arrived=False), []
    while (delay := retry.next_delay(error, billed=True, attempt=len(delays) + 1, random=random)) is not None:
        delays.append(delay)
    assert len(delays) == retry.ATTEMPTS - 1
    assert delays == sorted(delays)
    assert sum(delays) <= 31


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.5), (0.3, 0.5), (5.0, 5.0), (8.0, 8.0), (60.0, 8.0)])
def test_what_the_service_asks_for_is_waited_but_not_for_long(asked, waited):
    error = exceptions.RateLimited("no", arrived=False, retry_after=asked)
    assert retry.next_delay(error, billed=True, attempt=1, random=0) == waited


@given(fractions, st.floats(0, 10**9))
def test_whatever_the_service_asks_for_a_failing_request_ends_within_a_minute(random, asked):
    error = exceptions.RateLimited("no", arrived=False, retry_after=asked)
    delays = [retry.next_delay(error, billed=True, attempt=attempt, random=random) for attempt in range(1, 6)]
    assert sum(delays) <= 48


@given(st.integers(2, 100), fractions)
def test_the_random_source_spreads_a_delay_over_half_of_it(attempt, random):
    longest = retry.delay_before(attempt, random=1)
    assert retry.delay_before(attempt, random=0) == longest / 2
    assert longest / 2 <= retry.delay_before(attempt, random=random) <= longest
