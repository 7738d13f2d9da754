"""What can still become visible below the newest value: the contract of the engines' horizons, and their common rules.

The maximum that a pull saw is no safe place to go on from: a transaction that took its stamp, id or version earlier may
commit later. So a pull stores *marks* below which nothing can still become visible, the next one reads again from
there, and the ledger drops what was already taken. How low a mark must be, each engine tells as well as it can:

| level        | the engine shows                               | the next pull reads                                  |
|--------------|------------------------------------------------|------------------------------------------------------|
| exact        | which transaction wrote a row                  | versions that the last snapshot can't have seen      |
| exact within | the same; the table is too large to look at    | the same above a floor; at a sweep all of them       |
| bounded      | the stamps of writers in flight                | from the lowest such stamp, less the slack           |
| window       | nothing                                        | from a look-back below the newest value (window.py)  |

A run goes through it in this order, over one connection:

    survey    who is this server, what may this login see, which level does that allow; asked anew on every run
    before    what must be asked before the snapshot opens: writers in flight
    within    the first things asked in the snapshot: its edges, and whether a writer in flight has committed by now
    conclude  the marks of this pull; *all* that could be had, whatever the level, so that a level that is lost or
              gained goes on from the newest mark which both levels share

Marks belong to a server. On another one (or after a restore) they mean nothing, and the stream is read from its start;
on a replica that is behind what was already read nothing is new, and the pull waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from connector.config.resolved import Stream
from connector.errors import SourceUnavailable
from connector.model import Bound, Kind, Level, Sweep, Watermark
from connector.source.layout import Layout
from connector.source.select import Statement
from connector.source.window import HOUR_US, Window, fold_us, later, owed_us, read_stamp, write_stamp
from connector.source.window import conclude as conclude_window
from connector.source.window import lower_bound as window_bound

Ask = Callable[[Statement], list[tuple[Any, ...]]]
"""Runs a statement on the run's connection and returns its rows; raises SourceRefused when the login may not."""

Span = tuple[str, str]
"""A range of stamps as the watermark column writes them, up to the database's clock."""

FLOOR_US = 24 * HOUR_US
"""How far below the last pull a floored pull looks for changed rows."""
FLOOR_MARGIN_US = 2 * HOUR_US
"""What naive local clocks may go back by around a change to or from summer time, either side."""
FIRST_LOOK_BACK_US = 24 * HOUR_US
"""How far below the clock writers in flight are looked for when no earlier pull did."""
TRACE_S = 60
PARTS = "parts"
"""The trace that names the tables which the version marks know."""
MOST_LOOK_BACK_US = 7 * 24 * HOUR_US
"""A look-back that grew does not grow further than this."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a login can hold for one stream on one server.

    `why` names what stands in the way of a better level, `remedy` what would help; both empty at the best there is.
    `server` is its identity, and `traces` what changes besides when a backup is restored in its place. `bounds` says
    that stamps of writers in flight can be had, `floored` that looking at every row is too much for each pull. `parts`
    names the tables that hold the stream's rows, each with a version that none of its rows lies below.
    """

    level: Level
    server: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    remedy: str = ""
    traces: Mapping[str, str] = field(default_factory=dict)
    standby: bool = False
    versions: str = ""  # the mark that row versions are compared with; empty where they can't be told
    bounds: bool = False
    floored: bool = False
    parts: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)  # the dialect's own


@dataclass(frozen=True, slots=True)
class Sight:
    """What a first snapshot and the moments before it showed of other writers.

    Versions that the snapshot can't see lie at or above `version`, those at or above `ceiling` it certainly can't.
    No writer in flight has a stamp below `low_us`, None when they can't be seen. `held`: see Watermark.
    """

    version: str | None = None
    ceiling: str | None = None
    low_us: int | None = None
    held: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seen: Mapping[str, Any] = field(default_factory=dict)  # the dialect's own, from before the snapshot


@dataclass(frozen=True, slots=True)
class Opening:
    """What the first snapshot of a pull saw: the clock, the newest watermark at or below it, and of other writers.

    `furthest` is where a pull ends whose engine can't hold a snapshot over several batches; else None.
    """

    clock_us: int
    newest: str | None
    furthest: str | None = None
    sight: Sight = field(default_factory=Sight)


class Horizon(Protocol):
    """One engine's horizon. Stateless."""

    def survey(self, ask: Ask, found: Layout, stream: Stream) -> Survey:
        """Return the best level that this login can hold for this stream here."""
        ...

    def before(self, ask: Ask, found: Layout, survey: Survey, previous: Watermark | None, span: Span) -> Sight:
        """Look for writers in flight, before the snapshot, whose stamps lie in `span`; earlier ones have ended."""
        ...

    def within(self, ask: Ask, found: Layout, survey: Survey, sight: Sight) -> Sight:
        """Complete what was seen before by what the snapshot shows of itself."""
        ...

    def spans(self, since: str, ceiling: str) -> bool:
        """Say whether versions between two marks can still be told from others."""
        ...


