"""A mutant that survives is told, unless somebody said why it may; and so is one that was said to, and does not."""

from __future__ import annotations

from collections import Counter

import pytest

from tools.mutants import FATES, KILLED, ROOT, SURVIVED, UNTRIED, Module, Result, listed, told

MODULE = Module("api/checks", ["tests/api"], {"a log line": ["text: return 1", "text: return 2"]})

MUTATED = """
def x_text__mutmut_orig(value):
    if value:
        return 0

def x_text__mutmut_1(value):
    if value:
        return 1

def x_text__mutmut_2(value):
    return 0

def x_text__mutmut_3(value=1):
    if value:
        return 0

class Journal:
    async def xǁJournalǁread__mutmut_orig(self):
        return a(
            b,
            c,
        )

    async def xǁJournalǁread__mutmut_1(self):
        return a(
            b,
        )
"""


def test_a_mutant_is_known_by_its_function_and_by_what_became_of_its_line() -> None:
    assert told(MUTATED) == {
        "x_text__mutmut_1": "text: return 1",
        "x_text__mutmut_2": "text: without if value:",
        "x_text__mutmut_3": "text: def (value=1):",
        "xǁJournalǁread__mutmut_1": "Journal.read: without c,",
    }


ALIKE = """
def x_other__mutmut_orig(a):
    log(
        a,
        a,
    )

def x_other__mutmut_1(a):
    log(
        a,
    )

def x_other__mutmut_2(a):
    log(
        a,
    )

def x_other__mutmut_3(a):
    log(
        a,
    )
"""


def test_mutants_that_look_alike_are_told_apart_by_a_number() -> None:
    assert [*told(ALIKE).values()] == ["other: without a,", "other: without a, (2)", "other: without a, (3)"]


@pytest.mark.parametrize(
    ("survivors", "surprises"),
    [
        ({"text: return 1", "text: return 2"}, []),
        ({"text: return 1"}, ["is listed, and does not survive: text: return 2"]),
        ({"text: return 1", "text: return 2", "x: y"}, ["survives, and is not listed: x: y"]),
    ],
)
def test_what_survives_is_what_is_listed(survivors: set[str], surprises: list[str]) -> None:
    result = Result(Counter({SURVIVED: len(survivors)}), frozenset(survivors), seconds=1.0)
    assert result.surprises(MODULE) == surprises


def test_a_mutant_that_was_not_tried_is_not_taken_for_noticed() -> None:
    result = Result(Counter({KILLED: 5, UNTRIED: 2}), frozenset(MODULE.may_survive["a log line"]), seconds=1.0)
    assert result.surprises(MODULE) == [
        "were not tried: 2 mutants; pytest did not find their tests, or broke off",
    ]
    assert not any(FATES.get(code) for code in (2, 4, 5, 255))


@pytest.mark.parametrize("module", listed(), ids=lambda module: module.name)
def test_the_list_names_modules_and_tests_that_are_there(module: Module) -> None:
    assert (ROOT / module.path).is_file()
    assert module.tests
    assert all((ROOT / path).exists() for path in module.tests)
