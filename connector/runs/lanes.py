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

import polars as pl

from connector.config.resolved import Stream
from connector.errors import ConfigError, StreamStopped
from connector.model import LIVE, Batch, Bound, Kind, Level, OpenPull, Watermark
from connector.runs.promise import span as spoken
from connector.source import holes, horizon, window
from connector.source.horizon import Opening
from connector.source.layout import WATERMARK, Layout
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


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a live pull begins. `done`: the stream starts here, and nothing is to be read."""

    open_pull: OpenPull
    done: bool = False
    warnings: tuple[str, ...] = ()


def resume(stored: OpenPull | None, reader: Reader) -> OpenPull | None:
    """Return an open pull to go on with, or None when its columns, its server or its row versions are gone."""
    layout, survey = reader.layout, reader.survey
    if stored is None or stored.keyset != layout.keyset or stored.opened.basis != layout.basis:
        return None
    if horizon.other_server(stored.opened, survey) or _went_back(stored.opened, reader):
        return None
    if survey.level.exact or not stored.opened.level.exact:
        return replace(stored, snapshots=stored.snapshots + 1)
    if stored.since is not None:
        return None
    weaker = replace(horizon.without_versions(stored.opened), level=survey.level, why=survey.why)
    return replace(stored, opened=weaker, snapshots=stored.snapshots + 1)


def _went_back(opened: Watermark, reader: Reader) -> bool:
    """Say whether a primary stands before an open pull's first snapshot, as one that was restored does."""
    return not reader.survey.standby and horizon.behind(opened, reader.ceiling())


def begin_live(
    reader: Reader, stream: Stream, stored: Watermark | None, given_up: Watermark | None = None
) -> Beginning:
    """Open the first snapshot of a live pull; `given_up` are the marks of an open pull that can't be gone on with.

    A stream whose marks have become useless is read from its beginning even with `start: now`, since what changed since
    its last pull is not known.
    """
    layout, survey = reader.layout, reader.survey
    known, warnings = _known(stored, reader)
    lower = _lower(known, reader, stream)
    opening = reader.opening(known, lower)
    if known is not None and horizon.behind(known, opening.sight.ceiling) and survey.standby:
        raise horizon.lagging()
    if known is not None and _restored(known, given_up, reader, opening):
        warnings.append("the server was set up anew from an older state: the stream was read from its start")
        known, lower = None, _lower(None, reader, stream)
        reader.measure_from(None)
    reach = horizon.reach(
        known,
        lower,
        survey,
        opening.sight,
        layout.window,
        clock_us=opening.clock_us,
        sweep_us=round(stream.sweep_every_s * 1_000_000),
        spans=reader.spans,
    )
    by_time = reach.since is None and not reach.everything
    opened = reader.conclude(known, opening, reach.lower if by_time else None)
    if known is None or reach.everything:
        opened = horizon.swept(opened, survey, opening.clock_us)
    if known is None:
        opened = replace(opened, start=_start(stream, opened, reader, new=stored is None))
    upper = None if opening.furthest is None else Bound(opening.furthest)
    open_pull = OpenPull(opened, reach.lower, upper, keyset=layout.keyset, since=reach.since)
    open_pull = _by_ids(open_pull, known, reader, stream)
    warnings += [*opening.sight.warnings, *([reach.why] if reach.why else []), *level_changed(stored, opened)]
    done = stored is None and stream.start == "now"
    if stored is None and stream.start is None:
        _require_start(reader, open_pull)
    return Beginning(open_pull, done, tuple(warnings))


def measure(stored: Watermark | None, reader: Reader) -> Watermark | None:
    """Return the marks that lateness is measured against: none where they are values of something else."""
    return _known(stored, reader)[0]


def _known(stored: Watermark | None, reader: Reader) -> tuple[Watermark | None, list[str]]:
    """Return the watermark if its marks are values of this column, relation and server."""
    if stored is None:
        return None, []
    if stored.basis != reader.layout.basis:
        return None, ["the watermark column or its table has changed: the stream was read from its start"]
    other = horizon.other_server(stored, reader.survey)
    if other is not None:
        return None, [f"another server or database answers (its {other} differs): the stream was read from its start"]
    return stored, []


def _lower(known: Watermark | None, reader: Reader, stream: Stream) -> Bound | None:
    lower = horizon.lower_bound(known, reader.layout.window, reader.survey)
    if lower is None and stream.start not in (None, "beginning", "now"):
        return Bound(checked(str(stream.start), reader))
    return lower


def _restored(known: Watermark, given_up: Watermark | None, reader: Reader, opening: Opening) -> bool:
    if any(marks is not None and horizon.behind(marks, opening.sight.ceiling) for marks in (known, given_up)):
        return True
    return horizon.set_up_anew(known, opening.newest, reader.survey, reader.layout.window)


def _start(stream: Stream, opened: Watermark, reader: Reader, *, new: bool) -> str | None:
    """Return the value below which the stream leaves rows out; `now` reaches back over what was just being written."""
    if stream.start in (None, "beginning") or (stream.start == "now" and not new):
        return None
    if stream.start != "now":
        return checked(str(stream.start), reader)
    bound = window.lower_bound(replace(opened, sighting=window.just_seen(opened)), reader.layout.window)
    return None if bound is None else bound.value


