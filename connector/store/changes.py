"""The change log: one segment per batch, and compaction, which keeps the newest record of every live key.

Rows keep their `_row_no` for life, so the ledger's (segment, row) stays true when a segment is rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from connector.errors import StoreError
from connector.store import codec, ledger, sheets, tables
from connector.store.database import Bulk, Database
from connector.store.intake import FINGERPRINT, KEY, LATE, ROW_KEY, ROW_NO
from connector.store.ledger import Verdict
from connector.store.runs import Run

OP = "_op"
KEYS_PER_QUERY = 10_000

_NOT_STORED = (KEY, FINGERPRINT, ROW_KEY, LATE)

_segments = tables.segments.c
_payloads = tables.payloads.c
_NEW_SEGMENT = insert(tables.segments).returning(_segments.segment_id)
_NEW_PAYLOAD = insert(tables.payloads)
_SUPERSEDE = (
    update(tables.segments)
    .where(_segments.segment_id == bindparam("its_segment"))
    .values(live_rows=_segments.live_rows - bindparam("fewer"))
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A batch's changes. `frame`: `_op` (create, update, delete), `_key`, `_row_no`, then the record's fields."""

    segment_id: int
    stream_id: int
    lane: str
    run_id: int
    committed_at: datetime
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction gained."""

    segments: int
    rows: int
    bytes: int

    def __add__(self, other: CompactReport) -> CompactReport:
        return CompactReport(self.segments + other.segments, self.rows + other.rows, self.bytes + other.bytes)


def append(conn: Connection, run: Run, records: pl.DataFrame, verdict: Verdict, now: float) -> int:
    """Write a batch's changes down in its order and return their segment."""
    rows = verdict.changed.rows
    kinds = pl.Series(OP, ["create"]).new_from_index(0, records.height)
    if len(verdict.updates):
        kinds = kinds.scatter(verdict.updates, "update")
    changed = records.select(kinds, KEY, *[name for name in records.columns if name not in _NOT_STORED])
    if len(rows) < records.height:
        changed = changed[rows.sort()]
    frame = changed.insert_column(2, pl.int_range(len(rows), dtype=pl.UInt32, eager=True).alias(ROW_NO))
    segment = {
        "stream_id": run.row.stream_id,
        "scope_id": run.row.scope_id,
        "lane": run.lane,
        "run_id": run.run_id,
        "committed_at": now,
        "rows": frame.height,
        "creates": verdict.creates,
        "updates": len(verdict.updates),
        "deletes": 0,
        "live_rows": frame.height,
        "stored_rows": frame.height,
    }
    segment_id: int = conn.execute(_NEW_SEGMENT, segment).scalar_one()
    conn.execute(_NEW_PAYLOAD, {"segment_id": segment_id, "payload": _pack(frame)})
    return segment_id


def supersede(conn: Connection, counts: Iterable[tuple[int, int]]) -> None:
    """Count down the live rows of segments whose records were replaced."""
    superseded = [{"its_segment": segment_id, "fewer": rows} for segment_id, rows in counts]
    if superseded:
        conn.execute(_SUPERSEDE, superseded)


def records(conn: Connection, bulk: Bulk, scope_id: int, keys: Sequence[str]) -> pl.DataFrame:
    """Return `_key` and fields of the newest record of each live key, in the order of `keys`."""
    wanted = list(dict.fromkeys(keys))
    places = [
        place
        for start in range(0, len(wanted), KEYS_PER_QUERY)
        for place in ledger.places(conn, bulk, scope_id, wanted[start : start + KEYS_PER_QUERY])
    ]
    rows_of: dict[int, list[int]] = {}
    for _, segment_id, row_no in places:
        rows_of.setdefault(segment_id, []).append(row_no)
    found = [
        _frame(conn, segment_id).filter(pl.col(ROW_NO).is_in(row_nos)).drop(OP, ROW_NO)
        for segment_id, row_nos in rows_of.items()
    ]
    if not found:
        return pl.DataFrame(schema={KEY: pl.String})
    order = pl.DataFrame({KEY: [place.key for place in places]}, schema={KEY: pl.String})
    return order.join(stack(found), on=KEY, how="inner", maintain_order="left")


