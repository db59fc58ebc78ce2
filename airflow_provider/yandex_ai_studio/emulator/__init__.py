"""Emulate the text-generation API of Yandex AI Studio, to develop and test pipelines offline and for free.

It is laid out in the order a request passes through it::

    fronts.py      how it is reached: HTTP, and gRPC when that is asked for
    server.py      the HTTP front: one port for everything the vendor serves on several hosts
    rpc/           the gRPC front: the official services, each method answered by its twin among the routes
    hosts.py       under which names it answers what
    dispatch.py    what happens to each request, whatever its route: count, fault, authorize, admit, answer
    alteration.py  what a fault makes of an answer that is right
    routes/        one function per endpoint, from a request value to an answer value
    wire/          what may be sent (the vendor's messages, as data) and the shapes of errors
    state/         what is remembered: operations, credentials, quotas, faults, statistics
    generation/    the text that stands in for a model's

``python -m airflow_provider.yandex_ai_studio.emulator`` runs it as a process, :class:`Emulator` in a test.
It shares no code with the client beside it: a field name that is wrong must not be wrong on both sides.
"""

from airflow_provider.yandex_ai_studio.emulator.embedded import Emulator

__all__ = ["Emulator"]
