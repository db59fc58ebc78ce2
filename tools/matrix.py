"""
Run the tests on each Airflow and each Python that is supported, one cell after the other.

    python -m tools.matrix                      every cell that has no result for this commit
    python -m tools.matrix 3.4 3.11             the cells of this Airflow and this Python
    python -m tools.matrix 3.2 3.11 --system    the same cell on a real Airflow

A cell is an environment of its own below ``.matrix/``, with its logs and results beside it. In the cells of the lowest
Airflow, the package's own dependencies are as old as ``pyproject.toml`` allows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
CELLS = ROOT / ".matrix"

AIRFLOWS = {"3.2": "==3.2.0", "3.3": "==3.3.*", "3.4": ">=3.4.0b1,<3.5"}
"""The lowest, the newest, and what comes next."""

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The last one where an interpreter is found."""

LOWEST = "3.2"
OLDER = ("fastapi<0.137",)
"""What Airflow 3.2.0 does not run with, though it allows it: each task then fails as it reports its end."""

PINNED = "3.3"
"""Whose cells get the versions of the constraints files."""

INSTALL_TIMEOUT = 1200.0
TEST_TIMEOUT = 2400.0
"""Seconds that a cell may take, on two busy cores."""

STOP_TIMEOUT = 60.0
"""Seconds that the tests of a cell get to stop what they started."""


@dataclass(frozen=True)
class Result:
    """What came of the tests in a cell."""

    commit: str
    airflow: str
    system: bool
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: int = 0
    broken: str = ""


@dataclass(frozen=True)
class Cell:
    """An Airflow on a Python."""

    airflow: str
    python: str

    @property
    def folder(self) -> Path:
        """Where its environment, its logs and its results lie."""
        return CELLS / f"airflow{self.airflow}-python{self.python}"

    @property
    def executable(self) -> Path:
        """The Python of its environment."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def constraints(self) -> Path:
        """The versions that `make constraints` wrote for its Python."""
        return ROOT / f"constraints-{self.python}.txt"

    def install(self, interpreter: str) -> None:
        """
        Set its environment up, unless it is.

        :raises subprocess.SubprocessError: It can't be; the log says why.
        """
        pins, airflow = self._pins(), f"apache-airflow{AIRFLOWS[self.airflow]}"
        ready, wanted = self.folder / "ready", "\n".join([airflow, *pins, (ROOT / "pyproject.toml").read_text()])
        if ready.exists() and ready.read_text() == wanted:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        constraints = self.folder / "constraints.txt"
        constraints.write_text("\n".join(pins) + "\n")
        python = str(self.executable)
        # pip gives up on the oldest versions ("resolution too deep"); uv finds them in seconds.
        uv = [python, "-m", "uv", "pip", "install", "--python", python, "--constraint", str(constraints)]
        self._run("venv", [interpreter, "-m", "venv", "--clear", str(self.folder / "venv")], INSTALL_TIMEOUT)
        self._run("pip", [python, "-m", "pip", "install", "--disable-pip-version-check", "uv"], INSTALL_TIMEOUT)
        self._run("install", [*uv, airflow, "--editable", ".[grpc]", "--group", "dev"], INSTALL_TIMEOUT)
        ready.write_text(wanted)

    def test(self, commit: str, *, system: bool) -> Result:
        """Run the tests, and keep what came of them."""
        name = "system" if system else "tests"
        report = self.folder / f"{name}.xml"
        report.unlink(missing_ok=True)
        which = "system" if system else "not system"
        command = [str(self.executable), "-m", "pytest", "-q", "-m", which, f"--junitxml={report}"]
        began = time.monotonic()
        try:
            with contextlib.suppress(subprocess.CalledProcessError):  # the report says it
                self._run(name, command, TEST_TIMEOUT)
        except subprocess.TimeoutExpired:
            return Result(commit, self._version(), system, broken=f"not done after {TEST_TIMEOUT:.0f} s")
        if not report.exists():
            return Result(commit, self._version(), system, broken="pytest did not run")
        [suite] = ElementTree.parse(report).getroot()  # noqa: S314 # written by the pytest above
        count = {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
        failed = count["failures"] + count["errors"]
        return Result(
            commit,
            self._version(),
            system,
            passed=count["tests"] - failed - count["skipped"],
            failed=failed,
            skipped=count["skipped"],
            seconds=round(time.monotonic() - began),
        )

    def result(self, *, system: bool) -> Result | None:
        """Return what came of the tests when they last ran here."""
        path = self.folder / f"result-{'system' if system else 'tests'}.json"
        return Result(**json.loads(path.read_text())) if path.exists() else None

    def keep(self, result: Result) -> None:
        """Write down what came of the tests."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"result-{'system' if result.system else 'tests'}.json"
        path.write_text(json.dumps(asdict(result)))

    def _pins(self) -> list[str]:
        if self.airflow == PINNED and self.constraints.exists():
            return self.constraints.read_text().splitlines()
        return [*OLDER, *floors()] if self.airflow == LOWEST else []

    def _version(self) -> str:
        code = "from importlib.metadata import version; print(version('apache-airflow-core'))"
        command = [str(self.executable), "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def _run(self, log: str, command: Sequence[str], timeout: float) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "VIRTUAL_ENV"))}
        with (self.folder / f"{log}.log").open("w") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
            try:
                code = process.wait(timeout)
            finally:
                process.terminate()  # a real Airflow is stopped by who started it
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_TIMEOUT)
                process.kill()
        if code:
            raise subprocess.CalledProcessError(code, command)


