"""Five-field cron lines, in cron's meaning.

APScheduler 3's `from_crontab` counts weekdays from Monday = 0 where cron counts from Sunday = 0, and it wants both
day of month and day of week to match where cron wants either. So weekday numbers become names here, and a line that
limits both is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from apscheduler.triggers.cron import CronTrigger

CRON_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_ITEM = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/([0-9]+))?")
_LEAP_YEAR = 2024  # has every day that any year has


def cron_line(written: str) -> str:
    """Return the line with weekday names instead of numbers; raise ValueError when it can't run."""
    fields = written.lower().split()
    if len(fields) != 5:
        raise ValueError("must have five fields: minute hour day-of-month month day-of-week")
    minute, hour, day, month, weekday = fields
    if "*" not in (day, weekday):
        raise ValueError("limits both day of month and day of week; leave one of them *")
    weekday = _weekday_names(weekday)
    try:
        trigger = CronTrigger(
            year=_LEAP_YEAR, minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=UTC
        )
    except (ValueError, TypeError):
        raise ValueError("is not a cron line: minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-7") from None
    if trigger.get_next_fire_time(None, datetime(_LEAP_YEAR, 1, 1, tzinfo=UTC)) is None:
        raise ValueError("never comes due: no such date exists")
    return f"{minute} {hour} {day} {month} {weekday}"


def _weekday_names(written: str) -> str:
    if written == "*":
        return written
    days: set[int] = set()
    for item in written.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError("has a day of week that is not 0-7, mon-sun, a range or a list of them")
        star, first, last, step = match.groups()
        low = 0 if star else _weekday(first)
        high = 6 if star or (step and not last) else _weekday(last or first)
        if last and high <= low and high in (0, 7):
            high = 7  # cron's second name of Sunday, so that mon-sun and 5-7 are ranges
        if low > high or step == "0":
            raise ValueError("has a range of weekdays that runs backwards")
        days.update(day % 7 for day in range(low, high + 1, int(step or 1)))
    return ",".join(CRON_DAYS[day] for day in sorted(days))


def _weekday(written: str) -> int:
    if written in CRON_DAYS:
        return CRON_DAYS.index(written)
    if written.isdigit() and int(written) <= 7:
        return int(written)
    raise ValueError("has a day of week that is not 0-7, mon-sun, a range or a list of them")
