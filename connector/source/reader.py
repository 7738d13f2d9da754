"""The plain reader: keyset batches over one session, any engine.

Per pull it opens a first snapshot and takes the marks there; then it reads batches in the order (watermark, key), in
the same snapshot while the engine can hold one and `snapshot_cap` allows, in new ones after that. A later snapshot is
read only up to the first one's clock: what is newer belongs to the next pull, and a pull always comes to its end.

A keyless stream has no order among rows of one watermark value, so its batches end between such groups: the last
group of a full batch is left for the next one, and a group that fills a whole batch is read by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import polars as pl

from connector.config.resolved import Stream
from connector.errors import KeyViolation, StreamStopped
from connector.model import Batch, Bound, Kind, Level, Marks, OpenPull, Position, Watermark
from connector.source import horizon, keyset, tenant, window
from connector.source.frames import frame_of, row_key, text_of
from connector.source.horizon import FIRST_LOOK_BACK_US, Opening, Sight, Span, Survey, lagging
from connector.source.lateness import late_us
from connector.source.layout import KEY, LATE, TENANT, WATERMARK, Layout
from connector.source.select import Any as AnyOf
from connector.source.select import Compare, IsNull, Output, Predicate, Select, Slot, Written
from connector.source.session import Session


class Ties:
    """The longest run of equal watermarks, over batch edges: with a key nothing is lost by it, but it is slow."""

    def __init__(self) -> None:
        self.longest = 0
        self._value: str | None = None
        self._length = 0

    def see(self, watermarks: pl.Series) -> None:
        runs = watermarks.rle().struct.unnest()
        values, lengths = runs["value"].to_list(), runs["len"].to_list()
        if self._value is not None and values[0] == self._value:
            lengths[0] += self._length
        counted = [length for value, length in zip(values, lengths, strict=True) if value is not None]
        self.longest = max([self.longest, *counted])
        self._value, self._length = values[-1], lengths[-1]


class Reader:
    """Reads one stream over one session.

    `survey` says what can be promised here. `before_snapshot` is called before each snapshot opens, and `snapshots`
    counts those opened. `previous`, once it is set, is what lateness is measured against.
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
        self.previous: Watermark | None = None
        self._first = False
        self._untouched = False
        self._rows: Iterator[list[tuple[Any, ...]]] | None = None
        self._ties = Ties()
        self.snapshots = 0
        self.capped_by_time = False

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
        mark = None if known is None else known.marks.time
        like = None if mark is None else window.read_stamp(mark, self.layout.window)
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
        found = self._ties.longest > self._stream.max_equal
        return [f"{self._ties.longest:,} rows share one value of {self.layout.watermark.name}"] if found else []

    def conclude(self, known: Watermark | None, opening: Opening, lower: Bound | None) -> Watermark:
        """Return the marks of a pull that begins at `lower`; None when it reads whatever there is to read."""
        by_id = self._stream.by == "id"
        return horizon.conclude(known, opening, self.layout, self.survey, by_id=by_id, lower=lower)

    def spans(self, since: str, ceiling: str) -> bool:
        return self._session.dialect.horizon.spans(since, ceiling)

    def estimate(self, open_pull: OpenPull) -> int | None:
        """Return how many rows the engine expects of a pull."""
        return self._session.estimate(self.page(open_pull, None))

    def has_null_watermark(self) -> bool:
        """Say whether a row of this client has no watermark."""
        watermark = self.layout.watermark
        where = (*self.layout.where, IsNull(watermark))
        outputs = (Output(WATERMARK, watermark.name),)
        select = Select(self.layout.relation, outputs, where, limit=1, slots=self._slots(None))
        return bool(self._session.select(select))

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
        watermark = self.layout.watermark
        bound: Predicate = IsNull(watermark, negated=True)
        if at_most is not None:
            bound = Compare(watermark, "<=", at_most)
        select = Select(
            self.layout.relation,
            (Output(WATERMARK, watermark.name),),
            (*self.layout.where, bound),
            (watermark,),
            descending=True,
            limit=rows,
            slots=self._slots(lower),
        )
        return [text for (value,) in self._session.select(select) if (text := text_of(value)) is not None]

    # -- batches

    def batches(self, open_pull: OpenPull, *, nulls: bool) -> Iterator[Batch]:
        """Yield what is left of a pull, batch by batch; the last one, which may be empty, says so.

        `nulls` adds the pass over rows without a watermark. Raises TenantViolation, KeyViolation, StreamStopped.
        """
        position, in_nulls = open_pull.position, open_pull.nulls
        if open_pull.since is not None:
            yield from self._changed(open_pull, nulls=nulls)
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
            batch = self._batch(frame, by_key=in_nulls, last=last, before=position)
            yield batch
            if batch.last:
                return
            position = batch.position
            if not more:
                in_nulls, position = True, None

    def _changed(self, open_pull: OpenPull, *, nulls: bool) -> Iterator[Batch]:
        """Yield the changed rows in the order of the key: one statement per snapshot, cut into batches."""
        position, size = open_pull.position, self._stream.batch_size
        while True:
            bounds = self._in_snapshot(open_pull)
            if self._rows is None:
                self._rows = self._session.stream(self._since(bounds, position, nulls=nulls), size)
            rows = next(self._rows, [])
            batch = self._batch(self._checked(rows), by_key=True, last=len(rows) < size, before=position)
            yield batch
            if batch.last:
                return
            position = batch.position

    def _since(self, at: OpenPull, position: Position | None, *, nulls: bool) -> Select:
        """Return the statement of all rows written since the pull's mark, those above its floor, behind a position."""
        found, watermark = self.layout, self.layout.watermark
        where = (*found.where, Written(at.since or ""), *self._ceiling(at))
        if at.lower is not None:
            above: Predicate = Compare(watermark, ">=", at.lower.value)
            where = (*where, AnyOf((above, IsNull(watermark))) if nulls else above)
        elif found.watermark_nullable and not nulls:
            where = (*where, IsNull(watermark, negated=True))
        where = (*where, *keyset.after_key(found.key, position))
        return Select(found.relation, found.outputs, where, found.key, slots=self._slots(at.lower))

    def _ceiling(self, at: OpenPull) -> tuple[Predicate, ...]:
        """Leave out of a later snapshot what the first one certainly did not see: the next pull reads it."""
        ceiling = at.opened.ceiling
        return () if self._first or ceiling is None or not self.survey.level.exact else (Written(ceiling, before=True),)

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
        if open_pull.opened.ceiling is not None:
            sight = self._session.dialect.horizon.within(self._session.rows, self.layout, self.survey, Sight())
            if horizon.behind(open_pull.opened, sight.ceiling):
                raise lagging()

    def _capped(self, open_pull: OpenPull) -> OpenPull:
        sighting, watermark = open_pull.opened.sighting, self.layout.watermark
        newest = open_pull.opened.marks.time or open_pull.opened.marks.id
        if sighting is not None and watermark.kind.temporal:
            newest = self.stamp_text(sighting.clock_us, self._like(open_pull))
        return replace(open_pull, upper=None if newest is None else Bound(newest))

    def _like(self, open_pull: OpenPull) -> window.Stamp | None:
        mark = open_pull.opened.marks.time
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
        whole = frame.filter(self._differs(frame[WATERMARK], edge))
        if whole.height:
            return whole, True
        where = (*self.layout.where, Compare(self.layout.watermark, "=", edge))
        return self._group(where, at.lower), True

    def _differs(self, watermarks: pl.Series, edge: str) -> pl.Series:
        """Tell equal values from others as the database does: 1.0 and 1.00 are one decimal in two spellings."""
        if self.layout.watermark.kind is not Kind.DECIMAL:
            return watermarks != edge
        return pl.Series(
            [window.number(text) != window.number(edge) for text in watermarks.to_list()], dtype=pl.Boolean
        )

    def _null_page(self, at: OpenPull, position: Position | None) -> tuple[pl.DataFrame, bool]:
        size, key = self._stream.batch_size, self.layout.key
        where = (*self.layout.where, IsNull(self.layout.watermark))
        if not key:
            return self._group(where, at.lower), False
        where = (*where, *keyset.after_key(key, position))
        select = Select(self.layout.relation, self.layout.outputs, where, key, limit=size, slots=self._slots(at.lower))
        frame = self._frame(select)
        return frame, frame.height == size

    def _group(self, where: tuple[Predicate, ...], lower: Bound | None) -> pl.DataFrame:
        """Read all rows of one watermark value of a keyless stream."""
        limit = self._stream.max_equal
        slots = self._slots(lower)
        frame = self._frame(Select(self.layout.relation, self.layout.outputs, where, limit=limit + 1, slots=slots))
        if frame.height > limit:
            raise StreamStopped(
                f"more than {limit} rows share one value of {self.layout.watermark.name}, and the stream has no key "
                "to resume within them; the watermark stays",
                remedy="Set `key`, raise max_equal, or choose a finer watermark column",
            )
        return frame

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """Return the fields of a few rows, in no order."""
        found = self.layout
        select = Select(found.relation, found.outputs, found.where, limit=rows, slots=self._slots(None))
        return self._frame(select).select(list(found.fields)).to_dicts()

    def page(self, at: OpenPull, size: int | None) -> Select:
        """Return the statement of the next batch in the order of the watermark."""
        found, watermark = self.layout, self.layout.watermark
        begin: tuple[Predicate, ...] = keyset.within(watermark, at.lower, None)
        if at.holes and at.lower is not None:
            begin = (keyset.in_holes(watermark, at.lower.value, at.holes),)
        if at.position is not None:
            begin = (keyset.after(watermark, found.key, at.position), *(begin if at.holes else ()))
        where = (*found.where, *begin, *keyset.up_to(watermark, at.upper), *self._ceiling(at))
        return Select(found.relation, found.outputs, where, found.order, limit=size, slots=self._slots(at.lower))

    def _slots(self, lower: Bound | None) -> dict[Slot, str | int]:
        return self.layout.slots(lower, self._session.dialect.capabilities)

    # -- frames

    def _frame(self, select: Select) -> pl.DataFrame:
        return self._checked(self._session.select(select))

    def _checked(self, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
        """Return rows of the stream's outputs as a frame, each known to be this client's."""
        frame = frame_of(rows, self.layout.outputs, self.layout.fields)
        if self.layout.tenant is not None:
            tenant.recheck(frame[TENANT], self.layout.spellings, self.layout.tenant)
        return frame

    def _batch(self, frame: pl.DataFrame, *, by_key: bool, last: bool, before: Position | None) -> Batch:
        parts = [f"{KEY}{index}" for index in range(len(self.layout.key))]
        for name, column in zip(parts, self.layout.key, strict=True):
            if frame[name].null_count():
                raise KeyViolation(
                    f"key column {column.name} is NULL in {frame[name].null_count()} rows, so rows could be skipped",
                    remedy="Choose columns that are never NULL, or set `key: none`",
                )
        position = before
        if frame.height:
            edge = frame.row(frame.height - 1, named=True)
            watermark = None if by_key else edge[WATERMARK]
            position = Position(watermark, tuple(edge[name] for name in (self._tail(parts, by_key))))
            if not by_key:
                self._ties.see(frame[WATERMARK])
        rows = frame.with_columns(row_key(parts, KEY), *self._late(frame[WATERMARK]))
        return Batch(rows.drop([*parts, *([TENANT] if self.layout.tenant else [])]), self.layout.fields, position, last)

    def _late(self, watermarks: pl.Series) -> list[pl.Series]:
        mark = None if self.previous is None else self.previous.marks.time
        if mark is None or not self.layout.watermark.kind.temporal:
            return []
        return [late_us(watermarks, mark).alias(LATE)]

    def _tail(self, parts: list[str], by_key: bool) -> list[str]:
        """Return the key parts that a position holds: all where the order is by key, else not the watermark column."""
        if by_key:
            return parts
        kept = {column.name for column in keyset.key_columns(self.layout.watermark, self.layout.key)}
        return [part for part, column in zip(parts, self.layout.key, strict=True) if column.name in kept]
