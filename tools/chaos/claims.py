"""What came of a run, held against its plan: the account of its operations, and the claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tools.chaos.account import Account, Cause, Created, Told, Verdict, settle
from tools.chaos.agenda import CLEARED
from tools.chaos.causes import Death, causes_of, faults_without_effect, lost_answers, not_met
from tools.chaos.jobs import CONNECTIONS, GROUP, Job
from tools.chaos.logs import Line, kills, reason_of
from tools.chaos.plan import FATAL, GATEWAY, HANG, LOOKUPS, QUIET_DAGS, ROTATED, Plan
from tools.chaos.report import Report, counted
from tools.chaos.run import Outcome

RESET_SECONDS = 60.0
"""Seconds in which a scheduler that was started again takes tasks from those that had them."""


CLEAR_SECONDS = 10.0
"""Seconds between a clear and the end of the attempt that it takes."""


def lines_of(plan: Plan, outcome: Outcome) -> dict[str, list[Line]]:
    """Return the log lines of each job."""
    return {job.name: outcome.logs.get(job.key, []) for job in plan.jobs}


def account_of(plan: Plan, outcome: Outcome) -> Account:
    """Reconcile the emulator's operations with the logs."""
    paying = [job for job in plan.jobs if job.submissions]
    job_of = {prompt: job.name for job in paying for prompt in job.prompts}
    lines = lines_of(plan, outcome)
    told = {
        job.name: Told(
            _used(job, outcome),
            [line.event for line in lines[job.name]],
            causes_of(
                _deaths(job, outcome, lines[job.name]),
                _lost_answers(job, outcome),
                group=GROUP if job.kind == "bulk" else 1,
            ),
            [hit.at for hit in outcome.hits if hit.task == job.index and hit.discards],
            faults_without_effect(outcome.faults, job.name),
            outcome.ledgers.get(job.name, frozenset()),
            len(job.prompts),
        )
        for job in paying
    }
    created = [Created(row["id"], row["state"], job_of[row["prompt_head"]], row["at"]) for row in outcome.operations]
    return settle(created, told)


def _used(job: Job, outcome: Outcome) -> frozenset[str]:
    """Return the operations whose texts a job has: of each row of a bulk task, the last that its ledger knew."""
    if job.kind != "bulk":
        return frozenset(filter(None, [outcome.used.get(job.name)]))
    known = [row for row in outcome.operations if row["id"] in outcome.ledgers.get(job.name, ())]
    return frozenset({row["prompt_head"]: row["id"] for row in known if row["state"] == "succeeded"}.values())


def _deaths(job: Job, outcome: Outcome, lines: list[Line]) -> Iterator[Death]:
    """Return what is known of the deaths of a job's attempts, the best source first."""
    yield from (replace(death, stage=stage) for stage, death in outcome.deaths.get(job.name, {}).items())
    for hit in outcome.hits:
        if hit.task == job.index and hit.attempt is not None:
            yield Death(hit.attempt, hit.at, hit.what)
    yield from (Death(attempt, at, what) for attempt, at, what in kills(lines))
    for attempt, at in outcome.ended.get(job.name, {}).items():
        reason = _reason(job, outcome, lines, attempt)
        new_scheduler = any(0 <= at - started <= RESET_SECONDS for started in outcome.schedulers)
        if not reason.startswith(("raised", CLEARED)) and (new_scheduler or not reason.startswith("reset")):
            yield Death(attempt, at, reason)


def _reason(job: Job, outcome: Outcome, lines: list[Line], attempt: int) -> str:
    """Say why an attempt was not the last one."""
    ended = outcome.ended.get(job.name, {}).get(attempt)
    for hit in outcome.hits:
        mine = hit.what == CLEARED and hit.task == job.index
        if mine and ended is not None and hit.at - CLEAR_SECONDS <= ended <= hit.at + CLEAR_SECONDS:
            return CLEARED
    return reason_of(lines, attempt, events=outcome.failed_attempts[job.name][attempt])


def _lost_answers(job: Job, outcome: Outcome) -> Iterator[Cause]:
    """Return when answers to a job got lost on their way."""
    yield from lost_answers(outcome.faults, job.name)
    for hit in outcome.hits:
        if hit.task == job.index and hit.attempt is None and hit.what != CLEARED:
            yield Cause(hit.at, hit.what)


def reasons_of(plan: Plan, outcome: Outcome) -> dict[str, list[str]]:
    """Say why attempts ended before the last one, for each job."""
    lines = lines_of(plan, outcome)
    return {
        job.name: [_reason(job, outcome, lines[job.name], number) for number in sorted(attempts)]
        for job in plan.jobs
        if (attempts := outcome.failed_attempts.get(job.name))
    }


