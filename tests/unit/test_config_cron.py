"""Cron lines mean here what they mean to cron, not what APScheduler makes of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from apscheduler.triggers.cron import CronTrigger

from connector.config.cron import cron_line

SUNDAY = datetime(2026, 11, 1, tzinfo=UTC)


def days(line: str) -> set[int]:
    """Return the days of a week that begins on a Sunday on which the line comes due; 0 is Sunday."""
    trigger = CronTrigger.from_crontab(cron_line(line), timezone=UTC)
    found: set[int] = set()
    due = trigger.get_next_fire_time(None, SUNDAY)
    while due is not None and (due - SUNDAY).days < 7:
        found.add((due - SUNDAY).days)
        due = trigger.get_next_fire_time(due, due.replace(hour=23))
    return found


@pytest.mark.parametrize(
    "weekday, expected",
    [
        ("*", {0, 1, 2, 3, 4, 5, 6}),
        ("0", {0}),
        ("7", {0}),
        ("1", {1}),
        ("1-5", {1, 2, 3, 4, 5}),
        ("5-7", {0, 5, 6}),
        ("6-7", {0, 6}),
        ("0-7", {0, 1, 2, 3, 4, 5, 6}),
        ("MON-FRI", {1, 2, 3, 4, 5}),
        ("mon-sun", {0, 1, 2, 3, 4, 5, 6}),
        ("sat,sun", {0, 6}),
        ("*/2", {0, 2, 4, 6}),
        ("1-5/2", {1, 3, 5}),
        ("1/3", {1, 4}),
    ],
)
def test_weekdays_count_from_sunday(weekday: str, expected: set[int]) -> None:
    assert days(f"0 3 * * {weekday}") == expected


@pytest.mark.parametrize(
    "line, why",
    [
        ("0 3 * *", "five fields"),
        ("0 3 * * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 3 * * *", "not a cron line"),
        ("0 3 * * 8", "day of week"),
        ("0 3 * * 5-2", "backwards"),
        ("0 3 * * 0-0/0", "backwards"),
        ("0 3 1 * 1", "limits both"),
        ("0 3 31 2 *", "never comes due"),
        ("a b c d *", "not a cron line"),
    ],
)
def test_lines_that_cannot_run_are_refused(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        cron_line(line)


def test_a_leap_day_is_a_date() -> None:
    assert cron_line("0 3 29 2 *") == "0 3 29 2 *"
