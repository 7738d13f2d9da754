"""The reader: batches over one session, any engine.

Per pull it opens a first snapshot and takes the marks there; then it reads batches in the same one while the engine
can hold it and `snapshot_cap` allows, in new ones after that. A later snapshot is read only as far as the first one
could see, by row versions where they are known, else by its clock: what is newer belongs to the next pull, and a pull
always comes to its end.

Everything from a bound on is read in pages in the order (watermark, key). Row versions written since a mark are read
by one streamed statement in the order of the key, cut into batches, so that a pull which is killed goes on behind its
last key.

A keyless stream has no order among rows of one watermark value, so its batches end between such groups: the last
group of a full batch is left for the next one, and a group that fills a whole batch is read by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import polars as pl

from connector.config.resolved import Stream
from connector.model import Batch, Bound, Kind, Level, Marks, OpenPull, Position, Watermark
from connector.source import horizon, window
from connector.source.cutting import Cutter
from connector.source.horizon import FIRST_LOOK_BACK_US, Opening, Sight, Span, Survey, lagging
from connector.source.layout import Layout
from connector.source.pages import Pages
from connector.source.scan import Piece, Scan
from connector.source.select import Select
from connector.source.session import Session


class Reader:
    """Reads one stream over one session.

    `survey` says what can be promised here. `before_snapshot` is called with each snapshot's number before it
    opens, and `snapshots` counts those opened.
    """

    def __init__(
        self,
        session: Session,
        stream: Stream,
        found: Layout,
        survey: Survey | None = None,
        before_snapshot: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._session = session
        self._before_snapshot = before_snapshot
        self._stream = stream
        self.layout = found
        self.survey = survey or Survey(Level.WINDOW)
        self._first = False
        self._untouched = False
        self._changes: Iterator[Piece] | None = None
        self._pages = Pages(found, session.dialect.capabilities, stream.batch_size)
        self._scan = Scan(session, stream, found, self._pages)
        self._cutter = Cutter(found)
        self.snapshots = 0
        self._capped_by_time = False

    def measure_from(self, previous: Watermark | None) -> None:
        """Measure how late rows are against the marks of the pull before."""
        self._cutter.previous = previous

    def abort(self) -> None:
        """Break what the reader waits for, from another thread."""
        self._session.abort()

    # -- opening

    def opening(self, known: Watermark | None, lower: Bound | None, *, writers: bool = True) -> Opening:
        """Open the first snapshot and read what the marks are made of; `lower` is where the pull is to begin.

        Without `writers` nobody asks for writers in flight, since nothing is to go on from these marks.
        """
        engine, ask = self._session.dialect.horizon, self._session.rows
        sight = Sight()
        if writers and self.survey.bounds:
            sight = engine.before(ask, self.layout, self.survey, known, self._span(known, lower))
        self._open_snapshot()
        self._first = self._untouched = True
        clock_us = self._session.clock_us()
        sight = engine.within(ask, self.layout, self.survey, sight)
        newest = furthest = self._newest(lower, None)
        if newest is not None and window.beyond(newest, clock_us, self.layout.window):
            like = window.read_stamp(newest, self.layout.window)
            temporal = self.layout.watermark.kind.temporal
            newest = self._newest(lower, self.stamp_text(clock_us, like)) if temporal else None
        lasting = self._session.dialect.capabilities.long_snapshots
        return Opening(clock_us, newest, None if lasting else furthest, sight)

    def _span(self, known: Watermark | None, lower: Bound | None) -> Span:
        """Return from which stamp on writers in flight have to be looked for, and the present."""
        like = None if known is None else self._like(known)
        clock_us = self._session.clock_us()
        now = self.stamp_text(clock_us, like)
        if known is not None and known.sighting is not None and known.sighting.low_us is not None and lower is not None:
            return lower.value, now
        return self.stamp_text(clock_us - FIRST_LOOK_BACK_US, like), now

    @property
    def beginning(self) -> OpenPull:
        """Where a pull would begin that knows no watermark: for looking, not for storing."""
        return OpenPull(Watermark(Level.WINDOW, Marks(), basis=self.layout.basis))

    @property
    def warnings(self) -> list[str]:
        found = self._cutter.ties.longest > self._stream.max_equal
        return [f"{self._cutter.ties.longest:,} rows share one value of {self.layout.watermark.name}"] if found else []

    def conclude(self, known: Watermark | None, opening: Opening, lower: Bound | None) -> Watermark:
        """Return the marks of a pull that begins at `lower`; None when it reads whatever there is to read."""
        by_id = self._stream.by == "id"
        return horizon.conclude(known, opening, self.layout, self.survey, by_id=by_id, lower=lower)

    def ceiling(self) -> str | None:
        """Return the versions from which on nothing can be seen at this moment."""
        return self._session.dialect.horizon.within(self._session.rows, self.layout, self.survey, Sight()).ceiling

    def spans(self, since: str, ceiling: str) -> bool:
        return self._session.dialect.horizon.spans(since, ceiling)

    def estimate(self, open_pull: OpenPull) -> int | None:
        """Return how many rows the engine expects of a pull."""
        return self._session.estimate(self.page(open_pull, None))

    def has_null_watermark(self) -> bool:
        """Say whether a row of this client has no watermark."""
        return bool(self._session.select(self._pages.any_null()))

    def stamp_text(self, instant_us: int, like: window.Stamp | None) -> str:
        """Write an instant as the watermark column holds it, and as this engine reads it."""
        text = window.write_stamp(instant_us, self.layout.window, like)
        typed = self.layout.watermark.kind is Kind.TIMESTAMPTZ and not (like and like.suffix)
        return self._session.dialect.instant(text) if typed else text

    def newest_stamps(self, rows: int) -> tuple[int, list[str]]:
        """Return the database's clock and the greatest watermarks, greatest first."""
        clock_us = self._session.clock_us()
        return clock_us, self._scan.greatest(None, None, rows)

    def _open_snapshot(self) -> None:
        self._before_snapshot(self.snapshots + 1)
        self._session.open_snapshot()
        self.snapshots += 1
        self._changes = None
        self._first = self._untouched = False

    def _newest(self, lower: Bound | None, at_most: str | None) -> str | None:
        return next(iter(self._scan.greatest(lower, at_most, 1)), None)

    # -- batches

    def batches(self, open_pull: OpenPull, *, nulls: bool) -> Iterator[Batch]:
        """Yield what is left of a pull, batch by batch; the last one, which may be empty, says so.

        `nulls` adds the pass over rows without a watermark. Raises TenantViolation, KeyViolation, StreamStopped.
        """
        position, in_nulls = open_pull.position, open_pull.nulls
        if open_pull.since is not None:
            yield from self._changed(open_pull, open_pull.since, nulls=nulls)
            return
        while True:
            more = False
            for frame, more in self._page(self._in_snapshot(open_pull), position, in_nulls=in_nulls):
                last = not more and (in_nulls or not nulls)
                batch = self._batch(frame, by_key=in_nulls, last=last, before=position)
                yield batch
                position = batch.position
                if last:
                    return
            if not more:
                in_nulls, position = True, None

    def _changed(self, open_pull: OpenPull, since: str, *, nulls: bool) -> Iterator[Batch]:
        """Yield the changed rows in the order of the key: one statement per snapshot, cut into batches."""
        position, size = open_pull.position, self._stream.batch_size
        while True:
            bounds = self._in_snapshot(open_pull)
            if self._changes is None:
                ceiling = self._ceiling(bounds)
                select = self._pages.changed(bounds, since, position, nulls=nulls, ceiling=ceiling)
                self._changes = self._scan.pieces(select, size)
            frame, more = next(self._changes)
            batch = self._batch(frame, by_key=True, last=not more, before=position)
            yield batch
            if batch.last:
                return
            position = batch.position

    def _batch(self, frame: pl.DataFrame, *, by_key: bool, last: bool, before: Position | None) -> Batch:
        batch = self._cutter.batch(frame, by_key=by_key, last=last, before=before)
        return replace(batch, snapshot=self.snapshots, capped=self._capped_by_time)

    def _ceiling(self, at: OpenPull) -> str | None:
        """Return the versions from which on the first snapshot saw nothing: the next pull reads them, not this one."""
        return None if self._first or not self.survey.level.exact else at.opened.ceiling

    def _in_snapshot(self, open_pull: OpenPull) -> OpenPull:
        """Renew the snapshot when it is due; behind the first one, read no further than that one saw."""
        lasting = self._session.dialect.capabilities.long_snapshots
        if not self._session.in_snapshot or not (lasting or self._untouched):
            self._open_snapshot()
            self._not_behind(open_pull)
        self._untouched = False
        if self._first or open_pull.upper is not None or self._ceiling(open_pull):
            return open_pull
        self._capped_by_time = True
        return self._capped(open_pull)

    def _not_behind(self, open_pull: OpenPull) -> None:
        """Refuse to go on in a snapshot that is older than the pull's first one, as on a replica that lags."""
        if open_pull.opened.ceiling is not None and horizon.behind(open_pull.opened, self.ceiling()):
            raise lagging()

    def _capped(self, open_pull: OpenPull) -> OpenPull:
        sighting, watermark = open_pull.opened.sighting, self.layout.watermark
        newest = open_pull.opened.marks.newest
        if sighting is not None and watermark.kind.temporal:
            newest = self.stamp_text(sighting.clock_us, self._like(open_pull.opened))
        return replace(open_pull, upper=None if newest is None else Bound(newest))

    def _like(self, known: Watermark) -> window.Stamp | None:
        """Return how the watermark column writes its stamps."""
        mark = known.marks.time
        return None if mark is None else window.read_stamp(mark, self.layout.window)

    def _page(self, at: OpenPull, position: Position | None, *, in_nulls: bool) -> Iterator[Piece]:
        """Read what comes next, as one frame or in pieces, each with whether the same pass goes on behind it."""
        size = self._stream.batch_size
        if in_nulls and not self.layout.key:
            return iter([(self._scan.group(None, at.lower), False)])
        if in_nulls:
            return self._scan.full_or_last(self._pages.nulls(at, position), size)
        at = replace(at, position=position)
        if self.layout.key:
            return self._scan.full_or_last(self.page(at, size), size)
        return iter([self._scan.keyless_page(self.page(at, size), size, at.lower)])

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """Return the fields of a few rows, in no order."""
        return self._scan.frame(self._pages.sample(rows)).select(list(self.layout.fields)).to_dicts()

    def page(self, at: OpenPull, size: int | None) -> Select:
        """Return the statement of the next batch in the order of the watermark."""
        return self._pages.page(at, size, ceiling=self._ceiling(at))

    # -- frames
