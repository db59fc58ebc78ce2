"""
Break the code in a thousand small ways, and see which of them no test notices.

    python -m tools.mutants                 every module that tests/mutants.toml names
    python -m tools.mutants api/checks      this one

mutmut breaks the code, one place at a time, in a copy of this tree below ``.mutants/``. A module is tried against the
tests near to it, which tests/mutants.toml names, with those mutants that may survive and why. Any other survivor fails
the run; so does one that is listed and does not survive any more.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import ndiff
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIES = ROOT / ".mutants"
PACKAGE = Path("airflow_provider/yandex_ai_studio")
LIST = ROOT / "tests" / "mutants.toml"

TIMEOUT = 3600.0
"""Seconds that a module may take, on two busy cores, before it is given up."""

LEFT_OUT = (
    r'^\s*f?".* .*"',  # a line of prose
    r"\bwrong\(",  # what a ConfigurationError says
    r"\bValueError\(",  # of a reader: it is told in other words
    r"\b(log|logger|_log|LOG)\.(debug|info|warning|error|exception)\(",
)
"""Lines that are left as they are: the wording of an error or a log is no claim."""

KILLED, TIMED_OUT, SURVIVED, UNTRIED = "killed", "timeout", "survived", "untried"

FATES = {1: KILLED, 3: KILLED, -24: TIMED_OUT, -9: TIMED_OUT, 0: SURVIVED, 33: SURVIVED}
"""
What the exit codes of mutmut's workers mean. -24: it took far longer than its tests do, or hung; -9: and took no notice
when it was told to end. 33: no test comes by. Any other: nothing was tried. mutmut calls 255 a timeout, and it is what
comes where pytest did not find one of the tests: its name must be the same in each process.
"""


@dataclass(frozen=True)
class Module:
    """
    A module under test.

    :param tests: The tests near to it.
    :param may_survive: Mutants that no test needs to notice, by the reason.
    """

    name: str
    tests: Sequence[str]
    may_survive: dict[str, list[str]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where it lies in the tree."""
        return PACKAGE / f"{self.name}.py"

    @property
    def copy(self) -> Path:
        """Where its mutants are made."""
        return COPIES / self.name.replace("/", ".")


@dataclass(frozen=True)
class Result:
    """What came of the mutants of a module: how many by their fate, and those that survived."""

    fates: Mapping[str, int]
    survivors: frozenset[str]
    seconds: float

    def surprises(self, module: Module) -> list[str]:
        """Return what is not as tests/mutants.toml has it."""
        listed = {mutant for mutants in module.may_survive.values() for mutant in mutants}
        untried = self.fates.get(UNTRIED, 0)
        return [
            *([f"were not tried: {untried} mutants; pytest did not find their tests, or broke off"] if untried else []),
            *(f"survives, and is not listed: {mutant}" for mutant in sorted(self.survivors - listed)),
            *(f"is listed, and does not survive: {mutant}" for mutant in sorted(listed - self.survivors)),
        ]


def listed() -> list[Module]:
    """Return the modules that tests/mutants.toml names."""
    said = tomllib.loads(LIST.read_text())
    return [
        Module(name, [*table["tests"]], {reason: [*mutants] for reason, mutants in table.get("survive", {}).items()})
        for name, table in said.items()
    ]


def run(module: Module, children: int) -> Result:
    """
    Try all mutants of a module.

    :raises subprocess.SubprocessError: mutmut could not; what it said is in ``mutmut.log`` in the module's copy.
    """
    began = time.monotonic()
    _copy(module)
    with (module.copy / "mutmut.log").open("w") as log:
        command = ["nice", "-n5", str(Path(sys.executable).parent / "mutmut"), "run", "--max-children", str(children)]
        subprocess.run(command, cwd=module.copy, env=_env(), stdout=log, stderr=log, check=True, timeout=TIMEOUT)
    meta = json.loads((module.copy / "mutants" / f"{module.path}.meta").read_text())
    fates = {name.rpartition(".")[2]: FATES.get(code, UNTRIED) for name, code in meta["exit_code_by_key"].items()}
    names = told((module.copy / "mutants" / module.path).read_text())
    survivors = frozenset(names[name] for name, fate in fates.items() if fate == SURVIVED)
    return Result(Counter(fates.values()), survivors, time.monotonic() - began)


def _copy(module: Module) -> None:
    """Copy the tree, without what git does not know, so that nothing of an earlier run is left."""
    shutil.rmtree(module.copy, ignore_errors=True)
    said = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in said.stdout.splitlines():
        if (ROOT / name).is_file():
            (module.copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, module.copy / name)
    settings: dict[str, str | Sequence[str]] = {
        "source_paths": ["airflow_provider"],
        "only_mutate": [str(module.path)],
        "also_copy": [path.name for path in sorted(module.copy.iterdir()) if path.name != "airflow_provider"],
        "do_not_mutate_patterns": LEFT_OUT,
        # To collect garbage at the end of each run would take longer than the tests.
        "pytest_add_cli_args": ["-pno:cacheprovider", "-pno:unraisableexception", "--hypothesis-profile=unshrunk"],
        "pytest_add_cli_args_test_selection": module.tests,
        "process_isolation": "forkserver",
        "use_git_change_detection": "false",
        "timeout_multiplier": "5",
        "timeout_constant": "2",
    }
    lines = [
        f"{key} = {value}" if isinstance(value, str) else "\n    ".join([f"{key} =", *value])
        for key, value in settings.items()
    ]
    (module.copy / "setup.cfg").write_text("\n".join(["[mutmut]", *lines, ""]))


def _env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}


def told(mutated: str) -> dict[str, str]:
    """
    Return all mutants as tests/mutants.toml has them: the function, and the lines that came, or those that went.

    Of those that look alike in that, the second one is called ``(2)``, and so on.
    """
    functions = {
        node.name: [
            line.strip().replace(node.name, "") for line in mutated.splitlines()[node.lineno - 1 : node.end_lineno]
        ]
        for node in ast.walk(ast.parse(mutated))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    told = {}
    alike: Counter[str] = Counter()
    for name, lines in functions.items():
        function, found, number = name.partition("__mutmut_")
        if found and number != "orig":
            delta = list(ndiff(functions[f"{function}__mutmut_orig"], lines))
            came, went = (" ".join(line[2:] for line in delta if line[0] == sign) for sign in "+-")
            plain = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
            shown = f"{plain}: {came or f'without {went}'}"
            alike[shown] += 1
            told[name] = shown if alike[shown] == 1 else f"{shown} ({alike[shown]})"
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the chosen modules one after the other, and print what came of them."""
    modules = listed()
    names = [module.name for module in modules]
    parser = argparse.ArgumentParser(prog="tools.mutants", description="Break the code, and see which tests notice.")
    parser.add_argument("choice", nargs="*", choices=names, metavar="MODULE", help=", ".join(names))
    parser.add_argument("--children", type=int, default=os.cpu_count() or 2, help="mutants that are tried at a time")
    options = parser.parse_args(arguments)
    surprised = False
    print("| module | killed | timeout | survived | seconds |\n|---|---|---|---|---|")
    for module in modules:
        if options.choice and module.name not in options.choice:
            continue
        result = run(module, options.children)
        figures = (*(result.fates[fate] for fate in (KILLED, TIMED_OUT, SURVIVED)), round(result.seconds))
        print(f"| {module.name} | {' | '.join(map(str, figures))} |", flush=True)
        for surprise in result.surprises(module):
            surprised = True
            print(f"  {surprise}", flush=True)
    return 1 if surprised else 0


if __name__ == "__main__":
    sys.exit(main())
