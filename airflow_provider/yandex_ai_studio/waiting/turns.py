"""
Whose turn it is: those due longest, as far as there are places. Pure.

Those who wait for the same thing stand in one lane. What is slow or dead fills the places of its own lane, and nobody
else waits for them.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Lane(NamedTuple):
    """
    Who stands together.

    :param endpoint: What they ask. It has places of its own.
    :param unanswered: Their last question got no answer. They may take half of the endpoint's places.
    """

    endpoint: str
    unanswered: bool = False


class Turns(Generic[T]):
    """
    Gives out turns.

    :param places: How many turns may be under way at one endpoint.
    :param wanted: Whether somebody still wants the turn that comes up; else it is dropped.
    """

    def __init__(self, places: int, wanted: Callable[[T], bool]) -> None:
        self.places = places
        self._wanted = wanted
        self._lanes: dict[Lane, list[tuple[float, int, T]]] = {}
        self._number = itertools.count()
        self._at_endpoint: dict[str, int] = defaultdict(int)
        self._unanswered: dict[str, int] = defaultdict(int)

    def put(self, item: T, lane: Lane, due: float) -> None:
        """
        Let an item wait for its turn.

        :param due: When it comes, in seconds on any clock.
        """
        heapq.heappush(self._lanes.setdefault(lane, []), (due, next(self._number), item))

    def next_due(self) -> float:
        """Return when the next turn comes for which there is a place; infinity if there is none."""
        lane = self._next_lane()
        return self._lanes[lane][0][0] if lane else math.inf

    def take(self, now: float, most: int) -> list[T]:
        """Return the items whose turn it is. Each takes a place of its lane."""
        taken: list[T] = []
        while len(taken) < most and (lane := self._next_lane()) and self._lanes[lane][0][0] <= now:
            taken.append(heapq.heappop(self._lanes[lane])[2])
            self._count(lane, 1)
        return taken

    def give_back(self, lane: Lane) -> None:
        """Note that a turn is over."""
        self._count(lane, -1)

    def _count(self, lane: Lane, turns: int) -> None:
        self._at_endpoint[lane.endpoint] += turns
        if lane.unanswered:
            self._unanswered[lane.endpoint] += turns

    def _next_lane(self) -> Lane | None:
        earliest, found = math.inf, None
        for lane, queue in self._lanes.items():
            if self._has_place(lane) and self._first_wanted(queue) and queue[0][0] < earliest:
                earliest, found = queue[0][0], lane
        return found

    def _has_place(self, lane: Lane) -> bool:
        if lane.unanswered and self._unanswered[lane.endpoint] >= max(1, self.places // 2):
            return False
        return self._at_endpoint[lane.endpoint] < self.places

    def _first_wanted(self, queue: list[tuple[float, int, T]]) -> bool:
        while queue and not self._wanted(queue[0][2]):
            heapq.heappop(queue)
        return bool(queue)
