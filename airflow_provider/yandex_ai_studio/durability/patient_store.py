"""Airflow's ``task_state_store``, asked again where it stumbles: what it is told of has been paid for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider.yandex_ai_studio.api.words import within
from airflow_provider.yandex_ai_studio.durability.journal import Store

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

T = TypeVar("T")

PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds before each further try. After the last one, the trouble is not a moment's: it ends the attempt."""


class PatientStore:
    """
    A store that outlasts a moment's trouble. Whoever uses it waits meanwhile, and submits nothing.

    :param sleep: Waits the given seconds.
    """

    def __init__(self, store: Store, sleep: Callable[[float], None], log: Logger) -> None:
        self._store = store
        self._sleep = sleep
        self._log = log

    def get(self, key: str) -> Any:
        """Return the value, or None."""
        return self._patiently(lambda: self._store.get(key))

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        """Write the value."""
        self._patiently(lambda: self._store.set(key, value, retention=retention))

    def delete(self, key: str) -> None:
        """Forget the value."""
        self._patiently(lambda: self._store.delete(key))

    def _patiently(self, once: Callable[[], T]) -> T:
        for number, pause in enumerate(PAUSES):
            try:
                found = once()
            except Exception as error:
                if number == 0:
                    self._log.warning(
                        "The state of the task can't be read or written (%s). It is tried again for %.0f s; meanwhile "
                        "nothing more is submitted.",
                        within(error),
                        sum(PAUSES),
                    )
                self._sleep(pause)
            else:
                if number:
                    self._log.info("The state of the task can be read and written again.")
                return found
        return once()
