"""In which order the events of a run happen, and when the next jobs may begin."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tools.chaos.agenda import Agenda
from tools.chaos.events import Mayhem
from tools.chaos.world import KINDS, World

EVENT_GAP = 6.0
"""Seconds between two events that hit everybody: a task can't survive everything at once."""

AGAIN = 2.0
"""Seconds until an event is tried again that finds nobody to be hit."""


class Story:
    """
    Tells the events wave by wave.

    A wave of jobs begins before the event that is to hit it, so that somebody is there however fast the machine is.

    :param events: Wave by wave what happens to everybody, then what happens to some.
    :param begin: Lets the jobs of a wave begin.
    :param under_way: Tells whether most jobs of so many waves have begun: on a slow machine it takes a while.
    """

    def __init__(
        self,
        events: Sequence[Sequence[str]],
        mayhem: Mayhem,
        world: World,
        begin: Callable[[int], None],
        under_way: Callable[[int], bool],
        agenda: Agenda,
    ) -> None:
        self._mayhem = mayhem
        self._world = world
        self._begin = begin
        self._under_way = under_way
        self._agenda = agenda
        self._coming = [kinds[0] for kinds in events]
        self._aside = [(wave, kind) for wave, kinds in enumerate(events) for kind in kinds[1:]]
        self._waves = len(events) + 1
        self._begun = 0
        self._not_before = 0.0
        self.happened: list[str] = []

    @property
    def left(self) -> list[str]:
        """What has not happened yet."""
        return [*self._coming, *(kind for _, kind in self._aside)]

    def go_on(self) -> None:
        """Do what is due, and let the next event happen if it is time."""
        self._agenda.attend()
        self._mayhem.look_after()
        while self._agenda.again:
            kind = self._agenda.again.pop()
            self.happened.remove(kind)
            self._aside.append((0, kind))
        if not self._agenda.quiet:
            return
        if self._begun == 0:
            self._next_wave()
        for wave, kind in self._aside:
            if wave < self._begun and self._world.happen(kind):
                self._aside.remove((wave, kind))
                self.happened.append(kind)
                return
        if self._coming and time.monotonic() >= self._not_before and self._under_way(self._begun):
            self._next_event(self._coming[0])

    def _next_event(self, kind: str) -> None:
        if (kind in KINDS and self._world.happen(kind)) or (kind not in KINDS and self._mayhem.happen(kind)):
            self._coming.remove(kind)
            self.happened.append(kind)
            self._next_wave()
        elif self._begun < self._waves:
            self._next_wave()  # all that have begun are done
        else:
            self._not_before = time.monotonic() + AGAIN

    def _next_wave(self) -> None:
        if self._begun < self._waves:
            self._begin(self._begun)
            self._begun += 1
        self._not_before = time.monotonic() + EVENT_GAP
