"""The rules of the level **window**, which every engine can keep, and how stamps are read and written.

Rows that become visible later than `look_back` after they were stamped are found only at a reconciliation. The level
bounded keeps the same rules with its slack for a look-back, and adds what it knows of writers in flight: `horizon.py`.

    mark     M, the newest value at or below the database's clock, read in a pull's first snapshot
    clock    C, the database's clock (UTC) at that snapshot
    seen     the clock when M was first seen at its present value
    read     the clock when the window below M was last read
    lag      the least C - M of all pulls: stamps are never further behind the database's clock than that

The next pull reads from `M - look_back` on, unless the window is closed; then it reads what lies strictly above M, and
a quiet table costs no row. A window is closed

  * by time:    read - seen >= look_back. Whatever the stamps mean, it was read after it could still fill;
  * by stamps:  read - M > look_back + lag, of which at most 27 hours count: no wrong zone explains more;
  * for now:    read - M > look_back while M is the first mark ever, so that an old table is not read again at once. It
                is read once more when it has closed by time; and should newer values appear before and not disprove
                the lag, the mark is held, so that the next pull reads from below it.

Naive stamps repeat an hour when summer time ends: the window then reaches back over that hour, and closes that much
later. A coarse unit (a DATE) closes only when the unit is over. Values beyond the database's clock (a future date,
`infinity`, the year 15000) are delivered but never become a mark. Integers have no clock: there the window is
`look_back_ids` wide and closes by time alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation, localcontext
from zoneinfo import ZoneInfo

from connector.model import Bound, Column, Kind, Level, Marks, Sighting, Watermark

STAMP = re.compile(r"(\d{4}-\d\d-\d\d)(?:([ T])(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d(?::?\d\d)?(?::?\d\d)?)?")
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
ZONES_US = 27 * HOUR_US
"""Two zones lie at most 26 hours apart, and summer time may add one."""
LOWEST_INTEGER = -(2**63)
"""No engine keeps a lower whole number, and some refuse to compare with one."""
WIDEST_NUMBER = 2_000
"""Digits to reckon with: more than any engine's numbers have, so that nothing is rounded."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """How a stream's column is read back: the column, what its naive values mean, and how far to look back.

    `slack_us` is the look-back where writers in flight can be seen: the longest time from a stamp to its first write.
    """

    column: Column
    zone: ZoneInfo
    look_back_us: int
    look_back_ids: int
    slack_us: int = 0


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
    day, _, time, *_ = found.groups()
    try:
        naive = datetime.fromisoformat(f"{day} {time or '00:00:00'}")
        return _stamp(naive, found.groups(), window)
    except (ValueError, OverflowError):  # no such day; or one at an end of the calendar, moved over it by its zone
        return None


def _stamp(naive: datetime, parts: tuple[str | None, ...], window: Window) -> Stamp:
    _, separator, time, fraction, suffix = parts
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
        return moment.date().isoformat()
    separator, digits, suffix = (like.separator, like.digits, like.suffix) if like else (" ", 6, "")
    text = moment.replace(tzinfo=None).isoformat(separator, "seconds")
    return text + (f".{moment.microsecond:06d}"[: digits + 1] if digits else "") + suffix


def number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(0)


def beyond(text: str, clock_us: int, window: Window) -> bool:
    """Say whether a value lies past the database's clock, or past all numbers, and so must not become a mark."""
    if not window.column.kind.temporal:
        return not number(text).is_finite()
    stamp = read_stamp(text, window)
    if stamp is None:
        return not (text.startswith(("-", "0")) or text.endswith("BC"))  # -infinity, zero dates, year 1, BC
    return stamp.instant_us - stamp.ambiguous_us > clock_us


def just_seen(watermark: Watermark) -> Sighting | None:
    """Return a sighting by which the window below the mark is still open."""
    sighting = watermark.sighting
    return None if sighting is None else replace(sighting, seen_us=sighting.read_us, lag_us=ZONES_US, first=False)


def owed_us(watermark: Watermark, window: Window) -> int | None:
    """Return the instant that a window reaches back to which is closed only for now; None when there is none."""
    mark = watermark.marks.newest
    if mark is None or watermark.sighting is None or _closed(mark, watermark.sighting, window) != "for now":
        return None
    bound = lower_bound(replace(watermark, sighting=just_seen(watermark)), window)
    stamp = None if bound is None else read_stamp(bound.value, window)
    return None if stamp is None else stamp.instant_us - stamp.ambiguous_us


