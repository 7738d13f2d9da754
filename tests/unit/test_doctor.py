"""What the newest values of a column say of its time zone, and when they say nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from connector.model import Column, Kind
from connector.source import doctor
from connector.source.doctor import OtherZone
from connector.source.window import Window, micros

NOON = datetime(2024, 6, 1, 12, 0, 17, 400_000, tzinfo=UTC)
MINUTE_US = 60_000_000
POISON = ["infinity", "-infinity", "0000-00-00 00:00:00", "2024-02-31 10:00:00", "15000-01-01 00:00:00", "", "nonsense"]
OFFSETS_MIN = [each // MINUTE_US for each in doctor.OFFSETS_US]
AHEAD_MIN = [each for each in OFFSETS_MIN if each >= 30]
BEHIND_MIN = [each for each in OFFSETS_MIN if each <= -30]


def written(wall: datetime, ages_min: list[float]) -> list[str]:
    """Return stamps of the past as a wall clock writes them, newest first."""
    moments = sorted((wall - timedelta(minutes=age) for age in ages_min), reverse=True)
    return [moment.strftime("%Y-%m-%d %H:%M:%S.%f") for moment in moments]


def at_offset(minutes: float, ages_min: list[float], now: datetime = NOON) -> list[str]:
    return written(now + timedelta(minutes=minutes), ages_min)


def look(texts: list[str], zone: str = "UTC", now: datetime = NOON, kind: Kind = Kind.TIMESTAMP) -> OtherZone | None:
    window = Window(Column("updated_at", kind, kind.value), ZoneInfo(zone), 900_000_000, 100)
    return doctor.other_zone(texts, micros(now), window)


BUSY = [0.1 + index * 0.7 for index in range(100)]
CALM = [0.5, 7, 19, 33, 48, 95, 300]


@pytest.mark.parametrize("minutes", AHEAD_MIN)
@pytest.mark.parametrize("ages", [BUSY, CALM], ids=["busy", "calm"])
def test_every_offset_on_earth_is_named_when_values_lie_ahead(minutes: int, ages: list[float]) -> None:
    found = look(at_offset(minutes, ages))
    assert found is not None
    assert (found.offset_us, found.ahead_us) == (minutes * MINUTE_US, minutes * MINUTE_US)
    assert found.proven


@pytest.mark.parametrize("minutes", BEHIND_MIN)
def test_every_offset_on_earth_is_supposed_when_the_newest_lies_behind_by_it(minutes: int) -> None:
    found = look(at_offset(minutes, CALM))
    assert found is not None
    assert found.offset_us == minutes * MINUTE_US
    assert not found.proven


@pytest.mark.parametrize(
    "minutes, name, hours",
    [(180, "UTC+3", "3"), (330, "UTC+5:30", "5:30"), (345, "UTC+5:45", "5:45"), (-210, "UTC-3:30", "3:30")],
)
def test_an_offset_is_written_as_people_do(minutes: int, name: str, hours: str) -> None:
    found = look(at_offset(minutes, BUSY))
    assert found is not None
    assert (found.name, doctor.hours(found.ahead_us)) == (name, hours)


@pytest.mark.parametrize(
    "configured, actual, name, ahead_h",
    [
        ("Europe/Kyiv", 0, "UTC", -3),
        ("Europe/Kyiv", 330, "UTC+5:30", 2.5),
        ("Asia/Kathmandu", 0, "UTC", -5.75),
        ("America/St_Johns", 0, "UTC", 2.5),
        ("America/New_York", 540, "UTC+9", 13),
        ("Asia/Kolkata", 345, None, 0),  # a quarter of an hour is too little to tell
        ("America/New_York", 780, None, 0),  # and 17 hours are too much
    ],
)
def test_the_offset_is_told_from_utc_and_the_distance_from_the_configured_zone(
    configured: str, actual: int, name: str | None, ahead_h: float
) -> None:
    found = look(at_offset(actual, BUSY), configured)
    assert (found and found.name) == name
    assert found is None or found.ahead_us == ahead_h * 60 * MINUTE_US


@pytest.mark.parametrize("zone", ["UTC", "Europe/Kyiv", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize("ages", [BUSY, CALM, [14.0, 40, 80], []], ids=["busy", "calm", "slow", "empty"])
def test_values_in_the_configured_zone_say_nothing(zone: str, ages: list[float]) -> None:
    assert look(written(NOON.astimezone(ZoneInfo(zone)), ages), zone) is None


@pytest.mark.parametrize("changes_at", ["2024-10-27 01:00:00", "2024-03-31 01:00:00"], ids=["autumn", "spring"])
@pytest.mark.parametrize("every_min", [0.7, 3, 11])
def test_a_night_in_which_the_clocks_change_says_nothing(changes_at: str, every_min: float) -> None:
    change, kyiv = datetime.fromisoformat(changes_at).replace(tzinfo=UTC), ZoneInfo("Europe/Kyiv")
    for minutes in range(-240, 300, 4):
        now = change + timedelta(minutes=minutes, seconds=7)
        moments = [now - timedelta(minutes=0.2 + index * every_min) for index in range(100)]
        walls = [moment.astimezone(kyiv).strftime("%Y-%m-%d %H:%M:%S.%f") for moment in moments]
        assert look(sorted(walls, reverse=True), "Europe/Kyiv", now) is None, now


def test_a_fixed_offset_where_the_client_keeps_summer_time_is_told_in_summer_only() -> None:
    kyiv = ZoneInfo("Europe/Kyiv")
    winter = datetime(2024, 1, 15, 12, 0, 17, tzinfo=UTC)
    assert look(written(winter.astimezone(kyiv), BUSY), "Etc/GMT-2", winter) is None
    summer = look(written(NOON.astimezone(kyiv), BUSY), "Etc/GMT-2")
    assert summer is not None
    assert (summer.name, summer.proven) == ("UTC+3", True)


@pytest.mark.parametrize("hours", [3, 5.2, 14, 24, 24 * 365 * 8])
@pytest.mark.parametrize("times", [1, 2, 30])
def test_a_lone_date_in_the_future_is_no_zone_and_hides_none(hours: float, times: int) -> None:
    lone = (NOON + timedelta(hours=hours, seconds=500)).strftime("%Y-%m-%d %H:%M:%S")
    assert look([lone] * times + at_offset(0, CALM)) is None
    assert look([lone] * times) is None
    found = look([lone] * times + at_offset(120, BUSY))
    assert found is not None
    assert found.name == "UTC+2"


@pytest.mark.parametrize("apart_min", [45, 240, 1440])
def test_plans_spread_over_days_are_no_zone(apart_min: int) -> None:
    plans = at_offset(0, [-apart_min * index for index in range(1, 80)])
    assert look(plans) is None
    assert look(plans[:12] + at_offset(0, BUSY)) is None


def test_a_handful_of_plans_near_each_other_among_others_is_no_zone() -> None:
    plans = at_offset(0, [-1440 * day for day in range(2, 7)]) + at_offset(120, [1, 9, 21, 30])
    assert look(plans + at_offset(0, BUSY)) is None


def test_older_values_at_a_whole_distance_say_nothing_once_a_newer_one_is_right() -> None:
    assert look(at_offset(0, [0.5, 60.4, 62, 70, 88])) is None


def test_a_lone_date_above_a_clock_that_is_somewhat_fast_is_no_zone() -> None:
    assert look(at_offset(0, [-50, *(-3 + 0.3 * index for index in range(90))])) is None


def test_a_quarter_of_an_hour_is_too_little_even_if_the_clock_is_some_seconds_fast() -> None:
    assert look(at_offset(345 + 0.5, BUSY), "Asia/Kolkata") is None


@pytest.mark.parametrize("minutes", [2, 10, 25, 40])
def test_an_application_whose_clock_is_somewhat_fast_is_no_zone(minutes: float) -> None:
    assert look(at_offset(minutes, BUSY)) is None


@pytest.mark.parametrize("age_min", [45, 100, 181.5, 297, 1440, 60 * 24 * 400])
def test_a_quiet_table_is_no_zone(age_min: float) -> None:
    assert look(at_offset(0, [age_min + age for age in CALM])) is None


def test_one_or_two_values_are_too_few() -> None:
    for few in ([0.1], [0.1, 2]):
        assert look(at_offset(180, few)) is None
        assert look(at_offset(-180, few)) is None


def test_many_rows_of_one_moment_are_enough_when_it_is_the_present_one() -> None:
    found = look(at_offset(180, [0.3] * 40))
    assert found is not None
    assert found.name == "UTC+3"
    assert look(at_offset(180, [8] * 40)) is None


def test_values_that_no_calendar_holds_are_passed_over() -> None:
    assert look(POISON) is None
    assert look(POISON + at_offset(0, BUSY)) is None
    found = look(POISON + at_offset(180, BUSY))
    assert found is not None
    assert found.name == "UTC+3"


@pytest.mark.parametrize("suffix", ["Z", "+00:00", "+03:00"])
def test_stamps_with_an_offset_of_their_own_and_other_kinds_say_nothing(suffix: str) -> None:
    assert look([text + suffix for text in at_offset(180, BUSY)]) is None
    assert look(at_offset(180, BUSY), kind=Kind.TIMESTAMPTZ) is None
    assert look([text[:10] for text in at_offset(24 * 60, BUSY)], kind=Kind.DATE) is None
    assert look(["7", "8", "9"], kind=Kind.INTEGER) is None


def test_whole_seconds_and_a_clock_some_seconds_fast_are_told_all_the_same() -> None:
    found = look([text[:19] for text in at_offset(180 + 0.4, BUSY)])
    assert found is not None
    assert found.ahead_us == 180 * MINUTE_US


@pytest.mark.parametrize("apart_s, said_s", [(0, 0), (59, 0), (-59, 0), (61, 61), (-3600, -3600)])
def test_clocks_are_compared_within_a_minute(apart_s: int, said_s: int) -> None:
    us = micros(NOON)
    assert doctor.apart_us(us + apart_s * 1_000_000, us, us) == said_s * 1_000_000


def test_a_slow_answer_is_no_difference_of_clocks() -> None:
    us = micros(NOON)
    assert doctor.apart_us(us + 100_000_000, us, us + 150_000_000) == 0
    assert doctor.apart_us(us + 300_000_000, us, us + 150_000_000) == 150_000_000
