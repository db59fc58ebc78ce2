"""A task that is killed in the middle of a call."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider.yandex_ai_studio.client.credentials import TokenCache
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from support import FOLDER


def test_a_kill_in_the_middle_of_a_token_exchange_cancels(
    emulator: Emulator, connect: Callable[..., None], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow calls on_kill in the handler of a signal, which interrupts the main thread wherever it is."""
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda **which: {"run": {"generate": "failed"}},
    )
    key = json.dumps(emulator.create_service_account_key())
    connect(host=emulator.url, extra={"folder_id": FOLDER, "service_account_json": key})
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", prompt="Ducks.", wait_for_completion=False)
    hook = operator.hook
    operator.execute(context)

    def interrupted(*_: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        raise SystemExit

    monkeypatch.setattr(hook.get_conn(), "_exchange", interrupted)
    monkeypatch.setattr(hook.get_conn(), "_tokens", TokenCache(hook.settings.credential, hook.settings.endpoints))
    handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGALRM)}
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("on_kill waits for the thread that it interrupted"))
    signal.alarm(20)
    try:
        with pytest.raises(SystemExit):
            hook.list_models()
    finally:
        signal.alarm(0)
        for one, handler in handlers.items():
            signal.signal(one, handler)
    assert emulator.stats()["operations"]["cancelled"] == 1
