"""
Kill a real Airflow in every way while it generates, and account for every operation that was paid for.

    python -m tools.chaos                    200 tasks, about 10 minutes on two busy cores
    python -m tools.chaos --short            48 tasks and fewer events, about 4 minutes there: what CI runs
    python -m tools.chaos --quiet-run        nothing goes wrong, once for each place where a task can end

The emulator answers. What the run does is drawn from ``--seed``; the same seed draws the same plan, though not the same
interleaving of processes. When a claim fails, the folder of the run is kept, with its logs.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import get_args

from tools.chaos.claims import account_of, common_claims, quiet_claims, table
from tools.chaos.plan import chaos_plan, quiet_plan
from tools.chaos.run import ChaosRun
from tools.chaos.world import clears_discard
from tools.harness.airflow import Executor

HOME = Path(__file__).parents[2] / ".chaos"
TASKS, SHORT_TASKS = 200, 48
TIMEOUT, SHORT_TIMEOUT = 1200.0, 420.0
"""Seconds that a DAG run may take."""

OPERATION_SECONDS = ("--seconds", "1", "--seconds-max", "8", "--enforce-quotas")
QUICK_SECONDS = ("--seconds", "1", "--seconds-max", "3", "--enforce-quotas")


def main() -> int:
    """Read the command line, run, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, help=f"how many tasks (default: {TASKS}, or {SHORT_TASKS} with --short)")
    parser.add_argument("--seed", type=int, default=1, help="what the plan is drawn from (%(default)s)")
    parser.add_argument("--short", action="store_true", help="fewer tasks and events")
    parser.add_argument("--quiet-run", action="store_true", help="no chaos: count the attempts that fail without it")
    parser.add_argument("--executor", choices=get_args(Executor), default="local", help="what runs the tasks")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run in any case")
    chosen = parser.parse_args()
    tasks = chosen.tasks or (SHORT_TASKS if chosen.short else TASKS)
    draw = quiet_plan if chosen.quiet_run else partial(chaos_plan, short=chosen.short, discards=clears_discard())
    plan = draw(tasks, chosen.seed)
    began = time.monotonic()
    home = HOME / time.strftime("%Y%m%d-%H%M%S")
    run = ChaosRun(
        plan,
        home,
        timeout=SHORT_TIMEOUT if chosen.short else TIMEOUT,
        emulator=QUICK_SECONDS if chosen.quiet_run else OPERATION_SECONDS,
        say=lambda line: print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True),
        executor=chosen.executor,
    )
    print(f"seed {chosen.seed}, {tasks} tasks, {home}", flush=True)
    outcome = run.carry_out()
    account = account_of(plan, outcome)
    report = common_claims(plan, outcome, account)
    print()
    if chosen.quiet_run:
        quiet_claims(plan, outcome, account, report)
    print(table(plan, outcome, account))
    print(f"\nClaims (seed {chosen.seed}, {time.monotonic() - began:.0f} s)\n{report.text()}")
    if report.holds and not chosen.keep:
        shutil.rmtree(home)
    else:
        print(f"\nThe run is in {home}; again: --seed {chosen.seed}", file=sys.stderr)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
