"""How far a bulk run is, and when the hour lets more in: by values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.hourly_quota import HourlyQuota
from airflow_provider.yandex_ai_studio.bulk.money import Price
from airflow_provider.yandex_ai_studio.bulk.progress import Progress, metrics_between
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.telemetry import Metric

BEGUN = Progress(rows=1000, done=600, again=0, running=50, failed=3, spent=Usage(3, 2, 5), restored=500, seconds=360.0)


@pytest.mark.parametrize(
    ("progress", "price", "line"),
    [
        (
            BEGUN,
            Price(1000.0, 2000.0, "RUB"),
            "600 of 1000 rows done, 50 running, 3 failed; 5 tokens; 7.00 RUB; 500 rows done before this attempt; "
            "1000 rows an hour, 24 min left",
        ),
        (
            replace(BEGUN, restored=0),
            Price(1000.0, 2000.0, ""),
            "600 of 1000 rows done, 50 running, 3 failed; 5 tokens; 7.00; 6000 rows an hour, 4 min left",
        ),
        (
            replace(BEGUN, done=500),
            None,
            "500 of 1000 rows done, 50 running, 3 failed; 5 tokens; 500 rows done before this attempt",
        ),
        (
            replace(BEGUN, again=20, restored=0, seconds=0.0),
            None,
            "600 of 1000 rows done (20 to be read again with their chunk), 50 running, 3 failed; 5 tokens",
        ),
        (
            replace(BEGUN, restored=0, seconds=0.0),
            None,
            "600 of 1000 rows done, 50 running, 3 failed; 5 tokens",
        ),
    ],
)
def test_the_log_says_how_far_a_run_is(progress: Progress, price: Price | None, line: str) -> None:
    assert progress.line(price) == line


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        *[(0.4, "0 s"), (1, "1 s"), (30, "30 s"), (31, "1 min"), (89, "1 min"), (91, "2 min"), (119 * 60, "119 min")],
        *[(120 * 60, "2 h 0 min"), (121 * 60, "2 h 1 min"), (179 * 60, "2 h 59 min"), (25.5 * 3600, "25 h 30 min")],
    ],
)
def test_what_is_left_is_said_in_the_unit_that_fits(seconds: float, left: str) -> None:
    half = replace(BEGUN, rows=2, done=1, restored=0, seconds=seconds)
    assert half.line(None).rpartition(", ")[2] == f"{left} left"


def test_monitoring_is_told_what_came_between_two_moments() -> None:
    before = Tally((1, 2, 3, 4, 5, 6), Usage(10, 20, 30), 100)
    after = Tally((11, 22, 34, 48, 65, 9), Usage(110, 220, 330), 107)
    assert metrics_between(before, after) == (
        Metric("submitted", 7),
        Metric("succeeded", 10),
        Metric("failed", 20, reason="error"),
        Metric("failed", 31, reason="invalid_output"),
        Metric("failed", 44, reason="expired"),
        Metric("failed", 60, reason="cancelled"),
        Metric("tokens.input", 100),
        Metric("tokens.output", 200),
    )


def test_submissions_are_kept_by_the_minute_until_the_minute_has_left_the_hour() -> None:
    hour = HourlyQuota()
    for now, count in ((600.0, 2), (659.9, 3), (660.0, 5)):
        hour.submitted(now, count)
    assert hour.value(660.0) == {"10": 5, "11": 5}
    assert hour.value(4259.9) == {"10": 5, "11": 5}
    assert hour.value(4260.0) == {"11": 5}
    assert hour.value(4320.0) == {}
    assert HourlyQuota({"10": 5}).value(660.0) == {"10": 5}


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (700.0, 1900.0),  # in twenty minutes at the latest: others share the quota
        (3059.0, 4259.0),
        (3061.0, 4260.0),  # the oldest minute has left the hour by then
        (4100.0, 4260.0),
        (4200.0, 4260.0),
        (4230.0, 4320.0),
        (4500.0, 4560.0),  # in a minute at the earliest: nothing of this run is in the hour
    ],
)
def test_the_hour_is_tried_again_when_its_oldest_minute_has_left_it(now: float, opens: float) -> None:
    hour = HourlyQuota({"10": 2, "11": 3} if now < 4230.0 else {"11": 3})
    assert hour.opens_at(now) == opens
