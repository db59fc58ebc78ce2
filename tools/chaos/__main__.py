"""
Kill a real Airflow in every way while it generates, and account for every operation that was paid for.

    python -m tools.chaos                    200 tasks, about 5 minutes
    python -m tools.chaos --short            40 tasks and fewer events, about 2 minutes: what CI runs
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

from tools.chaos.account import Account, Created, Told, Verdict, settle
from tools.chaos.logs import Line, reason_of
from tools.chaos.plan import QUIET_DAGS, Plan, chaos_plan, quiet_plan
from tools.chaos.report import Report, counted
from tools.chaos.run import ChaosRun, Outcome

HOME = Path(__file__).parents[2] / ".chaos"
TASKS, SHORT_TASKS = 200, 40
TIMEOUT, SHORT_TIMEOUT = 600.0, 300.0
"""Seconds that a DAG run may take."""

OPERATION_SECONDS = ("--seconds", "1", "--seconds-max", "8", "--enforce-quotas")
QUICK_SECONDS = ("--seconds", "1", "--seconds-max", "3", "--enforce-quotas")


def lines_of(plan: Plan, outcome: Outcome) -> dict[str, list[Line]]:
    """Return the log lines of each job."""
    return {job.name: outcome.logs.get(job.key, []) for job in plan.jobs}


def account_of(plan: Plan, outcome: Outcome) -> Account:
    """Reconcile the emulator's operations with the logs."""
    job_of = {job.prompt: job.name for job in plan.jobs}
    lines = lines_of(plan, outcome)
    return settle(
        [Created(row["id"], row["state"], job_of[row["prompt_head"]]) for row in outcome.operations],
        {name: Told(outcome.used.get(name), [line.event for line in lines[name]]) for name in lines},
    )


def reasons_of(plan: Plan, outcome: Outcome) -> dict[str, list[str]]:
    """Say why attempts failed, for each job."""
    lines = lines_of(plan, outcome)
    return {
        name: [reason_of(lines[name], number, events=events) for number, events in sorted(attempts.items())]
        for name, attempts in outcome.failed_attempts.items()
    }


def common_claims(plan: Plan, outcome: Outcome, account: Account) -> Report:
    """Check what must hold in every run."""
    report = Report()
    failed = [
        f"{job.name}: {outcome.states.get(job.name)}" for job in plan.jobs if outcome.states.get(job.name) != "success"
    ]
    report.claim("all tasks succeed", failed, f"{len(plan.jobs) - len(failed)} of {len(plan.jobs)}")
    wrong = [
        f"{job.name}: {outcome.texts.get(job.name)!r}"
        for job in plan.jobs
        if outcome.texts.get(job.name) != outcome.expected[job.name] or job.prompt != outcome.expected[job.name]
    ]
    report.claim("every text is right, byte for byte", wrong, f"{len(plan.jobs) - len(wrong)} of {len(plan.jobs)}")
    unfinished = [f"{dag}: {state}" for dag, state in outcome.dags.items() if not state.startswith("success")]
    report.claim("the task that compares them downstream agrees", unfinished)
    report.claim(
        "every operation is accounted for",
        account.of(Verdict.UNACCOUNTED),
        f"{outcome.stats['submissions']} = " + " + ".join(str(account.count(verdict)) for verdict in Verdict),
    )
    report.claim("no operation runs on that no log mentions", account.running_unmentioned)
    report.claim("no operation was cancelled although wanted", account.of(Verdict.CANCELLED))
    report.claim("no secret is in a log, a table or an XCom", outcome.spilled)
    return report


def table(plan: Plan, outcome: Outcome, account: Account) -> str:
    """Lay out what happened."""
    reasons = reasons_of(plan, outcome)
    attempts = [f"{1 + len(reasons.get(job.name, []))} attempt(s)" for job in plan.jobs]
    parts = [
        counted("Operations on the emulator", [verdict.value for verdict in account.verdicts.values()]),
        f"  {account.unknown_lines:>5}  log lines call a submission unknown, {account.suspected} without an operation",
        counted("Tasks by attempts", attempts),
        counted("Failed attempts", [reason for found in reasons.values() for reason in found]),
        counted("Deaths by plan", [stage for stages in outcome.deaths.values() for stage in stages]),
        counted("Events", outcome.events),
    ]
    return "\n".join(parts)


def quiet_claims(plan: Plan, outcome: Outcome, account: Account, report: Report) -> None:
    """Check what must hold where nothing goes wrong."""
    reasons = reasons_of(plan, outcome)
    for dag_id, mode in QUIET_DAGS.items():
        jobs = [job for job in plan.jobs if job.dag_id == dag_id]
        failed = [f"{job.name}: {reason}" for job in jobs for reason in reasons.get(job.name, [])]
        print(f"end_from_trigger={mode}: {outcome.dags[dag_id]}, {len(failed)} failed attempts")
        if mode is None:
            report.claim("no attempt fails where tasks end in the triggerer", failed)
        count = sum(name.startswith(dag_id) for name in account.jobs.values())
        repeated = [] if count == len(jobs) else [f"{count} submissions for {len(jobs)} tasks"]
        report.claim(f"no submission is repeated with end_from_trigger={mode}", repeated, f"{count} submissions")


def main() -> int:
    """Read the command line, run, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, help=f"how many tasks (default: {TASKS}, or {SHORT_TASKS} with --short)")
    parser.add_argument("--seed", type=int, default=1, help="what the plan is drawn from (%(default)s)")
    parser.add_argument("--short", action="store_true", help="fewer tasks and events")
    parser.add_argument("--quiet-run", action="store_true", help="no chaos: count the attempts that fail without it")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run in any case")
    chosen = parser.parse_args()
    tasks = chosen.tasks or (SHORT_TASKS if chosen.short else TASKS)
    draw = quiet_plan if chosen.quiet_run else partial(chaos_plan, short=chosen.short)
    plan = draw(tasks, chosen.seed)
    began = time.monotonic()
    home = HOME / time.strftime("%Y%m%d-%H%M%S")
    run = ChaosRun(
        plan,
        home,
        timeout=SHORT_TIMEOUT if chosen.short else TIMEOUT,
        emulator=QUICK_SECONDS if chosen.quiet_run else OPERATION_SECONDS,
        say=lambda line: print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True),
    )
    print(f"seed {chosen.seed}, {tasks} tasks, {home}", flush=True)
    outcome = run.carry_out()
    account = account_of(plan, outcome)
    report = common_claims(plan, outcome, account)
    print()
    if chosen.quiet_run:
        quiet_claims(plan, outcome, account, report)
    elif len(outcome.events) < len(plan.events):
        report.claim("all events happened", [event.kind for event in plan.events[len(outcome.events) :]])
    print(table(plan, outcome, account))
    print(f"\nClaims (seed {chosen.seed}, {time.monotonic() - began:.0f} s)\n{report.text()}")
    if report.holds and not chosen.keep:
        shutil.rmtree(home)
    else:
        print(f"\nThe run is in {home}; again: --seed {chosen.seed}", file=sys.stderr)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
