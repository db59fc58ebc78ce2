"""
A chaos run, in the order in which it passes.

::

    plan.py       what shall happen, drawn from a seed: jobs and their deaths, faults, events
    dags/         the DAGs that the plan's jobs become
    run.py        one run of it on a real Airflow
    events.py     who is killed, frozen, restarted; which outages the service has
    secrets.py    canaries, and where they must not be found
    logs.py       what the task logs say
    account.py    what became of each operation that was paid for
    report.py     the claims, and whether they hold
"""
