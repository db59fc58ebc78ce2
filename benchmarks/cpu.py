"""
The CPU time of processes and of everything that they start.

The kernel adds the times of a process that ended to those of the parent that waited for it. So the sum over the
processes that live, each with its ended children, misses nothing, as long as parents wait for their children and the
roots themselves live on. Processes are found by their session and by their descent, because Airflow's tasks leave their
process groups, and some lead sessions of their own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import psutil

Seconds = dict[str, float]


def cpu_seconds(roots: Mapping[str, int]) -> Seconds:
    """
    Return the CPU seconds that were spent below each root until now.

    :param roots: Process ids by name; each leads a session or is the ancestor of all that belongs to it.
    """
    return {name: sum(map(_spent, _family(root))) for name, root in roots.items()}


def between(before: Seconds, after: Seconds) -> Seconds:
    """Return what was spent from one look to the other."""
    return {name: after[name] - before[name] for name in before}


def _family(root: int) -> set[psutil.Process]:
    top = psutil.Process(root)
    family = {top, *top.children(recursive=True)}
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(pid) == root:
                family.add(psutil.Process(pid))
    return family


def _spent(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0  # it ended since it was listed; its parent has its time by the next look
    return float(times.user + times.system + times.children_user + times.children_system)
