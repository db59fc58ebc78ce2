"""
Draw the floors of the package, from its imports.

    python -m tools.floors    print the drawing that docs/architecture.md shows

A floor is a folder; its order is that of the layers in pyproject.toml, which import-linter holds. Behind each stand its
modules, and under them the floors that they import.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
PACKAGE = "airflow_provider.yandex_ai_studio"


def layers() -> list[list[str]]:
    """Return the floors from top to bottom; those side by side in one list."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    floors = next(contract for contract in contracts if contract["containers"] == [PACKAGE])
    return [[name.strip() for name in layer.split("|")] for layer in floors["layers"]]


def drawing() -> str:
    """Return the floors as text: each with its modules, and under them what it imports."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    order = [name for layer in layers() for name in layer]
    return "\n".join(line for name in order for line in _lines(graph, name, order))


def _lines(graph: grimp.ImportGraph, floor: str, order: list[str]) -> Iterator[str]:
    root = f"{PACKAGE}.{floor}"
    modules = sorted(name.rpartition(".")[2] for name in graph.find_children(root))
    below = {name.removeprefix(f"{PACKAGE}.").split(".")[0] for name in _imported(graph, root)} - {floor}
    indent = " " * 14
    text = f"{floor}/".ljust(len(indent)) + " ".join(modules) if modules else f"{floor}.py"
    yield from textwrap.wrap(text, 110, subsequent_indent=indent)
    if below:
        yield f"{indent}-> {' '.join(name for name in order if name in below)}"


def _imported(graph: grimp.ImportGraph, root: str) -> Iterator[str]:
    for module in {root, *graph.find_descendants(root)}:
        yield from (name for name in graph.find_modules_directly_imported_by(module) if name.startswith(PACKAGE))


if __name__ == "__main__":
    print(drawing())
