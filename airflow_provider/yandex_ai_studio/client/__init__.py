"""
How a call is sent: where to, as whom, with which headers, how long, and how often.

One sender for workers (requests), one for the triggerer (aiohttp), both over gRPC on request. None of them knows an
endpoint, and none reads an Airflow connection.
"""
