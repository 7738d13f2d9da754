"""Where a run of a lane begins and ends, and what it stores when it is done.

`live` moves the watermark. `backfill:<from>..<to>` reads a range once, beside it: it never moves the watermark, gives
way to a live run between batches, and takes its read order *before* a snapshot opens where live takes it after. So a
backfill's record replaces a live one only when its snapshot is certainly the newer of the two. What is left undecided
goes to the live record, and nothing is lost by that: a version that the live snapshot did not see yet is seen by the
next live run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, timedelta

from connector.config.resolved import Stream
from connector.errors import ConfigError, StreamStopped
from connector.model import LIVE, Bound, Kind, OpenPull, Watermark
from connector.source import horizon
from connector.source.layout import Layout
from connector.source.reader import Reader

ROWS_WITHOUT_START = 10_000_000
"""A first pull that is expected to read more than this has to be wanted: `start` must be set."""


@dataclass(frozen=True, slots=True)
class Range:
    """A backfill's range of watermark values, both ends included; None leaves an end open."""

    from_: str | None = None
    to: str | None = None

    @property
    def lane(self) -> str:
        return f"backfill:{self.from_ or ''}..{self.to or ''}"

    @staticmethod
    def of(lane: str) -> Range | None:
        """Read a lane's name back; None for the live lane."""
        if lane == LIVE:
            return None
        first, _, last = lane.removeprefix("backfill:").partition("..")
        return Range(first or None, last or None)


def resume(stored: OpenPull | None, layout: Layout) -> OpenPull | None:
    """Return an open pull to go on with, or None when there is none or its columns have changed since."""
    if stored is None or stored.keyset != layout.keyset or stored.opened.basis != layout.basis:
        return None
    return replace(stored, snapshots=stored.snapshots + 1)


def usable(stored: Watermark | None, layout: Layout) -> Watermark | None:
    """Return the watermark unless its marks are values of another column or relation."""
    return stored if stored is not None and stored.basis == layout.basis else None


def begin_live(reader: Reader, stream: Stream, stored: Watermark | None, *, new: bool) -> tuple[OpenPull, bool]:
    """Open the first snapshot of a live pull; True when the stream starts here and nothing is to be read.

    `new` tells a stream that was never pulled from one whose marks have become useless: that one is read from its
    beginning even with `start: now`, since what changed since its last pull is not known.
    """
    layout = reader.layout
    lower = horizon.lower_bound(stored, layout.window)
    if lower is None and stream.start not in (None, "beginning", "now"):
        lower = Bound(checked(str(stream.start), reader))
    opening = reader.opening(lower)
    opened = reader.conclude(stored, opening, lower)
    upper = None if opening.furthest is None else Bound(opening.furthest)
    open_pull = OpenPull(opened, lower, upper, keyset=layout.keyset)
    if new and stream.start == "now":
        return open_pull, True
    if new and stream.start is None:
        expected = reader.estimate(open_pull)
        if expected is not None and expected > ROWS_WITHOUT_START:
            raise ConfigError(
                f"a first pull would read about {expected:,} rows, and the stream does not say where to start",
                remedy="Set start: beginning, now, or a value of the watermark column",
            )
    return open_pull, False


def begin_backfill(reader: Reader, range_: Range) -> OpenPull:
    """Open the first snapshot of a backfill; an open end stops at what that snapshot holds."""
    layout = reader.layout
    lower = None if range_.from_ is None else Bound(checked(range_.from_, reader))
    opened = reader.conclude(None, reader.opening(lower), lower)
    newest = opened.marks.time or opened.marks.id
    upper = None if newest is None else Bound(newest)
    if range_.to is not None:
        upper = _last(range_.to, reader)
    return OpenPull(opened, lower, upper, keyset=layout.keyset)


def reads_nulls(stream: Stream, layout: Layout, range_: Range | None) -> bool:
    """Say whether the pass over NULL watermarks belongs to this run."""
    bounded = range_ is not None and (range_.from_ is not None or range_.to is not None)
    return stream.null_watermarks == "read" and layout.watermark_nullable and not bounded


def refuse_nulls(stream: Stream, reader: Reader) -> None:
    """Raise StreamStopped when the stream's policy refuses NULL watermarks and the source holds one."""
    if stream.null_watermarks == "refuse" and reader.layout.watermark_nullable and reader.has_null_watermark():
        raise StreamStopped(
            f"rows without a value in watermark column {reader.layout.watermark.name} exist",
            remedy="Have them filled in, or set null_watermarks to read or skip",
        )


def _last(value: str, reader: Reader) -> Bound:
    """Return a range's last value as its upper end; a day given for a column of finer time is meant to its end."""
    window = reader.layout.window
    stamp = horizon.read_stamp(value, window) if window.column.kind.temporal else None
    if stamp is None or stamp.unit_us < horizon.DAY_US or window.column.kind is Kind.DATE:
        return Bound(checked(value, reader))
    return Bound(checked((date.fromisoformat(value[:10]) + timedelta(days=1)).isoformat(), reader), inclusive=False)


def checked(value: str, reader: Reader) -> str:
    """Return a value that a person wrote for the watermark column as the column holds it; ConfigError if it can't be.

    A time with an offset is moved into the column's own zone; one without means that zone already.
    """
    column, window = reader.layout.watermark, reader.layout.window
    if column.kind.temporal:
        stamp = horizon.read_stamp(value, window)
        if stamp is None:
            raise ConfigError(
                f"the value given for {column.name} is no date or time",
                remedy="Write it like 2024-01-31 or 2024-01-31 18:30:00",
            )
        if stamp.suffix:
            return reader.stamp_text(stamp.instant_us, replace(stamp, separator=" ", suffix=""))
        return value[:10] if column.kind is Kind.DATE else value.replace("T", " ")
    wanted = r"-?\d+" if column.kind is Kind.INTEGER else r"-?\d+(\.\d+)?"
    if re.fullmatch(wanted, value) is None:
        raise ConfigError(f"the value given for {column.name} is no such number", remedy="Write it in plain digits")
    return value
