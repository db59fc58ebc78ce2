"""
The service as values: what may be asked, the call that asks it, and what its answer means.

All names of the wire are here, but for those of headers (:mod:`~airflow_provider.yandex_ai_studio.client.headers`). No
socket, no clock and nothing of Airflow but its exceptions may come in.
"""
