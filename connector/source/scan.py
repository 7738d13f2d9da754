"""One stream's statements over one session: frames whose rows are known to be this client's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import polars as pl

from connector.config.resolved import Stream
from connector.errors import StreamStopped
from connector.model import Bound, Kind
from connector.source import tenant, window
from connector.source.frames import stacked, text_of
from connector.source.layout import TENANT, WATERMARK, Layout
from connector.source.pages import Pages
from connector.source.select import Select
from connector.source.session import Session

Piece: TypeAlias = tuple[pl.DataFrame, bool]
"""Some rows, and whether more may follow."""


class Scan:
    """Reads what `pages` asks for, checked."""

    def __init__(self, session: Session, stream: Stream, found: Layout, pages: Pages) -> None:
        self._session = session
        self._stream = stream
        self._layout = found
        self._pages = pages

    def full_or_last(self, select: Select, size: int) -> Iterator[Piece]:
        """Read a page in pieces; only one that is not full can be the last."""
        height = 0
        for frame, more in self.pieces(select, size):
            height += frame.height
            yield frame, more or height == size

    def keyless_page(self, select: Select, size: int, lower: Bound | None) -> Piece:
        """Read a page that ends between two watermark values, or all of one value's rows."""
        frame = self.frame(select)
        if frame.height < size:
            return frame, False
        edge = frame[WATERMARK][-1]
        whole = frame.filter(_differs(frame[WATERMARK], edge, self._layout.watermark.kind))
        if whole.height:
            return whole, True
        return self.group(edge, lower), True

    def group(self, watermark: str | None, lower: Bound | None) -> pl.DataFrame:
        """Read all rows of one watermark value of a keyless stream."""
        limit = self._stream.max_equal
        frame = self.frame(self._pages.group(watermark, lower, limit + 1))
        if frame.height > limit:
            raise StreamStopped(
                f"more than {limit} rows share one value of {self._layout.watermark.name}, and the stream has no key "
                "to resume within them; the watermark stays",
                remedy="Set `key`, raise max_equal, or choose a finer watermark column",
            )
        return frame

    def frame(self, select: Select) -> pl.DataFrame:
        """Read a select whole, whatever its rows weigh."""
        return stacked([frame for frame, _ in self.pieces(select, select.limit or self._stream.batch_size)])

    def pieces(self, select: Select, size: int) -> Iterator[Piece]:
        """Read a select of the stream's outputs bit by bit, each row known to be this client's."""
        found = self._layout
        for read, more in self._session.frames(select, found.wanted, size):
            frame = read.with_columns(_copy(read[original], alias) for alias, original in found.copies)
            if found.tenant is not None:
                tenant.recheck(frame[TENANT], found.spellings, found.tenant)
            yield frame, more

    def greatest(self, lower: Bound | None, at_most: str | None, rows: int) -> list[str]:
        """Return the greatest watermarks, greatest first."""
        found = self._session.select(self._pages.greatest(lower, at_most, rows))
        return [text for (value,) in found if (text := text_of(value)) is not None]


def _copy(original: pl.Series, alias: str) -> pl.Series:
    return original.alias(alias) if original.dtype == pl.Binary else original.cast(pl.String).alias(alias)


def _differs(watermarks: pl.Series, edge: str, kind: Kind) -> pl.Series:
    """Tell equal values from others as the database does: 1.0 and 1.00 are one decimal in two spellings."""
    if kind is not Kind.DECIMAL:
        return watermarks != edge
    last = window.number(edge)
    return pl.Series([window.number(text) != last for text in watermarks.to_list()], dtype=pl.Boolean)
