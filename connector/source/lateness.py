"""How late a row became visible: how far its stamp lies below the mark of the pull before."""

from __future__ import annotations

import polars as pl

OFFSET = r"(:\d\d(?:\.\d+)?)(?:Z|[+-]\d\d(?::?\d\d)?)$"


def late_us(watermarks: pl.Series, mark: str) -> pl.Series:
    """Return microseconds below the mark, negative above it, null for what is no time (zero dates, infinity).

    Both are read as they stand: a column's texts share one zone, and an hour that comes twice counts once.
    """
    marks = _micros(pl.Series([mark]).new_from_index(0, len(watermarks)))
    return marks - _micros(watermarks)


def _micros(texts: pl.Series) -> pl.Series:
    plain = texts.cast(pl.String).str.replace(OFFSET, "$1").str.replace("T", " ", literal=True)
    times = plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    days = plain.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False)
    return times.fill_null(days).dt.epoch("us")
