"""All the state of one emulator, behind whichever front it is reached."""

from __future__ import annotations

import random

from airflow_provider.yandex_ai_studio.emulator.settings import Settings
from airflow_provider.yandex_ai_studio.emulator.state.clock import Clock
from airflow_provider.yandex_ai_studio.emulator.state.credentials import Credentials
from airflow_provider.yandex_ai_studio.emulator.state.faults import Faults
from airflow_provider.yandex_ai_studio.emulator.state.ids import Ids
from airflow_provider.yandex_ai_studio.emulator.state.operations import Operations
from airflow_provider.yandex_ai_studio.emulator.state.quotas import Quotas
from airflow_provider.yandex_ai_studio.emulator.state.responses import Responses
from airflow_provider.yandex_ai_studio.emulator.state.stats import Stats


class Backend:
    """Hold the state. It is not thread-safe: one event loop owns it.

    :param settings: what was chosen at the start.
    :param clock: the emulator's time.
    :param source: where ids come from. Unseeded by default, so that a restarted emulator
        does not give out the same ids again.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        source: random.Random | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or Clock()
        self.ids = Ids(source or random.Random())
        self.credentials = Credentials(self.clock, self.ids, settings.api_key)
        self.operations = Operations(self.clock.now, self.ids, self._duration)
        self.responses = Responses(self.clock.now, self.ids, self._duration)
        self.quotas = Quotas(self.clock.now, settings.enforce_quotas)
        self.faults = Faults(self.clock.now)
        self.stats = Stats()
        #: Where gRPC is served, as soon as it is: what the discovery of endpoints answers.
        self.grpc_target: str | None = None

    def _duration(self, number: int) -> float:
        return random.Random(number).uniform(self.settings.seconds, self.settings.longest)