def floors() -> list[str]:
    """Return the package's own dependencies, each in the oldest version that it promises to work with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["grpc"]]
    return [
        re.sub(r"\[.*\]", "", item).replace(">=", "==") for item in wanted if not item.startswith("apache-airflow>")
    ]


def interpreter_of(python: str) -> str | None:
    """Find a Python, in the path or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    name = f"python{python}"
    for path in [shutil.which(name), *sorted(pyenv.glob(f"{python}.*/bin/{name}"))]:
        if path and subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0:
            return str(path)
    return None


def commit_of_tree() -> str:
    """Return what is tested: a commit, and whether the tree differs from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def run(cell: Cell, commit: str, *, system: bool) -> Result:
    """Install and test one cell."""
    interpreter = interpreter_of(cell.python)
    if interpreter is None:
        return Result(commit, cell.airflow, system, broken=f"no python{cell.python} on this machine")
    try:
        cell.install(interpreter)
    except subprocess.SubprocessError as error:
        return Result(commit, cell.airflow, system, broken=f"can't be installed: {type(error).__name__}, see its log")
    return cell.test(commit, system=system)


def table(cells: Sequence[Cell], *, system: bool) -> str:
    """Return the results of all cells as a table in Markdown."""
    lines = ["| Airflow | Python | passed | failed | skipped | seconds | commit |", "|---|---|---|---|---|---|---|"]
    for cell in cells:
        result = cell.result(system=system)
        if result is None:
            lines.append(f"| {cell.airflow} | {cell.python} | not run | | | | |")
        elif result.broken:
            lines.append(f"| {result.airflow} | {cell.python} | {result.broken} | | | | {result.commit} |")
        else:
            figures = (result.passed, result.failed, result.skipped, result.seconds, result.commit)
            lines.append(f"| {result.airflow} | {cell.python} | {' | '.join(map(str, figures))} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen cells one after the other, and print what all cells say."""
    parser = argparse.ArgumentParser(prog="tools.matrix", description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("choice", nargs="*", choices=[*AIRFLOWS, *PYTHONS], metavar="VERSION", help="Airflow or Python")
    parser.add_argument("--system", action="store_true", help="the tests on a real Airflow, instead of the others")
    options = parser.parse_args(arguments)
    every = [Cell(airflow, python) for airflow in AIRFLOWS for python in PYTHONS]
    airflows = set(options.choice) & set(AIRFLOWS) or set(AIRFLOWS)
    pythons = set(options.choice) & set(PYTHONS) or set(PYTHONS)
    commit = commit_of_tree()
    for cell in every:
        if cell.airflow not in airflows or cell.python not in pythons:
            continue
        done = cell.result(system=options.system)
        if done and done.commit == commit and not options.choice:
            continue
        print(f"Airflow {cell.airflow} on Python {cell.python} ...", flush=True)
        cell.keep(run(cell, commit, system=options.system))
    print(table(every, system=options.system))
    results = [cell.result(system=options.system) for cell in every]
    return 1 if any(result and result.failed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