def _by_ids(open_pull: OpenPull, known: Watermark | None, reader: Reader, stream: Stream) -> OpenPull:
    """Let a pull by unique ids read what lies above its mark and the holes below, where versions tell no better."""
    opened, layout = open_pull.opened, reader.layout
    if stream.by != "id" or not layout.unique_ids or opened.level.exact or open_pull.since is not None:
        return replace(open_pull, opened=replace(opened, holes=None))
    mark = None if known is None else known.marks.id
    if known is None or known.holes is None or known.sighting is None or mark is None:
        edge = _first_edge(open_pull, layout, new=known is None)
        return replace(open_pull, edge=edge, opened=replace(opened, holes=()))
    wide = horizon.effective(layout.window, known)
    left = holes.alive(known.holes, known.sighting.clock_us, wide.look_back_us)
    lower = Bound(mark, inclusive=False)
    return replace(open_pull, lower=lower, holes=left, edge=int(mark), opened=replace(opened, holes=left))


def _first_edge(open_pull: OpenPull, layout: Layout, *, new: bool) -> int | None:
    """Return the id up to which nothing is looked for; what lies below where a stream starts is left out for good."""
    lower, newest = open_pull.lower, open_pull.opened.marks.id
    below_lower = None if lower is None else int(lower.value) - 1
    if newest is None or (below_lower is not None and not new):
        return below_lower
    below_newest = max(int(newest) - layout.window.look_back_ids, window.LOWEST_INTEGER) - 1
    return below_newest if below_lower is None else max(below_newest, below_lower)


def advanced(at: OpenPull, batch: Batch) -> OpenPull:
    """Return an open pull after a batch."""
    nulls = at.nulls or (batch.position is not None and batch.position.watermark is None)
    at = replace(at, position=batch.position, nulls=nulls, rows=at.rows + batch.rows.height)
    found, sighting = at.opened.holes, at.opened.sighting
    if found is None or at.edge is None or sighting is None:
        return at
    ids = batch.rows[WATERMARK].drop_nulls().cast(pl.Int128)
    found = holes.after(found, at.edge, ids, sighting.clock_us)
    edge = at.edge if ids.is_empty() else max(at.edge, int(ids[-1]))
    if batch.last and at.opened.marks.id is not None:
        found = holes.closed(found, edge, int(at.opened.marks.id), sighting.clock_us)
    return replace(at, edge=edge, opened=replace(at.opened, holes=found))


def settle(opened: Watermark, reader: Reader, latest_us: int) -> tuple[Watermark, list[str]]:
    """Return the marks of a finished pull, with a longer look-back where rows came nearly too late, and what to say."""
    span = horizon.effective(reader.layout.window, opened)
    if opened.level is not Level.WINDOW or 2 * latest_us <= span.look_back_us:
        return opened, []
    late = f"a row became visible {spoken(latest_us / 1e6)} late, and look_back is {spoken(span.look_back_us / 1e6)}"
    grown_us = horizon.grown(reader.layout.window, opened, latest_us)
    if grown_us == opened.look_back_us:
        return opened, [late]
    doubled = f"{late}: it is {spoken(grown_us / 1e6)} from now on; a backfill finds what came later still"
    return replace(opened, look_back_us=grown_us), [doubled]


def _require_start(reader: Reader, open_pull: OpenPull) -> None:
    expected = reader.estimate(open_pull)
    if expected is not None and expected > ROWS_WITHOUT_START:
        raise ConfigError(
            f"a first pull would read about {expected:,} rows, and the stream does not say where to start",
            remedy="Set start: beginning, now, or a value of the watermark column",
        )


def level_changed(stored: Watermark | None, opened: Watermark) -> list[str]:
    """Say when the level is another one than it was."""
    if stored is None or stored.level is opened.level:
        return []
    if opened.level.weaker_than(stored.level):
        return [f"the level fell from {stored.level} to {opened.level}: {opened.why or 'the table has grown'}"]
    return [f"the level rose from {stored.level} to {opened.level}; what was missed before is found by a backfill"]


def begin_backfill(reader: Reader, range_: Range) -> OpenPull:
    """Open the first snapshot of a backfill; an open end stops at what that snapshot holds."""
    layout = reader.layout
    lower = None if range_.from_ is None else Bound(checked(range_.from_, reader))
    opened = reader.conclude(None, reader.opening(None, lower, writers=False), lower)
    newest = opened.marks.newest
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
    kind = reader.layout.watermark.kind
    stamp = window.read_stamp(value, reader.layout.window) if kind.temporal else None
    if stamp is None or stamp.unit_us < window.DAY_US or kind is Kind.DATE:
        return Bound(checked(value, reader))
    return Bound(checked((date.fromisoformat(value[:10]) + timedelta(days=1)).isoformat(), reader), inclusive=False)


def checked(value: str, reader: Reader) -> str:
    """Return a value that a person wrote for the watermark column as the column holds it; ConfigError if it can't be.

    A time with an offset is moved into the column's own zone; one without means that zone already.
    """
    column = reader.layout.watermark
    if column.kind.temporal:
        stamp = window.read_stamp(value, reader.layout.window)
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
