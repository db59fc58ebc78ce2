"""What the author of a task may choose, and what is refused before anything is paid for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.durability.policy import LONGEST, Policy, seconds_of
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(0.5, 0.5), ("90", 90.0), (timedelta(minutes=2), 120.0), (LONGEST, 259_200.0), (259_200, 259_200.0)],
)
def test_a_timeout_is_a_number_of_seconds_or_a_timedelta_up_to_three_days(timeout: Any, seconds: float) -> None:
    assert seconds_of(timeout) == seconds


@pytest.mark.parametrize("timeout", [0, -1, timedelta(0), "soon", None, [60], 259_200.1, float("nan"), 10**400])
def test_no_other_timeout_passes(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="`timeout`"):
        seconds_of(timeout)


def test_a_policy_is_what_its_author_chose() -> None:
    chosen = {"on_unknown_submission": "fail", "on_timeout": "resubmit", "on_clear": "resubmit"}
    assert Policy.of(timeout=60, **chosen) == Policy(60.0, "fail", "resubmit", "resubmit")
    assert Policy.of(timeout=60) == Policy(60.0, "resubmit", "wait", "keep")


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("on_unknown_submission", "resubmit, fail"),
        ("on_timeout", "wait, resubmit, fail"),
        ("on_clear", "keep, resubmit"),
    ],
)
@pytest.mark.parametrize("value", ["ask", "", None])
def test_a_choice_that_there_is_not_is_named_with_those_that_there_are(name: str, allowed: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^Set `{name}` to one of {allowed}: it is '{value}'"):
        Policy.of(timeout=60, **{name: value})
