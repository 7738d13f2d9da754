"""The plain reader: batches over one session, any engine.

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
from connector.errors import StreamStopped
from connector.model import Batch, Bound, Kind, Level, Marks, OpenPull, Position, Watermark
from connector.source import horizon, tenant, window
from connector.source.cutting import Cutter
from connector.source.frames import frame_of, text_of
from connector.source.horizon import FIRST_LOOK_BACK_US, Opening, Sight, Span, Survey, lagging
from connector.source.layout import TENANT, WATERMARK, Layout
from connector.source.pages import Pages
from connector.source.select import Select
from connector.source.session import Session


class Reader:
    """Reads one stream over one session.

    `survey` says what can be promised here. `before_snapshot` is called before each snapshot opens, and `snapshots`
    counts those opened. `capped_by_time` says that a later snapshot was read only up to the first one's clock.
    """

    def __init__(
        self,
        session: Session,
        stream: Stream,
        found: Layout,
        survey: Survey | None = None,
        before_snapshot: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = session
        self._before_snapshot = before_snapshot
        self._stream = stream
        self.layout = found
        self.survey = survey or Survey(Level.WINDOW)
        self._first = False
        self._untouched = False
        self._rows: Iterator[list[tuple[Any, ...]]] | None = None
        self._pages = Pages(found, session.dialect.capabilities, stream.batch_size)
        self._cutter = Cutter(found)
        self.snapshots = 0
        self.capped_by_time = False

    def measure_from(self, previous: Watermark | None) -> None:
        """Measure how late rows are against the marks of the pull before."""
        self._cutter.previous = previous

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
        return clock_us, self._greatest(None, None, rows)

    def _open_snapshot(self) -> None:
        self._before_snapshot()
        self._session.open_snapshot()
        self.snapshots += 1
        self._rows = None
        self._first = self._untouched = False

    def _newest(self, lower: Bound | None, at_most: str | None) -> str | None:
        return next(iter(self._greatest(lower, at_most, 1)), None)

    def _greatest(self, lower: Bound | None, at_most: str | None, rows: int) -> list[str]:
        found = self._session.select(self._pages.greatest(lower, at_most, rows))
        return [text for (value,) in found if (text := text_of(value)) is not None]

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
            bounds = self._in_snapshot(open_pull)
            if in_nulls:
                frame, more = self._null_page(bounds, position)
            elif self.layout.key:
                frame, more = self._keyed_page(replace(bounds, position=position))
            else:
                frame, more = self._keyless_page(replace(bounds, position=position))
            last = not more and (in_nulls or not nulls)
            batch = self._cutter.batch(frame, by_key=in_nulls, last=last, before=position)
            yield batch
            if batch.last:
                return
            position = batch.position
            if not more:
                in_nulls, position = True, None

    def _changed(self, open_pull: OpenPull, since: str, *, nulls: bool) -> Iterator[Batch]:
        """Yield the changed rows in the order of the key: one statement per snapshot, cut into batches."""
        position, size = open_pull.position, self._stream.batch_size
        while True:
            bounds = self._in_snapshot(open_pull)
            if self._rows is None:
                ceiling = self._ceiling(bounds)
                select = self._pages.changed(bounds, since, position, nulls=nulls, ceiling=ceiling)
                self._rows = self._session.stream(select, size)
            rows = next(self._rows, [])
            batch = self._cutter.batch(self._checked(rows), by_key=True, last=len(rows) < size, before=position)
            yield batch
            if batch.last:
                return
            position = batch.position

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
        self.capped_by_time = True
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

    def _keyed_page(self, at: OpenPull) -> tuple[pl.DataFrame, bool]:
        size = self._stream.batch_size
        frame = self._frame(self.page(at, size))
        return frame, frame.height == size

    def _keyless_page(self, at: OpenPull) -> tuple[pl.DataFrame, bool]:
        size = self._stream.batch_size
        frame = self._frame(self.page(at, size))
        if frame.height < size:
            return frame, False
        edge = frame[WATERMARK][-1]
        whole = frame.filter(_differs(frame[WATERMARK], edge, self.layout.watermark.kind))
        if whole.height:
            return whole, True
        return self._group(edge, at.lower), True

    def _null_page(self, at: OpenPull, position: Position | None) -> tuple[pl.DataFrame, bool]:
        if not self.layout.key:
            return self._group(None, at.lower), False
        frame = self._frame(self._pages.nulls(at, position))
        return frame, frame.height == self._stream.batch_size

    def _group(self, watermark: str | None, lower: Bound | None) -> pl.DataFrame:
        """Read all rows of one watermark value of a keyless stream."""
        limit = self._stream.max_equal
        frame = self._frame(self._pages.group(watermark, lower, limit + 1))
        if frame.height > limit:
            raise StreamStopped(
                f"more than {limit} rows share one value of {self.layout.watermark.name}, and the stream has no key "
                "to resume within them; the watermark stays",
                remedy="Set `key`, raise max_equal, or choose a finer watermark column",
            )
        return frame

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """Return the fields of a few rows, in no order."""
        return self._frame(self._pages.sample(rows)).select(list(self.layout.fields)).to_dicts()

    def page(self, at: OpenPull, size: int | None) -> Select:
        """Return the statement of the next batch in the order of the watermark."""
        return self._pages.page(at, size, ceiling=self._ceiling(at))

    # -- frames

    def _frame(self, select: Select) -> pl.DataFrame:
        return self._checked(self._session.select(select))

    def _checked(self, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
        """Return rows of the stream's outputs as a frame, each known to be this client's."""
        frame = frame_of(rows, self.layout.outputs, self.layout.fields)
        if self.layout.tenant is not None:
            tenant.recheck(frame[TENANT], self.layout.spellings, self.layout.tenant)
        return frame


def _differs(watermarks: pl.Series, edge: str, kind: Kind) -> pl.Series:
    """Tell equal values from others as the database does: 1.0 and 1.00 are one decimal in two spellings."""
    if kind is not Kind.DECIMAL:
        return watermarks != edge
    last = window.number(edge)
    return pl.Series([window.number(text) != last for text in watermarks.to_list()], dtype=pl.Boolean)