def live(database: Database, scope_id: int, stream_id: int, limit: int | None) -> Iterator[pl.DataFrame]:
    """Yield `_key` and fields of a stream's live records, newest segment first, as one state of the store.

    The transaction stays open until the iterator ends or is closed, and the write-ahead log grows meanwhile.
    """
    left = limit
    with database.read() as conn:
        where = (_segments.stream_id == stream_id, _segments.live_rows > 0)
        newest_first = select(tables.segments).where(*where).order_by(_segments.segment_id.desc())
        for segment in conn.execute(newest_first).all():
            if left is not None and left <= 0:
                return
            frame = _frame(conn, segment.segment_id)
            if segment.live_rows < segment.stored_rows:
                frame = frame.filter(ledger.pointed_at(conn, database.bulk, scope_id, segment.segment_id, frame))
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            yield frame.drop(OP, ROW_NO)


def after(database: Database, segment_id: int, limit: int) -> Iterator[Segment]:
    """Yield the segments after `segment_id` that still hold rows, in the order of their commits."""
    with database.read() as conn:
        following = (
            select(tables.segments)
            .join(tables.payloads, _payloads.segment_id == _segments.segment_id)
            .where(_segments.segment_id > segment_id)
            .order_by(_segments.segment_id)
            .limit(limit)
        )
        for row in conn.execute(following).all():
            frame = _frame(conn, row.segment_id)
            yield Segment(row.segment_id, row.stream_id, row.lane, row.run_id, codec.moment(row.committed_at), frame)


def wasteful(conn: Connection, stream_id: int | None, min_dead_share: float) -> list[int]:
    """Return the segments worth compacting: passed by every destination, with that share of superseded rows or more."""
    passed = conn.execute(select(func.min(tables.destinations.c.offset_segment))).scalar()
    dead = _segments.stored_rows - _segments.live_rows
    chosen = select(_segments.segment_id).where(dead > 0, dead >= _segments.stored_rows * min_dead_share)
    if passed is not None:
        chosen = chosen.where(_segments.segment_id <= passed)
    if stream_id is not None:
        chosen = chosen.where(_segments.stream_id == stream_id)
    return list(conn.execute(chosen.order_by(_segments.segment_id)).scalars())


def compact(conn: Connection, bulk: Bulk, segment_id: int) -> CompactReport:
    """Rewrite one segment with only those rows that the ledger points at."""
    segment = conn.execute(select(tables.segments).where(_segments.segment_id == segment_id)).one_or_none()
    payload = _payload(conn, segment_id)
    if segment is None or payload is None:
        return CompactReport(0, 0, 0)
    frame = pl.read_ipc_stream(payload)
    kept = frame.filter(ledger.pointed_at(conn, bulk, segment.scope_id, segment_id, frame))
    packed = _pack(kept) if kept.height else b""
    if packed:
        conn.execute(update(tables.payloads).where(_payloads.segment_id == segment_id).values(payload=packed))
    else:
        conn.execute(delete(tables.payloads).where(_payloads.segment_id == segment_id))
        sheets.drop(conn, segment_id)
    conn.execute(update(tables.segments).where(_segments.segment_id == segment_id).values(stored_rows=kept.height))
    return CompactReport(1, frame.height - kept.height, len(payload) - len(packed))


def live_counts(conn: Connection) -> dict[int, int]:
    """Return the number of live records of every stream that has any."""
    counts = select(_segments.stream_id, func.sum(_segments.live_rows)).group_by(_segments.stream_id)
    return {stream_id: int(rows) for stream_id, rows in conn.execute(counts)}


def stack(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put frames of different times under one another; a field whose type changed in between becomes text."""
    types: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            types.setdefault(name, set()).add(dtype)
    mixed = [name for name, found in types.items() if len(found - {pl.Null()}) > 1]
    texts = [frame.with_columns(pl.col(set(mixed) & set(frame.columns)).cast(pl.String)) for frame in frames]
    return pl.concat(texts if mixed else frames, how="diagonal_relaxed")


def _frame(conn: Connection, segment_id: int) -> pl.DataFrame:
    payload = _payload(conn, segment_id)
    if payload is None:  # although the ledger points here, or `live_rows` counts a row
        raise StoreError(
            f"segment {segment_id} of the change log has no payload",
            remedy="The store is damaged: stop connector, keep the file, and restore the newest backup",
        )
    return pl.read_ipc_stream(payload)


def _payload(conn: Connection, segment_id: int) -> bytes | None:
    payload = select(_payloads.payload).where(_payloads.segment_id == segment_id)
    return conn.execute(payload).scalar_one_or_none()


def _pack(frame: pl.DataFrame) -> memoryview:
    return frame.write_ipc_stream(None, compression="zstd").getbuffer()
