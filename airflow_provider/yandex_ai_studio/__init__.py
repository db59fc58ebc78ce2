"""
Airflow provider for Yandex AI Studio: text generation that survives what pipelines go through.

The folders are the floors of one house, and imports only point down::

    decorators/            @task.yandex_ai_studio
    operators/ sensors/    what a DAG uses
    triggers/              what waits in the triggerer
    durability/            paid once: write down, submit, find again, defer, kill
    answers/               what an operation that ended means for its task: a text, a value, or an error
    hooks/                 the only reader of an Airflow connection
    waiting/               one poller for all waits: when to ask, whose turn it is, when it is over
    client/                how a call is sent: connection settings, credentials, headers, repetition, a sender each
    api/                   the service as values: requests, calls, answers, errors. No I/O
    exceptions.py          everything that is raised
    telemetry.py links.py  what monitoring is told, and the link to the vendor's console

``get_provider_info.py`` is what Airflow reads; ``emulator/`` stands apart, and shares no code with the rest.
"""

__version__ = "0.1.0"