def lower_bound(watermark: Watermark | None, window: Window) -> Bound | None:
    """Return where the next pull has to begin; None when nothing has been seen yet."""
    mark = None if watermark is None else watermark.marks.newest
    if watermark is None or mark is None or watermark.sighting is None:
        return None
    if _closed(mark, watermark.sighting, window) is not None:
        return Bound(mark, inclusive=False)
    if not window.column.kind.temporal:
        with localcontext(prec=WIDEST_NUMBER):
            earlier = number(mark) - window.look_back_ids
            if window.column.kind is Kind.INTEGER:
                earlier = max(earlier, Decimal(LOWEST_INTEGER))
            return Bound(format(earlier, "f"))
    stamp = read_stamp(mark, window)
    if stamp is None:
        return Bound(mark)
    earliest_us = stamp.instant_us - stamp.ambiguous_us - window.look_back_us
    try:
        return Bound(write_stamp(earliest_us - fold_us(earliest_us, window), window, stamp))
    except OverflowError:  # at the beginning of the calendar nothing lies further back
        return Bound(mark)


def conclude(
    previous: Watermark | None,
    newest: str | None,
    clock_us: int,
    window: Window,
    *,
    lower: Bound | None,
    basis: str,
    by: str,
) -> Watermark:
    """Return the marks of a pull that began at `lower`, and whose first snapshot saw `newest` at `clock_us`."""
    mark = None if previous is None else previous.marks.newest
    former = None if previous is None else previous.sighting
    lag_us = _lag_us(newest, clock_us, window)
    if mark is None or former is None:
        return _watermark(newest, Sighting(clock_us, clock_us, clock_us, lag_us, first=True), basis, by)
    former = replace(former, lag_us=min(former.lag_us, lag_us))
    if newest is None or not later(newest, mark, window):
        reread = lower is None or lower.inclusive
        read_us = clock_us if reread else former.read_us
        return _watermark(mark, replace(former, clock_us=clock_us, read_us=read_us), basis, by)
    seen = replace(former, clock_us=clock_us, seen_us=clock_us, first=False)
    if _closed(mark, former, window) == "for now":
        return _watermark(mark, seen, basis, by)
    return _watermark(newest, replace(seen, read_us=clock_us), basis, by)


def _closed(mark: str, sighting: Sighting, window: Window) -> str | None:
    """Say by what the window below a mark is closed: "time", "stamps" or "for now"; None when it is open."""
    stamp = read_stamp(mark, window) if window.column.kind.temporal else None
    needed_us = window.look_back_us
    if stamp is not None:
        needed_us += stamp.unit_us + max(stamp.ambiguous_us, fold_us(stamp.instant_us - window.look_back_us, window))
    if sighting.read_us - sighting.seen_us >= needed_us:
        return "time"
    if stamp is None:
        return None
    over_us = sighting.read_us - (stamp.instant_us + stamp.unit_us) - window.look_back_us
    if over_us > min(sighting.lag_us, ZONES_US):
        return "stamps"
    return "for now" if over_us > 0 and sighting.first and sighting.clock_us - sighting.seen_us < needed_us else None


def _lag_us(value: str | None, clock_us: int, window: Window) -> int:
    """Return how far a newest value lies behind the clock at most; numbers say nothing of clocks."""
    stamp = None if value is None or not window.column.kind.temporal else read_stamp(value, window)
    return ZONES_US if stamp is None else clock_us - (stamp.instant_us - stamp.ambiguous_us)


def fold_us(instant_us: int, window: Window) -> int:
    """Return by how much naive local clocks go back in the hours after an instant: an hour when summer time ends."""
    if window.column.kind not in (Kind.TIMESTAMP, Kind.DATE):
        return 0
    try:
        moments = [EPOCH + timedelta(microseconds=instant_us + hours * HOUR_US) for hours in range(4)]
        offsets = [moment.astimezone(window.zone).utcoffset() or timedelta() for moment in moments]
    except OverflowError:  # no clocks go back at the ends of the calendar
        return 0
    return max(0, (offsets[0] - min(offsets)) // timedelta(microseconds=1))


def _watermark(mark: str | None, sighting: Sighting, basis: str, by: str) -> Watermark:
    marks = Marks(id=mark) if by == "id" else Marks(time=mark)
    return Watermark(Level.WINDOW, marks, sighting=sighting, basis=basis)


def later(left: str, right: str, window: Window) -> bool:
    if not window.column.kind.temporal:
        return number(left) > number(right)
    one, other = read_stamp(left, window), read_stamp(right, window)
    if one is None or other is None:
        return left > right
    return one.instant_us > other.instant_us
