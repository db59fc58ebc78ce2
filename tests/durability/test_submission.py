"""In which order a submission is written down, sent and told."""

from __future__ import annotations

from typing import Any

from airflow_provider.yandex_ai_studio.api.completion import count_tokens, submit_completion
from airflow_provider.yandex_ai_studio.durability.journal import KEY, Journal
from airflow_provider.yandex_ai_studio.durability.policy import Policy
from airflow_provider.yandex_ai_studio.durability.submission import Submission
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from support import Store


class Told:
    """A log that notes beside each line which operation the journal holds by then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lines: list[tuple[str, str | None]] = []

    def info(self, message: str, *arguments: Any) -> None:
        record = self._store.values.get(KEY)
        self.lines.append((message % arguments, record and record["operation_id"]))

    warning = info


def test_an_id_is_written_down_before_a_log_line_names_it(hook: YandexAIStudioHook, store: Store) -> None:
    """Who is killed between the two may have written what no log says, but never said what is not written down."""
    log = Told(store)
    request = hook.completion_request(prompt="Tell me of ducks.")
    submitted = Submission(
        submit_completion(hook.settings.endpoints, request),
        question=count_tokens(hook.settings.endpoints, request),
        api="completion",
        hook=hook,
        journal=Journal(store),
        before=lambda: None,
        policy=Policy.of(timeout=60),
        model=request.model_uri,
        own_model=False,
        max_tries=0,
        log=log,  # type: ignore[arg-type] # the two methods that are used
    ).run()
    written = {line: id_ for line, id_ in log.lines if submitted.operation_id in line}
    assert set(written.values()) == {submitted.operation_id}