class NoHorizon:
    """The horizon of an engine that shows nothing of other writers."""

    def __init__(self, identity: Statement, why: str) -> None:
        self._identity, self._why = identity, why

    def survey(self, ask: Ask, found: Layout, stream: Stream) -> Survey:
        return Survey(Level.WINDOW, {"database": str(ask(self._identity)[0][0])}, self._why)

    def before(self, ask: Ask, found: Layout, survey: Survey, previous: Watermark | None, span: Span) -> Sight:
        return Sight()

    def within(self, ask: Ask, found: Layout, survey: Survey, sight: Sight) -> Sight:
        return sight

    def spans(self, since: str, ceiling: str) -> bool:
        return False


# -- whose marks


def other_server(stored: Watermark, survey: Survey) -> str | None:
    """Say what shows that the marks were taken on another server, or None when nothing does."""
    for name, value in stored.server.items():
        if survey.server.get(name, value) != value:
            return name
    return None


def set_up_anew(stored: Watermark, newest: str | None, survey: Survey, window: Window) -> bool:
    """Say whether the newest value went back *and* the server shows traces of a restore; deletes do only the former."""
    mark = stored.marks.newest
    if mark is None or not any(_differ(stored.traces.get(name, now), now) for name, now in survey.traces.items()):
        return False
    return newest is None or later(mark, newest, window)


def _differ(before: str, now: str) -> bool:
    """Compare two traces; times in seconds may be rounded differently."""
    if before.isdigit() and now.isdigit():
        return abs(int(before) - int(now)) > TRACE_S
    return before != now


def behind(stored: Watermark, ceiling: str | None) -> bool:
    """Say whether this snapshot lies before the one that the marks were taken in."""
    return ceiling is not None and stored.ceiling is not None and int(ceiling) < int(stored.ceiling)


def lagging() -> SourceUnavailable:
    return SourceUnavailable(
        "the server is behind what was already read, as a replica is that lags",
        remedy="Nothing was taken; the next run tries again. If it lasts, look at the replication",
    )


# -- where a pull begins


def lower_bound(known: Watermark | None, window: Window, survey: Survey) -> Bound | None:
    """Return where a pull in the order of the watermark begins; None when nothing has been seen yet.

    What the last pull saw of writers in flight bounds this one, whatever this one can see itself.
    """
    if known is None:
        return None
    bound = window_bound(known, _span(window, known, survey))
    low_us, mark = _low_us(known), known.marks.time
    if bound is None or mark is None or low_us is None:
        return bound
    floor = _instant_bound(low_us - window.slack_us, mark, window)
    return floor if _lower(floor, bound, window) else bound


def _low_us(known: Watermark | None) -> int | None:
    return None if known is None or known.sighting is None else known.sighting.low_us


def _span(window: Window, known: Watermark | None, survey: Survey) -> Window:
    """Return the window that a pull keeps: only the slack where writers in flight were and will be seen."""
    if _low_us(known) is None or not survey.bounds:
        return effective(window, known)
    return replace(window, look_back_us=window.slack_us)


def effective(window: Window, known: Watermark | None) -> Window:
    """Return the window with the look-back that the stream has grown to."""
    grown_us = 0 if known is None else known.look_back_us
    return replace(window, look_back_us=max(window.look_back_us, grown_us))


def grown(window: Window, known: Watermark | None, late_us: int) -> int:
    """Return the look-back after a pull whose latest row was that late: doubled beyond four fifths of it, else 0.

    Rows later than the look-back are not seen at all, so one that comes near to it stands for others behind it.
    """
    span_us = effective(window, known).look_back_us
    doubled_us = min(2 * span_us, MOST_LOOK_BACK_US)
    if 5 * late_us > 4 * span_us and doubled_us > span_us:
        return doubled_us
    return 0 if known is None else known.look_back_us


def _instant_bound(instant_us: int, like: str, window: Window) -> Bound:
    """Return the bound at an instant in the column's own terms, an ambiguous local hour taken from its first time."""
    stamp = read_stamp(like, window)
    margin_us = 0 if stamp is None else stamp.unit_us
    if window.column.kind in (Kind.TIMESTAMP, Kind.DATE):
        margin_us += fold_us(instant_us, window)
    try:
        return Bound(write_stamp(instant_us - margin_us, window, stamp))
    except OverflowError:
        return Bound(like)


def _lower(one: Bound, other: Bound, window: Window) -> bool:
    left, right = read_stamp(one.value, window), read_stamp(other.value, window)
    if left is None or right is None:
        return False
    return left.instant_us - left.ambiguous_us <= right.instant_us - right.ambiguous_us


