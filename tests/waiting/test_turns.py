"""Whose turn it is: as values, without a loop."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio.waiting.turns import Lane, Turns

OPERATIONS, RESPONSES = Lane("completion"), Lane("responses")
UNANSWERED = Lane("completion", unanswered=True)


def turns(places: int = 4, unwanted: set[str] | None = None) -> Turns[str]:
    return Turns(places, wanted=lambda item: item not in (unwanted or set()))


def test_those_due_longest_come_first_whatever_their_lane():
    queue = turns()
    queue.put("third", OPERATIONS, due=0.3)
    queue.put("first", UNANSWERED, due=0.1)
    queue.put("second", RESPONSES, due=0.2)
    queue.put("later", OPERATIONS, due=0.9)
    assert queue.next_due() == 0.1
    assert queue.take(now=0.5, most=10) == ["first", "second", "third"]
    assert queue.next_due() == 0.9


def test_no_more_are_taken_than_asked_for():
    queue = turns()
    for number in range(3):
        queue.put(str(number), OPERATIONS, due=0.0)
    assert queue.take(now=0.0, most=2) == ["0", "1"]
    assert queue.take(now=0.0, most=2) == ["2"]


def test_a_full_endpoint_holds_no_other_up():
    queue = turns(places=2)
    for number in range(3):
        queue.put(f"dead {number}", RESPONSES, due=0.0)
    queue.put("alive", OPERATIONS, due=1.0)
    assert queue.take(now=1.0, most=10) == ["dead 0", "dead 1", "alive"]
    assert queue.next_due() == math.inf
    queue.give_back(RESPONSES)
    assert queue.take(now=1.0, most=10) == ["dead 2"]


def test_those_without_an_answer_leave_half_of_the_places_to_the_others():
    queue = turns(places=4)
    for number in range(4):
        queue.put(f"hung {number}", UNANSWERED, due=0.0)
        queue.put(f"alive {number}", OPERATIONS, due=1.0)
    assert queue.take(now=1.0, most=10) == ["hung 0", "hung 1", "alive 0", "alive 1"]
    queue.give_back(OPERATIONS)
    assert queue.take(now=1.0, most=10) == ["alive 2"]


def test_one_place_is_for_everybody():
    queue = turns(places=1)
    queue.put("hung", UNANSWERED, due=0.0)
    assert queue.take(now=0.0, most=10) == ["hung"]


def test_a_turn_that_nobody_wants_any_more_takes_no_place():
    unwanted: set[str] = set()
    queue = turns(places=1, unwanted=unwanted)
    queue.put("cancelled", OPERATIONS, due=0.0)
    queue.put("alive", OPERATIONS, due=1.0)
    unwanted.add("cancelled")
    assert queue.next_due() == 1.0
    assert queue.take(now=1.0, most=10) == ["alive"]


lanes = st.builds(Lane, st.sampled_from(["completion", "responses"]), st.booleans())


@given(st.integers(1, 8), st.lists(st.tuples(lanes, st.floats(0, 10)), max_size=40), st.integers(1, 10))
def test_everybody_has_a_turn_and_nobody_takes_a_place_too_many(places, arrivals, most):
    queue: Turns[tuple[int, Lane]] = Turns(places, wanted=lambda item: True)
    for number, (lane, due) in enumerate(arrivals):
        queue.put((number, lane), lane, due)
    under_way: list[Lane] = []
    seen: set[int] = set()
    while len(seen) < len(arrivals):
        taken = queue.take(now=10.0, most=most)
        assert len(taken) <= most
        assert taken or under_way
        seen |= {number for number, _ in taken}
        under_way += [lane for _, lane in taken]
        for endpoint in ("completion", "responses"):
            assert sum(lane.endpoint == endpoint for lane in under_way) <= places
            assert under_way.count(Lane(endpoint, unanswered=True)) <= max(1, places // 2)
        if under_way:
            queue.give_back(under_way.pop(0))
    assert queue.next_due() == math.inf
