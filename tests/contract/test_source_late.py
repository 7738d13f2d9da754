"""What becomes visible late, what is stamped wrong, and what no calendar holds."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connector.model import Counters
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, ago, at, stamp

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"
NOON = datetime.fromisoformat("2024-06-01 12:00:00")


def test_rows_inside_of_the_look_back_are_read_again_and_counted_unchanged(client: Pulling) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    client.insert((1, "old", ago(3600)), (2, "recent", ago(600)), (3, "newest", ago(60)))
    client.succeed()
    assert client.succeed().counters == Counters(read=2, unchanged=2, batches=1)


def test_the_look_back_closes_with_time_and_then_costs_nothing(client: Pulling) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    client.insert((1, "a", stamp(NOON - timedelta(minutes=5))))
    reads = []
    for minutes in (0, 10, 20, 30):
        client.clock(NOON + timedelta(minutes=minutes))
        reads.append(client.succeed().counters.read)
    assert reads[:2] == [1, 1]
    assert reads[-1] == 0


@needs("transactions")
def test_a_row_committed_late_is_delivered(client: Pulling) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    client.insert((1, "early", ago(300)))
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (2, 'late', '{ago(200)}')")
        client.insert((3, "newest", ago(100)))
        client.succeed()
        assert set(client.final()) == {"1", "3"}
    client.succeed()
    assert client.final() == client.expected()


@needs("transactions")
def test_an_update_committed_late_is_delivered(client: Pulling) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    client.insert((1, "a", at(1)), (2, "b", at(2)))
    client.succeed()
    with client.database.transaction() as write:
        write(f"UPDATE t SET v = 'late', updated_at = '{ago(200)}' WHERE id = 1")
        client.insert((3, "newest", ago(100)))
        client.succeed()
    client.succeed()
    assert client.final() == client.expected()


@needs("transactions")
def test_an_id_committed_late_is_delivered(client: Pulling) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    client.configure(by="id", watermark_column="id", look_back_ids=50)
    with client.database.transaction() as write:
        write("INSERT INTO t VALUES (60, 'late', NULL)")
        client.insert(*((i, "v", None) for i in range(61, 100)))
        client.succeed()
    client.succeed()
    assert client.final() == client.expected()


def test_a_lower_id_of_a_range_reserved_early_is_delivered_within_the_look_back(client: Pulling) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    client.configure(by="id", watermark_column="id", look_back_ids=50)
    client.insert((100, "high", None))
    client.succeed()
    client.insert((55, "low", None))
    client.succeed()
    assert client.final() == client.expected()


@pytest.mark.parametrize("hours, every_h", [(3, 0.25), (1, 1), (3, 6), (12, 24)])
def test_stamps_hours_behind_the_clock_lose_nothing(client: Pulling, hours: float, every_h: float) -> None:
    """A writer in another zone: each pull is followed by a commit that was open while it read."""
    client.execute(TABLE)
    client.at_the_window_level()
    now, number = NOON, 0
    for _ in range(5):
        now += timedelta(hours=every_h)
        behind = now - timedelta(hours=hours)
        client.insert((number, "in time", stamp(behind - timedelta(seconds=30))))
        client.insert((number + 1, "in time", stamp(behind - timedelta(seconds=1))))
        client.clock(now)
        client.succeed()
        client.insert((number + 2, "late", stamp(behind - timedelta(seconds=20))))
        number += 3
    for _ in range(3):
        now += timedelta(hours=every_h)
        client.clock(now)
        client.succeed()
    assert client.final() == client.expected()


@pytest.mark.parametrize("hours", [1, 6])
def test_stamps_hours_ahead_of_the_clock_lose_nothing(client: Pulling, hours: int) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    now = NOON
    for number in range(0, 24, 3):
        now += timedelta(minutes=20)
        ahead = now + timedelta(hours=hours)
        client.insert((number, "in time", stamp(ahead - timedelta(seconds=30))))
        client.insert((number + 1, "in time", stamp(ahead - timedelta(seconds=1))))
        client.clock(now)
        client.succeed()
        client.insert((number + 2, "late", stamp(ahead - timedelta(seconds=20))))
    client.clock(now + timedelta(minutes=1))
    client.succeed()
    assert client.final() == client.expected()


def test_a_future_date_is_delivered_and_never_becomes_the_mark(client: Pulling) -> None:
    client.execute(TABLE)
    newest = ago(60)
    client.insert((1, "a", newest), (2, "future", "2999-01-01 00:00:00"), (3, "sentinel", "9999-12-31 23:59:59"))
    client.succeed()
    assert client.final() == client.expected()
    assert client.mark() is not None
    assert str(client.mark())[:19] == newest[:19]
    client.insert((4, "later", ago(1)))
    client.succeed()
    assert client.final() == client.expected()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_the_ends_of_the_calendar_are_delivered_in_any_time_zone(client: Pulling, zone: str) -> None:
    client.execute(TABLE)
    client.configure(time_zone=zone)
    client.insert((1, "first", "1000-01-01 00:00:00"), (2, "last", "9999-12-31 23:59:59"))
    client.succeed()
    assert client.final() == client.expected()
    client.insert((3, "now", ago(86_400)))
    client.succeed()
    assert client.final() == client.expected()


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@needs("infinity")
def test_infinity_and_years_beyond_the_calendar_are_delivered(client: Pulling, zone: str) -> None:
    client.execute(TABLE)
    client.configure(time_zone=zone)
    odd = ("infinity", "-infinity", "15000-01-01 00:00:00", "0044-03-15 00:00:00 BC", "0001-01-01 00:00:00")
    client.insert(*((i, value, value) for i, value in enumerate(odd)))
    client.succeed()
    assert client.final() == client.expected()
    client.insert((10, "now", ago(86_400)))
    client.succeed()
    client.succeed()
    assert client.final() == client.expected()
    assert str(client.mark()) < "2999"


@needs("zero_dates")
def test_zero_dates_are_delivered_and_don_t_hold_the_mark(client: Pulling) -> None:
    zeros = ("0000-00-00 00:00:00", "2024-00-10 00:00:00", "2024-02-31 00:00:00")
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40), updated_at DATETIME NOT NULL)")
    for number, value in enumerate(zeros):
        client.execute(f"SET SESSION sql_mode = 'ALLOW_INVALID_DATES'; INSERT INTO t VALUES ({number}, 'z', '{value}')")
        client.succeed()
        assert client.final() == client.expected()
    client.insert((10, "now", ago(86_400)[:19]))
    client.succeed()
    client.insert((11, "now", ago(60)[:19]))
    client.succeed()
    assert client.final() == client.expected()


def test_an_autumn_night_of_a_local_clock_loses_nothing(client: Pulling) -> None:
    """In Kyiv on 27 October 2024 the hour from 03:00 comes twice; the column holds wall time only."""
    client.execute(TABLE)
    client.at_the_window_level()
    client.configure(time_zone="Europe/Kyiv", look_back_s=300.0)
    instant = datetime.fromisoformat("2024-10-26 23:30:00")
    for minute in range(0, 180, 11):
        now = instant + timedelta(minutes=minute)
        offset = 3 if now < datetime.fromisoformat("2024-10-27 01:00:00") else 2
        client.insert((minute, "v", stamp(now - timedelta(seconds=5) + timedelta(hours=offset))))
        client.clock(now)
        client.succeed()
    client.succeed()
    assert client.final() == client.expected()


def test_a_spring_night_of_a_local_clock_loses_nothing(client: Pulling) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    client.configure(time_zone="Europe/Kyiv", look_back_s=300.0)
    instant = datetime.fromisoformat("2024-03-31 00:00:00")
    for minute in range(0, 120, 11):
        now = instant + timedelta(minutes=minute)
        offset = 2 if now < datetime.fromisoformat("2024-03-31 01:00:00") else 3
        client.insert((minute, "v", stamp(now - timedelta(seconds=5) + timedelta(hours=offset))))
        client.clock(now)
        client.succeed()
    client.succeed()
    assert client.final() == client.expected()


def test_a_pull_that_looks_back_over_a_local_clock_finds_a_late_row(client: Pulling) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    client.configure(time_zone="Europe/Kyiv")
    kyiv = timedelta(hours=3)
    client.clock(NOON)
    client.insert((1, "a", stamp(NOON + kyiv - timedelta(minutes=1))))
    client.succeed()
    client.insert((2, "late", stamp(NOON + kyiv - timedelta(minutes=10))))
    client.clock(NOON + timedelta(hours=6))
    client.succeed()
    assert client.final() == client.expected()