@dataclass(frozen=True, slots=True)
class Reach:
    """What a live pull reads: versions `since` a mark (then `lower` is a floor), or else everything from `lower` on."""

    lower: Bound | None
    since: str | None = None
    everything: bool = False  # no change made before this pull can be missing after it
    why: str = ""  # what an operator should know


def reach(
    known: Watermark | None,
    lower: Bound | None,
    survey: Survey,
    sight: Sight,
    window: Window,
    *,
    clock_us: int,
    sweep_us: int,
    spans: Callable[[str, str], bool],
) -> Reach:
    """Decide what a live pull reads, given the marks it goes on from and its first snapshot's edges.

    Where versions are too far apart to be told from each other, everything is read.
    """
    since = None if known is None else version_of(known, survey)
    if known is None or since is None or sight.ceiling is None or not survey.level.exact:
        return Reach(lower)
    start = None if known.start is None else Bound(known.start)
    if _joined_by_older(known, survey, since):
        return Reach(start, everything=True, why="the table was replaced or joined by another: it was read in full")
    due = known.swept is None or clock_us - known.swept.clock_us >= sweep_us
    floor = _floor(known, window) if survey.floored and not due else None
    if floor is not None:
        return Reach(start if start is not None and _lower(floor, start, window) else floor, since)
    since = since if known.swept is None else known.swept.mark
    return Reach(start, since if spans(since, sight.ceiling) else None, everything=True)


def _joined_by_older(known: Watermark, survey: Survey, since: str) -> bool:
    """Say whether a table that was no part of the stream may hold rows from before the mark, never seen there."""
    if PARTS not in known.traces:
        return False
    parts = known.traces[PARTS].split()
    return any(lowest < int(since) for name, lowest in survey.parts.items() if name not in parts)


def _parts(known: Watermark | None, survey: Survey) -> dict[str, str]:
    """Return the trace of the stream's tables; where versions are not read, as it was when they were last."""
    before = None if known is None else known.traces.get(PARTS)
    now = before if before is not None and not survey.level.exact else " ".join(sorted(survey.parts))
    return {PARTS: now} if now else {}


def _floor(known: Watermark, window: Window) -> Bound | None:
    """Return the last pull's newest value, or its clock if that is lower, less a day."""
    mark, sighting = known.marks.time, known.sighting
    if mark is None or sighting is None or not window.column.kind.temporal:
        return None
    stamp = read_stamp(mark, window)
    newest_us = sighting.clock_us if stamp is None else min(stamp.instant_us - stamp.ambiguous_us, sighting.clock_us)
    return _instant_bound(newest_us - FLOOR_US - FLOOR_MARGIN_US, mark, window)


# -- what a pull stores


def conclude(
    known: Watermark | None, opening: Opening, found: Layout, survey: Survey, *, by_id: bool, lower: Bound | None
) -> Watermark:
    """Return the marks of a pull that begins at `lower`; None when it reads whatever there is to read."""
    window, sight = _span(found.window, known, survey), opening.sight
    by = "id" if by_id else "timestamp"
    made = conclude_window(known, opening.newest, opening.clock_us, window, lower=lower, basis=found.basis, by=by)
    sighting = None if made.sighting is None else replace(made.sighting, low_us=_lowest(known, sight, window))
    return replace(
        made,
        level=survey.level,
        marks=replace(made.marks, **({survey.versions: sight.version} if survey.versions else {})),
        server=dict(survey.server),
        sighting=sighting,
        traces={**survey.traces, **_parts(known, survey)},
        ceiling=sight.ceiling,
        swept=None if known is None else known.swept,
        held=dict(sight.held),
        holes=None if known is None else known.holes,
        start=None if known is None else known.start,
        look_back_us=0 if known is None else known.look_back_us,
        why=survey.why,
    )


def _lowest(known: Watermark | None, sight: Sight, window: Window) -> int | None:
    """Return the lowest stamp that the next pull has to read from, as far as writers in flight can be seen.

    A window closed for now, by a pull that could not see them, is still owed, and by the slack it would stay closed.
    """
    owed = None if known is None or _low_us(known) is not None else owed_us(known, window)
    return sight.low_us if sight.low_us is None or owed is None else min(sight.low_us, owed)


def version_of(watermark: Watermark, survey: Survey) -> str | None:
    """Return the version mark that this engine's rows are compared with."""
    return getattr(watermark.marks, survey.versions) if survey.versions else None


def swept(opened: Watermark, survey: Survey, clock_us: int) -> Watermark:
    """Return the marks of a pull that looks at every row."""
    version = version_of(opened, survey)
    return opened if version is None else replace(opened, swept=Sweep(version, clock_us))


def without_versions(opened: Watermark) -> Watermark:
    """Return the marks of a pull whose later snapshots are bounded by time, of which version marks know nothing."""
    marks = replace(opened.marks, xid=None, rowversion=None, scn=None)
    return replace(opened, marks=marks, swept=None)
