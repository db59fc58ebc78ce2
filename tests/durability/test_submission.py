"""In which order a submission is written down, sent and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.completion import count_tokens, submit_completion
from airflow_provider.yandex_ai_studio.durability.journal import KEY, Journal
from airflow_provider.yandex_ai_studio.durability.policy import Policy
from airflow_provider.yandex_ai_studio.durability.submission import Submission
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import BadRequest, ConfigurationError, RequestError, SubmissionUnknown
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from support import FOLDER, SteppedTime, Store, submissions


class Told:
    """A log that notes beside each line which operation the journal holds by then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lines: list[tuple[str, str | None]] = []

    def info(self, message: str, *arguments: Any) -> None:
        record = self._store.values.get(KEY)
        self.lines.append((message % arguments, record and record["operation_id"]))

    warning = info


def submission(hook: YandexAIStudioHook, store: Store, log: Any, **policy: Any) -> Submission:
    request = hook.completion_request(prompt="Tell me of ducks.")
    return Submission(
        submit_completion(hook.settings.endpoints, request),
        question=count_tokens(hook.settings.endpoints, request),
        api="completion",
        hook=hook,
        journal=Journal(store),
        before=lambda: None,
        policy=Policy.of(timeout=60, **policy),
        model=request.model_uri,
        asked_model=None,
        max_tries=0,
        log=log,
    )


def test_an_id_is_written_down_before_a_log_line_names_it(hook: YandexAIStudioHook, store: Store) -> None:
    """Who is killed between the two may have written what no log says, but never said what is not written down."""
    log = Told(store)
    submitted = submission(hook, store, log).run()
    written = {line: id_ for line, id_ in log.lines if submitted.operation_id in line}
    assert set(written.values()) == {submitted.operation_id}


@pytest.mark.parametrize(
    ("fault", "error"),
    [({"kind": "status", "status": 400}, BadRequest), ({"kind": "drop"}, SubmissionUnknown)],
    ids=["refused", "unknown"],
)
def test_an_attempt_that_comes_late_forgets_no_more_than_its_own_intent(
    hook: YandexAIStudioHook,
    store: Store,
    emulator: Emulator,
    clock: SteppedTime,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
    error: type[Exception],
) -> None:
    """An attempt was frozen while the service refused it, and another one has submitted meanwhile."""
    client = hook.get_conn()
    send = client.send
    others: list[str] = []

    def frozen(call: Any, **how: Any) -> Any:
        try:
            return send(call, **how)
        except RequestError:
            monkeypatch.undo()
            clock.sleep(1)
            others.append(submission(hook, store, Told(store)).run().operation_id)
            raise

    monkeypatch.setattr(client, "send", frozen)
    emulator.fault("completionAsync", **fault)
    with pytest.raises(error):
        submission(hook, store, Told(store), on_unknown_submission="fail").run()
    assert [store.values[KEY]["operation_id"]] == others


def test_an_attempt_forgets_the_intent_that_came_to_nothing(
    hook: YandexAIStudioHook, store: Store, emulator: Emulator
) -> None:
    emulator.fault("completionAsync", "status", status=400)
    with pytest.raises(BadRequest):
        submission(hook, store, Told(store)).run()
    assert not store.values


class FailingStore(Store):
    """A store that takes an intent, and fails from then on."""

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        super().set(key, value, retention=retention)
        self.broken = {"get", "set", "delete"}


def test_an_id_that_can_t_be_written_down_is_waited_for_all_the_same(
    hook: YandexAIStudioHook, emulator: Emulator
) -> None:
    """A store that fails between the intent and the id must not lose what is paid for."""
    store = FailingStore()
    log = Told(store)
    submitted = submission(hook, store, log).run()
    assert hook.get_operation(submitted.operation_id).id == submitted.operation_id
    assert submissions(emulator) == 1
    assert any(f"Operation {submitted.operation_id} could not be written down" in line for line, _ in log.lines)


def test_a_refusal_is_told_though_the_intent_can_t_be_struck_out(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    emulator.fault("completionAsync", "status", status=400)
    store = FailingStore()
    log = Told(store)
    with pytest.raises(BadRequest):
        submission(hook, store, log).run()
    assert "could not be struck out" in log.lines[-1][0]


def test_a_key_that_can_t_sign_leaves_no_intent(
    emulator: Emulator, connect: Callable[..., None], store: Store, clock: SteppedTime
) -> None:
    """It is found out when the token is needed, after the intent was written down and before anything is sent."""
    key = {**emulator.create_service_account_key(), "private_key": "-----BEGIN PRIVATE KEY-----\nno key\n"}
    connect(host=emulator.url, extra={"folder_id": FOLDER, "service_account_json": json.dumps(key)})
    hook = YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep)
    log = Told(store)
    with hook.get_conn() as _, pytest.raises(ConfigurationError):
        submission(hook, store, log).run()
    assert any("Submitting" in line for line, _ in log.lines)
    assert not store.values
    assert submissions(emulator) == 0
