"""The rules of the window, one by one. `tests/property/test_window.py` holds their sum against simulated writers."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from connector.model import Bound, Column, Kind, Watermark
from connector.source.window import (
    Window,
    beyond,
    conclude,
    lower_bound,
    parse_clock,
    read_stamp,
    write_stamp,
)

MINUTE_US = 60_000_000


def window(kind: Kind = Kind.TIMESTAMP, zone: str = "UTC", minutes: float = 15) -> Window:
    return Window(Column("u", kind, kind.value), ZoneInfo(zone), round(minutes * MINUTE_US), 100)


def clock(text: str) -> int:
    return parse_clock(f"2024-{text}")


class Stream:
    """Pulls of a stream at given times, each with what it saw as the newest value."""

    def __init__(
        self, kind: Kind = Kind.TIMESTAMP, zone: str = "UTC", minutes: float = 15, by: str = "timestamp"
    ) -> None:
        self.window, self.by = window(kind, zone, minutes), by
        self.stored: Watermark | None = None

    def pull(self, at: str, newest: str | None) -> Bound | None:
        """Return where the pull began."""
        lower = lower_bound(self.stored, self.window)
        self.stored = conclude(self.stored, newest, clock(at), self.window, lower=lower, basis="t", by=self.by)
        return lower

    @property
    def mark(self) -> str | None:
        assert self.stored is not None
        return self.stored.marks.time or self.stored.marks.id


@pytest.mark.parametrize(
    "text, unit_us",
    [
        ("2024-03-01", 86_400_000_000),
        ("2024-03-01 12:00:00", 1_000_000),
        ("2024-03-01T12:00:00", 1_000_000),
        ("2024-03-01 12:00:00.5", 100_000),
        ("2024-03-01 12:00:00.123456", 1),
        ("2024-03-01 12:00:00.1234567", 1),
        ("2024-03-01 12:00:00Z", 1_000_000),
        ("2024-03-01 12:00:00+00", 1_000_000),
        ("2024-03-01 12:00:00+05:30", 1_000_000),
    ],
)
def test_a_stamp_knows_its_unit_and_is_written_back_as_it_came(text: str, unit_us: int) -> None:
    found = read_stamp(text, window())
    assert found is not None
    assert found.unit_us == unit_us
    assert write_stamp(found.instant_us, window(), found) == text.replace("1234567", "123456")


@pytest.mark.parametrize(
    "text",
    ["infinity", "-infinity", "15000-01-01 00:00:00", "0044-03-15 00:00:00 BC", "0000-00-00", "2024-02-30", "soon", ""],
)
def test_what_no_calendar_holds_is_no_stamp(text: str) -> None:
    assert read_stamp(text, window()) is None


@pytest.mark.parametrize("text", ["0001-01-01 00:00:00", "9999-12-31 23:59:59", "9999-12-31", "0001-01-01"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Europe/Kyiv", "UTC"])
def test_the_ends_of_the_calendar_break_nothing(text: str, zone: str) -> None:
    for kind in (Kind.TIMESTAMP, Kind.DATE):
        stream = Stream(kind, zone)
        assert beyond(text, clock("03-01 12:00:00"), window(kind, zone)) == text.startswith("9")
        for _ in range(3):
            stream.pull("03-01 12:00:00", text)


@pytest.mark.parametrize("text", ["infinity", "15000-01-01", "2024-03-01 12:00:01", "2999-01-01"])
def test_a_value_past_the_clock_is_beyond_it(text: str) -> None:
    assert beyond(text, clock("03-01 12:00:00"), window())


@pytest.mark.parametrize(
    "text", ["-infinity", "0000-00-00 00:00:00", "0044-03-15 BC", "2024-03-01 12:00:00", "2001-01-01"]
)
def test_a_value_up_to_the_clock_is_not_beyond_it(text: str) -> None:
    assert not beyond(text, clock("03-01 12:00:00"), window())


def test_numbers_are_never_beyond_a_clock() -> None:
    assert not beyond(str(10**30), 0, window(Kind.INTEGER))


def test_a_stream_that_saw_nothing_begins_at_the_beginning() -> None:
    stream = Stream()
    assert stream.pull("03-01 12:00:00", None) is None
    assert stream.pull("03-01 13:00:00", None) is None
    assert stream.mark is None


def test_a_recent_mark_is_read_again_from_a_look_back_below_it() -> None:
    stream = Stream()
    stream.pull("03-01 12:00:00", "2024-03-01 11:58:00.500000")
    assert stream.pull("03-01 12:05:00", None) == Bound("2024-03-01 11:43:00.500000")


def test_a_window_read_after_it_closed_costs_nothing() -> None:
    stream = Stream()
    stream.pull("03-01 12:00:00", "2024-03-01 11:58:00")
    stream.pull("03-01 12:20:00", "2024-03-01 11:58:00")
    assert stream.pull("03-01 12:40:00", None) == Bound("2024-03-01 11:58:00", inclusive=False)


def test_a_date_stays_open_until_its_day_is_over() -> None:
    stream = Stream(Kind.DATE)
    for hour in range(8, 24):
        lower = stream.pull(f"03-01 {hour:02d}:00:00", "2024-03-01")
        assert lower is None or (lower.inclusive and lower.value <= "2024-03-01")
    assert stream.pull("03-02 00:10:00", "2024-03-01").inclusive  # type: ignore[union-attr]  # not None: it fails then
    stream.pull("03-03 09:00:00", "2024-03-01")
    assert stream.pull("03-03 10:00:00", "2024-03-01") == Bound("2024-03-01", inclusive=False)


def test_the_boundary_second_stays_open_without_any_look_back() -> None:
    stream = Stream(minutes=0)
    stream.pull("03-01 12:00:05.300000", "2024-03-01 12:00:05")
    lower = stream.pull("03-01 12:00:07", "2024-03-01 12:00:05")
    assert lower == Bound("2024-03-01 12:00:05")


def test_a_naive_mark_is_looked_back_from_in_its_own_zone() -> None:
    stream = Stream(zone="Europe/Kyiv")
    stream.pull("06-01 09:00:00", "2024-06-01 11:59:00")
    assert stream.pull("06-01 09:05:00", None) == Bound("2024-06-01 11:44:00")


def test_a_look_back_over_the_end_of_summer_time_holds_the_hour_that_comes_twice() -> None:
    """27 October 2024, 04:00 in Kyiv: clocks go back to 03:00."""
    stream = Stream(zone="Europe/Kyiv")
    stream.pull("10-27 00:55:00", "2024-10-27 03:50:00")
    lower = stream.pull("10-27 01:15:00", "2024-10-27 03:50:00")
    assert lower is not None
    assert lower.inclusive
    assert lower.value <= "2024-10-27 03:00:00"
    lower = stream.pull("10-27 01:45:00", "2024-10-27 03:50:00")
    assert lower is not None
    assert lower.inclusive
    assert lower.value <= "2024-10-27 03:00:00"


def test_numbers_look_back_by_ids_and_close_by_time() -> None:
    stream = Stream(Kind.INTEGER, by="id")
    stream.pull("03-01 12:00:00", "1000")
    assert stream.pull("03-01 12:20:00", "1000") == Bound("900")
    assert stream.pull("03-01 12:40:00", "1000") == Bound("1000", inclusive=False)


def test_numbers_beyond_every_float_stay_exact() -> None:
    stream = Stream(Kind.DECIMAL, by="id")
    stream.pull("03-01 12:00:00", f"{10**37 + 1}.0001")
    assert stream.pull("03-01 12:01:00", None) == Bound(f"{10**37 - 99}.0001")


def test_a_mark_never_goes_back() -> None:
    stream = Stream()
    stream.pull("03-01 12:00:00", "2024-03-01 11:58:00")
    stream.pull("03-01 12:30:00", "2024-03-01 11:00:00")
    assert stream.mark == "2024-03-01 11:58:00"


@pytest.mark.parametrize("behind_h, every_h", [(1, 1), (3, 6), (6, 6), (12, 24), (2, 1)])
def test_a_zone_hours_off_does_not_close_the_window_on_a_late_row(behind_h: int, every_h: int) -> None:
    """A row committed just after a pull, stamped just below its mark, has to lie above a later pull's beginning."""
    stream = Stream()
    late: list[str] = []
    now = datetime.fromisoformat("2024-03-02 12:00:00")
    for _ in range(6):
        now += timedelta(hours=every_h)
        mark = now - timedelta(hours=behind_h)
        lower = stream.pull(f"{now:%m-%d %H:%M:%S}", str(mark))
        late = [text for text in late if lower is not None and text < lower.value]
        late.append(str(mark - timedelta(minutes=1)))
    for _ in range(2):
        lower = stream.pull("03-20 12:00:00", stream.mark)
        late = [text for text in late if lower is not None and text < lower.value]
    assert not late
