"""From a page's rows to a batch: keys made one text, the position it ends at, how late each row became visible."""

from __future__ import annotations

import polars as pl

from connector.errors import KeyViolation
from connector.model import Batch, Position, Watermark
from connector.source import keyset
from connector.source.frames import row_key
from connector.source.lateness import late_us
from connector.source.layout import KEY, LATE, TENANT, WATERMARK, Layout


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


class Cutter:
    """Makes batches of one stream. `previous`, once it is set, is what lateness is measured against."""

    def __init__(self, found: Layout) -> None:
        self._layout = found
        self._parts = [f"{KEY}{index}" for index in range(len(found.key))]
        self.previous: Watermark | None = None
        self.ties = Ties()

    def batch(self, frame: pl.DataFrame, *, by_key: bool, last: bool, before: Position | None) -> Batch:
        """Return a batch that ends where its frame does, or where the one before did when it is empty."""
        for name, column in zip(self._parts, self._layout.key, strict=True):
            if frame[name].dtype != pl.String:
                raise KeyViolation(
                    f"a value of key column {column.name} is not UTF-8, so no pull could go on behind it",
                    remedy="Choose other key columns, or set `key: none`",
                )
            if frame[name].null_count():
                raise KeyViolation(
                    f"key column {column.name} is NULL in {frame[name].null_count()} rows, so rows could be skipped",
                    remedy="Choose columns that are never NULL, or set `key: none`",
                )
        position = before
        if frame.height:
            edge = frame.row(frame.height - 1, named=True)
            watermark = None if by_key else edge[WATERMARK]
            position = Position(watermark, tuple(edge[name] for name in self._tail(by_key=by_key)))
            if not by_key:
                self.ties.see(frame[WATERMARK])
        rows = frame.with_columns(row_key(self._parts, KEY), *self._late(frame[WATERMARK]))
        rows = rows.drop([*self._parts, *([TENANT] if self._layout.tenant else [])])
        return Batch(rows, self._layout.fields, position, last)

    def _late(self, watermarks: pl.Series) -> list[pl.Series]:
        mark = None if self.previous is None else self.previous.marks.time
        if mark is None or not self._layout.watermark.kind.temporal:
            return []
        return [late_us(watermarks, mark).alias(LATE)]

    def _tail(self, *, by_key: bool) -> list[str]:
        """Return the key parts that a position holds: all where the order is by key, else not the watermark column."""
        if by_key:
            return self._parts
        kept = {column.name for column in keyset.key_columns(self._layout.watermark, self._layout.key)}
        return [part for part, column in zip(self._parts, self._layout.key, strict=True) if column.name in kept]
