"""Processes that are started together, watched together, and gone together.

Each process leads a session of its own, so that everything it starts is found again by that session even
after the process itself was killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil

TERMINATE_TIMEOUT = 5.0
"""Seconds that processes get to end by themselves after SIGTERM."""

KILL_TIMEOUT = 5.0
"""Seconds until processes that got SIGKILL must have disappeared."""

CHECK_INTERVAL = 0.1
"""Seconds between two looks at processes that are about to end."""

TAIL_LINES = 40
"""Lines of output that an error shows."""


class ProcessFailedError(RuntimeError):
    """A process ended by itself, or could not be ended. The message carries the tail of its output."""


class LocalProcesses:
    """Named processes with one environment, each with its output in ``<folder>/<name>.log``.

    :param folder: where the output files are written; a process that is started again appends to its file.
    :param env: the whole environment of the processes.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = dict(env)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: set[int] = set()
        self._strays: set[psutil.Process] = set()

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process under a name that no running process has."""
        if name in self.running:
            raise ValueError(f"{name} is running already")
        with self.output(name).open("ab") as output:
            process = subprocess.Popen(
                command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._sessions.add(process.pid)
        self.running[name] = process
        return process

    def run(self, name: str, command: Sequence[str], timeout: float) -> None:
        """Run a process to its end and raise `ProcessFailedError` unless it succeeds within the timeout."""
        process = self.start(name, command)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessFailedError(f"{name} took more than {timeout:g} s{self.tail(name)}") from None
        finally:
            self.kill(name, signal.SIGKILL, whole_session=True)
        if code:
            raise ProcessFailedError(f"{name} ended with code {code}{self.tail(name)}")

    def check(self) -> None:
        """Raise `ProcessFailedError` when a process has ended that nobody asked to end."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise ProcessFailedError(f"{name} ended with code {process.returncode}{self.tail(name)}")

    def kill(self, name: str, signum: signal.Signals, *, whole_session: bool = False) -> None:
        """Send a signal that ends a process, and wait until it has ended.

        :param whole_session: send it to everything that the process started, too. Without this, children
            outlive their parent, as they do when an operator kills one process id.
        """
        process = self.running.pop(name)
        self._note_strays([process])
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signum)
        if whole_session:
            _signal_all(_members({process.pid}), signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TERMINATE_TIMEOUT)
        if process.poll() is None:
            process.kill()
            process.wait(KILL_TIMEOUT)
        if not _members({process.pid}):
            # From now on the system may give this id to somebody else's session.
            self._sessions.discard(process.pid)

    def stop(self) -> None:
        """End every process and everything that they started: SIGTERM, a bounded wait, SIGKILL.

        :raises ProcessFailedError: when something survives even SIGKILL.
        """
        with _deaf_to_interrupts():
            processes = list(self.running.values())
            self.running.clear()
            self._note_strays(processes)
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            deadline = time.monotonic() + TERMINATE_TIMEOUT
            while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
                self._note_strays(processes)
                time.sleep(CHECK_INTERVAL)
            deadline = time.monotonic() + KILL_TIMEOUT
            while survivors := self._survivors():
                if time.monotonic() > deadline:
                    raise ProcessFailedError(f"these processes can't be ended: {survivors}")
                _signal_all(survivors, signal.SIGKILL)
                time.sleep(CHECK_INTERVAL)
            for process in processes:
                process.wait(KILL_TIMEOUT)
            self._sessions.clear()
            self._strays.clear()

    def output(self, name: str) -> Path:
        """Return the path of a process's output file."""
        return self.folder / f"{name}.log"

    def tail(self, name: str) -> str:
        """Return the end of a process's output, ready to be appended to an error message."""
        path = self.output(name)
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(["", f"--- the last lines of {path}", *lines[-TAIL_LINES:]])

    def _note_strays(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        """Remember descendants that lead sessions of their own: later nothing leads from us to them."""
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._strays.update(psutil.Process(process.pid).children(recursive=True))

    def _survivors(self) -> list[psutil.Process]:
        return _alive([*_members(self._sessions), *self._strays])


@contextlib.contextmanager
def exit_on_termination() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `SystemExit` while the context lasts, so that ``finally`` blocks run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    previous = {signum: signal.signal(signum, leave) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let nothing short of SIGKILL break off a clean-up, which is bounded in time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {signum: signal.signal(signum, signal.SIG_IGN) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _members(sessions: set[int]) -> list[psutil.Process]:
    """Find the processes of these sessions. A process group would not do: Airflow's tasks leave theirs."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(pid) in sessions:
                found.append(psutil.Process(pid))
    return found


def _alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    alive = []
    for process in set(processes):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive


def _signal_all(processes: Sequence[psutil.Process], signum: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signum)
