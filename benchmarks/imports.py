"""(c) What the import of operators adds to the parsing of a DAG file."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.report import Part, Table, Target, median, number, spread

ROUNDS = 7
"""Fresh processes for each, at least; one more beforehand is not counted."""

TIMEOUT = 120.0
"""Seconds that one process may take."""

OURS = "this package"
OPENAI = "openai provider"
HOME = "airflow_provider.yandex_ai_studio"

HTTP_LIBRARIES = ("aiohttp", "requests", "httpx", "httpx2")

SCRIPT = """
import json, sys, time
def now(): return time.perf_counter(), time.process_time()
from airflow.sdk import DAG, dag, task
before, wall, cpu = set(sys.modules), *now()
{statement}
end = now()
added = set(sys.modules) - before
http = sorted(set({http}) & added)
print(json.dumps(dict(wall=end[0] - wall, cpu=end[1] - cpu, modules=len(added), http=http)))
"""


@dataclass(frozen=True)
class Import:
    """
    One import in one process.

    :param wall: Seconds beyond ``airflow.sdk``.
    :param cpu: The same, of CPU time.
    :param modules: How many modules it loaded.
    :param http: The HTTP libraries among them.
    """

    wall: float
    cpu: float
    modules: int
    http: list[str]


def everything_of_ours() -> str:
    """Return a statement that imports each of our modules that a DAG file can use."""
    found: list[str] = []
    for folder in ("operators", "sensors", "decorators"):
        with contextlib.suppress(ModuleNotFoundError):
            package = importlib.import_module(f"{HOME}.{folder}")
            found += [f"{HOME}.{folder}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    return f"import {', '.join(found)}"


PEERS = {
    OPENAI: "from airflow.providers.openai.operators.openai import OpenAITriggerBatchOperator",
    "anthropic provider": "from airflow.providers.anthropic.operators.batch import AnthropicBatchOperator",
    "common.ai provider": "from airflow.providers.common.ai.operators.llm import LLMOperator",
}


def run(runs: int, say: Callable[[str], None]) -> Part:
    """Import each in fresh processes, in turn."""
    rounds = max(ROUNDS, runs)
    statements = {OURS: everything_of_ours(), **PEERS}
    results: dict[str, list[Import]] = {name: [] for name in statements}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(rounds + 1):
            say(f"imports: round {turn} of {rounds}" if turn else "imports: warming up")
            for name, statement in statements.items():
                imported = _imported(statement, home)
                if turn:
                    results[name].append(imported)
    title = "(c) imports in a DAG file"
    table = Table(
        f"{title}, beyond airflow.sdk, medians of {rounds} fresh processes",
        ("", "wall, ms", "CPU, ms", "modules", "HTTP libraries"),
        [
            [
                name,
                spread([each.wall * 1000 for each in imports]),
                spread([each.cpu * 1000 for each in imports]),
                number(median(each.modules for each in imports)),
                ", ".join(imports[0].http) or "none",
            ]
            for name, imports in results.items()
        ],
    )
    data = {name: [asdict(each) for each in imports] for name, imports in results.items()}
    return Part(title, [table], _targets(results), data)


def _imported(statement: str, home: str) -> Import:
    script = SCRIPT.format(statement=statement, http=HTTP_LIBRARIES)
    environment = {**os.environ, "AIRFLOW_HOME": home}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    return Import(**json.loads(done.stdout.splitlines()[-1]))


def _targets(results: dict[str, list[Import]]) -> list[Target]:
    def wall(name: str) -> float:
        return median(each.wall for each in results[name])

    def cpu(name: str) -> float:
        return median(each.cpu for each in results[name])

    return [
        Target("ours beyond airflow.sdk, ms", "at most 50", f"{wall(OURS) * 1000:.0f} (CPU {cpu(OURS) * 1000:.0f})"),
        Target(
            "ours / openai provider",
            "at most 0.1",
            f"{wall(OURS) / wall(OPENAI):.2f} (CPU {cpu(OURS) / cpu(OPENAI):.2f})",
        ),
    ]
