"""
A chaos run, in the order in which it passes.

::

    jobs.py       the tasks of a run, and the connections that they use
    plan.py       what shall happen, drawn from a seed: their deaths, faults, events
    dags/         the DAGs that the plan's jobs become
    parts.py      what a bulk task has written
    run.py        one run of it on a real Airflow
    service.py    the emulator, gateway.py what stands before it, lookups.py a secrets backend: all may fail
    story.py      in which order the events happen, and when the next jobs begin
    events.py     who is killed, frozen, restarted; which outages the service has
    world.py      rotated credentials, dead gateways, look-ups that fail, a service that hangs, people who clear tasks
    tables.py     what is read in Airflow's database, whichever release it is of
    agenda.py     what is still to be done after an event, and whom it hit
    secrets.py    canaries, and where they must not be found
    logs.py       what the task logs say
    causes.py     by what the id of an operation may have got lost
    account.py    what became of each operation that was paid for
    claims.py     what must hold
    report.py     the claims, and whether they hold
"""
