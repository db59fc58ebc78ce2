"""What the benchmarks keep quiet."""

from __future__ import annotations

import logging

import structlog


def silence() -> None:
    """
    Log errors only, whoever it is.

    In a triggerer, what a trigger logs goes to the log of its task; here it would go to the terminal, at a cost that$
    has nothing to do with waiting. To be called after Airflow is imported, which configures logging.
    """
    logging.disable(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
