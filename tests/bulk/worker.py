"""A worker as a process of its own, to be killed: one stretch of a bulk task, with a state store in files."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import TaskInstance


class FileStore:
    """A task_state_store in a folder. Like a database, it has a value in whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Any:
        path = self._folder / key
        return json.loads(path.read_text()) if path.exists() else None

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        (self._folder / "_new").write_text(json.dumps(value))
        (self._folder / "_new").replace(self._folder / key)

    def delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)


def stretch(folder: Path) -> dict[str, Any]:
    """Run the next stretch of the task, and return what came of it."""
    with DAG("dag"):
        operator = YandexAIStudioBulkCompletionOperator(
            task_id="generate",
            inputs=str(folder / "in.jsonl"),
            prompt="{{ row.text }}",
            output_path=str(folder / "out"),
            chunk_size=40,
        )
    context: Any = {"ti": TaskInstance(), "task_state_store": FileStore(folder / "state")}
    deferred = folder / "deferred"
    try:
        if deferred.exists():
            kwargs = json.loads(deferred.read_text())
            deferred.unlink()
            return dict(operator.execute_complete(context, {"reason": "in a test"}, **kwargs))
        return dict(operator.execute(context))
    except TaskDeferred as waiting:
        deferred.write_text(json.dumps(waiting.kwargs))
        return {}


if __name__ == "__main__":
    sys.stdout.write("RESULT " + json.dumps(stretch(Path(sys.argv[1]))) + "\n")
