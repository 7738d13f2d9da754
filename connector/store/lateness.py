"""How far below the mark newly seen versions lay: one histogram per stream.

Bucket 0 counts what was not late; bucket n counts lateness of 2^(n-1) microseconds up to 2^n, the length of the
number in bits, so that 64 rows per stream hold every Int64. Each bucket keeps its greatest value, and a percentile is
answered with that of the bucket it falls into: no less than the true one, less than twice of it, and really seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection, Row, Select, select, text

from connector.store import tables
from connector.store.intake import LATE

_lateness = tables.lateness.c
_BITS = 64

# Understood by every database that a store runs on, where SQLAlchemy has one form for each.
_ADD = text("""
INSERT INTO lateness (stream_id, bucket, rows, max_us) VALUES (:stream_id, :bucket, :rows, :max_us)
ON CONFLICT (stream_id, bucket) DO UPDATE SET
    rows = lateness.rows + excluded.rows,
    max_us = CASE WHEN excluded.max_us > lateness.max_us THEN excluded.max_us ELSE lateness.max_us END
""")


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late a stream's new versions were, of those of which it can be told.

    `rows` counts them, `late` those below the mark of the pull before. The percentiles are over all `rows`, where
    on-time ones are 0 late: 99 of 100 versions lay at most `p99_us` below the mark. Times are in microseconds.
    """

    rows: int
    late: int
    p50_us: int
    p99_us: int
    max_us: int


def add(conn: Connection, stream_id: int, records: pl.DataFrame, changed: pl.Series) -> int:
    """Count a batch's changed rows and return the greatest lateness, 0 if none was late."""
    if LATE not in records.columns:
        return 0
    values = records[LATE].gather(changed).drop_nulls().clip(lower_bound=0)
    if values.is_empty():
        return 0
    bucket = (_BITS - pl.col(LATE).bitwise_leading_zeros().cast(pl.Int64)).alias("bucket")
    counts = values.to_frame().group_by(bucket).agg(rows=pl.len(), max_us=pl.col(LATE).max())
    rows = counts.sort("bucket").to_dicts()
    conn.execute(_ADD, [{"stream_id": stream_id, **row} for row in rows])
    return int(rows[-1]["max_us"])


def of_stream(conn: Connection, stream_id: int) -> Lateness | None:
    """Return a stream's lateness, None when nothing is known of it."""
    return _by_stream(conn.execute(_buckets().where(_lateness.stream_id == stream_id))).get(stream_id)


def of_each(conn: Connection) -> dict[int, Lateness]:
    """Return the lateness of every stream of which something is known."""
    return _by_stream(conn.execute(_buckets()))


def _buckets() -> Select[Any]:
    return select(tables.lateness).order_by(_lateness.stream_id, _lateness.bucket)


def _by_stream(rows: Iterable[Row[Any]]) -> dict[int, Lateness]:
    buckets: dict[int, list[tuple[int, int]]] = {}
    for row in rows:
        buckets.setdefault(row.stream_id, []).append((row.rows, row.max_us))
    return {stream_id: _read(found) for stream_id, found in buckets.items()}


def _read(buckets: Sequence[tuple[int, int]]) -> Lateness:
    total = sum(rows for rows, _ in buckets)
    late = sum(rows for rows, max_us in buckets if max_us > 0)
    return Lateness(total, late, _percentile(buckets, total, 50), _percentile(buckets, total, 99), buckets[-1][1])


def _percentile(buckets: Sequence[tuple[int, int]], total: int, percent: int) -> int:
    below = 0
    for rows, max_us in buckets:
        below += rows
        if below * 100 >= total * percent:
            return max_us
    return buckets[-1][1]