def unforeseen(plan: Plan, outcome: Outcome) -> Iterator[str]:
    """Return the attempts that raised what nothing in this run explains; and the ways that cost most tasks one."""
    reasons = reasons_of(plan, outcome)
    fatal = {(fault["match"] or "").strip() for fault in outcome.faults if fault["kind"] in FATAL}
    raised: dict[str, set[str]] = {}
    for job in plan.jobs:
        foreseen = {"OperationFailed"} if job.name in fatal else set()
        for kind in outcome.events:
            foreseen |= _raised_by(kind, job.conn_id)
        for reason in reasons.get(job.name, []):
            word, _, error = reason.partition(" ")
            if word == "raised" and error not in foreseen:
                yield f"{job.name}: {reason}"
            if word == "raised" and error != "OperationFailed":
                raised.setdefault(job.conn_id, set()).add(job.name)
    for conn_id, names in raised.items():
        jobs = sum(job.conn_id == conn_id for job in plan.jobs)
        if len(names) > max(1, jobs // 2):
            yield f"{conn_id}: {len(names)} of {jobs} tasks"


def _raised_by(event: str, conn_id: str) -> set[str]:
    """Return what an attempt on a connection may raise because of an event."""
    through = CONNECTIONS[conn_id].through if conn_id in CONNECTIONS else ""
    if event in ROTATED:
        return {"AuthenticationError"} if conn_id in ROTATED[event] else set()
    if event == LOOKUPS:
        return {"ConnectionNotFound", "AirflowNotFoundException"} if through == "vault" else set()
    if event == GATEWAY:
        return {"ServiceUnavailable"} if through == "gateway" else set()
    return {"restart all": {"AirflowRuntimeError"}, "outage": {"ServiceUnavailable"}, HANG: {"ServiceUnavailable"}}.get(
        event, set()
    )


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
        if outcome.expected[job.name] != job.answer
        or outcome.texts.get(job.name) != (outcome.used.get(job.name) if job.kind == "submit" else job.answer)
    ]
    report.claim("every text is right, byte for byte", wrong, f"{len(plan.jobs) - len(wrong)} of {len(plan.jobs)}")
    ended = {job.dag_id: outcome.dags.get(job.dag_id, "has not run") for job in plan.jobs}
    unfinished = [f"{dag}: {state}" for dag, state in ended.items() if not state.startswith("success")]
    report.claim("the task that compares them downstream agrees", unfinished)
    report.claim("every text is of an operation that was paid for it", account.unused)
    listed, count = len(outcome.operations), outcome.stats["submissions"]
    report.claim(
        "every operation is accounted for",
        account.of(Verdict.UNACCOUNTED) + ([] if listed == count else [f"{count} submissions, {listed} listed"]),
        f"{count} = " + " + ".join(str(account.count(verdict)) for verdict in Verdict),
    )
    report.claim("no operation is paid for again that was known", account.of(Verdict.SUPERSEDED))
    report.claim("each manifest counts what was paid for", list(_miscounted(plan, outcome, account)))
    report.claim(
        "each that got lost is tied to a death or a lost answer",
        account.of(Verdict.UNTIED),
        f"{len(account.tied)} of {len(account.tied) + account.count(Verdict.UNTIED)}",
    )
    report.claim("no submission is called unknown without a reason", account.alarms)
    report.claim("who is cleared to start over does", account.of(Verdict.KEPT) + account.of(Verdict.LEFT_RUNNING))
    report.claim("no attempt raises what nothing explains", list(unforeseen(plan, outcome)))
    report.claim("no operation runs on that no log mentions", account.running_unmentioned)
    report.claim("no operation was cancelled although wanted", account.of(Verdict.CANCELLED))
    alive = [
        f"{job.name}: {stage}"
        for job in plan.jobs
        for stage in job.die_at
        if stage not in outcome.deaths.get(job.name, {})
    ]
    planned = sum(len(job.die_at) for job in plan.jobs)
    report.claim("every planned death took place", alive, f"{planned - len(alive)} of {planned}")
    missed = not_met(outcome.faults, plan.faults)
    count = max(len(outcome.faults), len(plan.faults))
    report.claim("every planned fault took place", missed, f"{count - len(missed)} of {count}")
    left = Counter(kind for kinds in plan.events for kind in kinds) - Counter(outcome.events)
    missed = outcome.missed + [kind for kind in left if kind not in outcome.missed]
    report.claim("every planned event took place, and met somebody", missed, f"{len(outcome.events)} events")
    report.claim("no secret is in a log, a table or an XCom", outcome.spilled)
    return report


def _miscounted(plan: Plan, outcome: Outcome, account: Account) -> Iterator[str]:
    """Return where a manifest says another thing than the service, the ledger and the log of its task."""
    lines = lines_of(plan, outcome)
    for job in plan.jobs:
        if not job.folder:
            continue
        manifest, known = outcome.manifests.get(job.name, {}), outcome.ledgers.get(job.name, frozenset())
        mine = [row for row in outcome.operations if account.jobs[row["id"]] == job.name]
        failed = sum(row["state"] == "failed" and row["id"] in known for row in mine)
        told = Told((), [line.event for line in lines[job.name]]).unknown
        for name, least, most in (
            ("submissions", len(known), len(known)),
            ("repeated_rows", failed, failed),
            # A line that a dying attempt wrote, and its count did not outlive, is written again.
            ("lost_submissions", len(mine) - len(known), told),
        ):
            if not least <= manifest.get(name, -1) <= most:
                yield f"{job.name}: {manifest.get(name)} {name}, not {least} to {most}"


def table(plan: Plan, outcome: Outcome, account: Account) -> str:
    """Lay out what happened."""
    reasons = reasons_of(plan, outcome)
    attempts = [f"{1 + len(reasons.get(job.name, []))} attempt(s)" for job in plan.jobs]
    parts = [
        counted("Operations on the emulator", [verdict.value for verdict in account.verdicts.values()]),
        f"  {account.unknown_lines:>5}  log lines call a submission unknown, {account.suspected} without an operation",
        counted("Lost by", account.tied),
        counted("Tasks", [job.kind for job in plan.jobs]),
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
