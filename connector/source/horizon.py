"""What can still become visible below the newest value, and therefore where the next pull has to begin.

The maximum that a pull saw is no safe place to go on from: a transaction that took its stamp or id earlier may commit
later. So a pull stores *marks*, the next one re-reads from below them, and the ledger drops what was already taken.

This module holds the rules of the level **window**, which every engine can keep: rows that become visible later than
`look_back` after newer ones did are found only at a reconciliation. Exact and bounded levels are the dialects' own.

    mark     M, the newest value at or below the database's clock, read in the pull's first snapshot
    clock    C, the database's clock (UTC) at that snapshot
    seen     the clock when M was first seen at its present value

A mark is *settled* when the window below it has been read after it had closed:

    C - seen >= look_back                          by time passed between two pulls, whatever the stamps mean, or
    C - M    >  look_back and stamps are not skewed   by the stamps themselves

From a settled mark the next pull reads what lies strictly above it: a quiet table costs no row. From another it reads
from `M - look_back` on.

Stamps are *skewed* once a value appears that is new, and yet older than the former pull's clock by more than the
look-back: the column's clock or zone is off, and the second rule above would have closed the window too early. That
pull keeps the former mark, so that the next one reads the window again, and the rule is not used any more.

Values beyond the database's clock (a future date, `infinity`, the year 15000) are delivered but never become a mark.
Integers have no clock: there the window is `look_back_ids` wide and settles by time passed alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from connector.model import Bound, Column, Kind, Level, Marks, Sighting, Watermark

STAMP = re.compile(r"(\d{4}-\d\d-\d\d)(?:([ T])(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d(?::?\d\d)?(?::?\d\d)?)?")
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """How a stream's column is read back: the column, what its naive values mean, and how far to look back."""

    column: Column
    zone: ZoneInfo
    look_back_us: int
    look_back_ids: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """A temporal value: the latest instant it may mean, its resolution, and how it is written."""

    instant_us: int
    unit_us: int
    ambiguous_us: int  # how much earlier it may have been, at the end of summer time
    separator: str
    digits: int
    suffix: str


def micros(moment: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def parse_clock(text: str) -> int:
    """Return microseconds since 1970 from `YYYY-MM-DD HH:MM:SS.ffffff` in UTC."""
    return micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


def read_stamp(text: str, window: Window) -> Stamp | None:
    """Read a database's text of a date or timestamp; None for what no calendar holds (infinity, zero dates)."""
    found = STAMP.fullmatch(text)
    if found is None:
        return None
    day, separator, time, fraction, suffix = found.groups()
    try:
        naive = datetime.fromisoformat(f"{day} {time or '00:00:00'}")
    except ValueError:
        return None
    fraction_us = int((fraction or "").ljust(6, "0")[:6] or 0)
    digits = len(fraction or "")
    unit_us = DAY_US if time is None else max(1, 10 ** (6 - digits)) if digits < 6 else 1
    early = late = naive.replace(tzinfo=UTC)
    if window.column.kind in (Kind.TIMESTAMP, Kind.DATE) and not suffix:
        early, late = naive.replace(tzinfo=window.zone), naive.replace(tzinfo=window.zone, fold=1)
    elif suffix and suffix != "Z":
        early = late = datetime.fromisoformat(f"{naive.isoformat()}{suffix}")
    bounds = sorted((micros(early.astimezone(UTC)), micros(late.astimezone(UTC))))
    return Stamp(
        bounds[1] + fraction_us, unit_us, bounds[1] - bounds[0], separator or " ", min(digits, 6), suffix or ""
    )


def write_stamp(instant_us: int, window: Window, like: Stamp | None) -> str:
    """Write an instant in the column's own terms, rounded down to the resolution of `like`."""
    moment = EPOCH + timedelta(microseconds=instant_us)
    if window.column.kind in (Kind.TIMESTAMP, Kind.DATE) and not (like and like.suffix):
        moment = moment.astimezone(window.zone)
    elif like and like.suffix not in ("", "Z"):
        moment = moment.astimezone(datetime.fromisoformat(f"2000-01-01 00:00:00{like.suffix}").tzinfo)
    if window.column.kind is Kind.DATE or (like and like.unit_us == DAY_US):
        return moment.strftime("%Y-%m-%d").rjust(10, "0")
    separator, digits, suffix = (like.separator, like.digits, like.suffix) if like else (" ", 6, "")
    text = moment.strftime(f"%Y-%m-%d{separator}%H:%M:%S")
    return text + (f".{moment.microsecond:06d}"[: digits + 1] if digits else "") + suffix


def number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(0)


def is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def beyond(text: str, clock_us: int, window: Window) -> bool:
    """Say whether a value lies past the database's clock, and so must not become a mark."""
    if not window.column.kind.temporal:
        return False
    stamp = read_stamp(text, window)
    if stamp is None:
        return not text.startswith(("-", "0000")) and not text.endswith("BC")
    return stamp.instant_us - stamp.ambiguous_us > clock_us


def lower_bound(watermark: Watermark | None, window: Window) -> Bound | None:
    """Return where the next pull has to begin; None when nothing has been seen yet."""
    mark = None if watermark is None else watermark.marks.time or watermark.marks.id
    if watermark is None or mark is None or watermark.sighting is None:
        return None
    sighting = watermark.sighting
    settled = sighting.clock_us - sighting.seen_us >= window.look_back_us
    if not window.column.kind.temporal:
        if settled:
            return Bound(mark, inclusive=False)
        return Bound(format(number(mark) - window.look_back_ids, "f"))
    stamp = read_stamp(mark, window)
    if stamp is None:
        return Bound(mark)
    closed_us = stamp.instant_us + stamp.unit_us + window.look_back_us
    if settled or (not sighting.skewed and closed_us < sighting.clock_us):
        return Bound(mark, inclusive=False)
    return Bound(write_stamp(stamp.instant_us - stamp.ambiguous_us - window.look_back_us, window, stamp))


def conclude(
    previous: Watermark | None, newest: str | None, clock_us: int, window: Window, *, basis: str, by: str
) -> Watermark:
    """Return the marks of a pull whose first snapshot opened at `clock_us` and saw `newest` at or below that clock."""
    mark = None if previous is None else previous.marks.time or previous.marks.id
    sighting = None if previous is None else previous.sighting
    seen_us, skewed = clock_us, bool(sighting and sighting.skewed)
    if mark is None or sighting is None:
        mark = newest
    elif newest is not None and _later(newest, mark, window):
        if not skewed and _appeared_late(mark, newest, sighting, window):
            skewed = True
        else:
            mark = newest
    else:
        seen_us = sighting.seen_us
    marks = Marks(id=mark) if by == "id" else Marks(time=mark)
    return Watermark(Level.WINDOW, marks, sighting=Sighting(clock_us, seen_us, skewed), basis=basis)


def _later(left: str, right: str, window: Window) -> bool:
    if not window.column.kind.temporal:
        return number(left) > number(right)
    one, other = read_stamp(left, window), read_stamp(right, window)
    if one is None or other is None:
        return left > right
    return one.instant_us > other.instant_us


def _appeared_late(mark: str, newest: str, sighting: Sighting, window: Window) -> bool:
    """Say whether `newest` came after the former pull and is yet stamped more than a look-back before it."""
    if not window.column.kind.temporal:
        return False
    former, stamp = read_stamp(mark, window), read_stamp(newest, window)
    if former is None or stamp is None:
        return False
    by_stamps = former.instant_us + former.unit_us + window.look_back_us < sighting.clock_us
    return by_stamps and stamp.instant_us + stamp.unit_us + window.look_back_us < sighting.clock_us
