"""
Measure what waiting costs.

    a  a thousand waits in one process, against the OpenAI and Anthropic providers and a bare aiohttp loop
    b  tasks on a real Airflow on PostgreSQL, by where they end
    c  imports in a DAG file
    d  100, 1,000 and 10,000 waits
    e  many rows in one task, on a real Airflow, against mapped tasks
    f  a thousand waits while the key is rotated

Nothing but this machine is needed, and it should have nothing else to do. All of it takes an hour and a half
with three runs, a quarter of an hour with --quick and one run.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import airflow_paths, bulk, growth, imports, machine, rotation, waits
from benchmarks.report import Part

UNLIKE_AN_INSTALLATION = ("PYTHONDONTWRITEBYTECODE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables of a developer's machine: code that is compiled at each start, and certificates that nobody here needs."""


def parts(runs: int, quick: bool, say: Callable[[str], None]) -> dict[str, Callable[[], Part]]:
    """Return what can be measured, by its letter."""
    return {
        "a": lambda: waits.run(runs, waits.QUICK if quick else waits.Sizes(), say),
        "b": lambda: airflow_paths.run(runs, airflow_paths.QUICK_TASKS if quick else airflow_paths.TASKS, say),
        "c": lambda: imports.run(runs, say),
        "d": lambda: growth.run(runs, growth.QUICK_COUNTS if quick else growth.COUNTS, say),
        "e": lambda: bulk.run(bulk.QUICK if quick else bulk.Sizes(), say),
        "f": lambda: rotation.run(runs, rotation.QUICK_WAITS if quick else rotation.WAITS, say),
    }


def main() -> None:
    """Read the command line, measure, and show what came out."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="a letter of the list above (default: all)")
    parser.add_argument("--runs", type=int, default=3, help="how often each is repeated, but for e (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="fewer waits and tasks, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set("abcdef"):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    if chosen.runs < 1:
        parser.error("--runs must be at least 1")
    for variable in UNLIKE_AN_INSTALLATION:
        os.environ.pop(variable, None)
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:7.0f} s  {line}", flush=True)

    found = {"machine": machine.described(), "runs": chosen.runs, "quick": chosen.quick, "parts": {}}
    say(f"{found['machine']}")
    available = parts(chosen.runs, chosen.quick, say)
    for letter in chosen.parts or sorted(available):
        load = machine.load()
        part = available[letter]()
        print(part, flush=True)
        found["parts"][letter] = {"title": part.title, "load": [load, machine.load()], **part.data}
        if chosen.json:
            chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
