"""Refused rows with their reason: one entry per stream and row key, closed when the key is accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, exists, func, select

from connector.store import codec, tables
from connector.store.database import Bulk, Refusal, Sighting
from connector.store.intake import FIELD, ROW, ROW_KEY, RULE, Intake
from connector.store.runs import Run

_quarantine = tables.quarantine.c
_ANY = select(exists().where(_quarantine.stream_id == bindparam("its_stream")))


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A refused row. `row` is its JSON text: it holds the client's data, and is shown only to who asks for it."""

    row_key: str
    field: str
    rule: str
    row: str
    first_at: datetime
    last_at: datetime
    times: int
    run_id: int


def settle(conn: Connection, bulk: Bulk, run: Run, intake: Intake, now: float) -> None:
    """Close the entries of a batch's accepted rows, open or renew those of the refused ones."""
    stream_id = run.row.stream_id
    if intake.records.height and _any(conn, stream_id):
        row_keys = intake.records[ROW_KEY].drop_nulls().to_list()
        bulk.accept(conn, stream_id, intake.read_order, row_keys)
    if intake.refused.height:
        rows = intake.refused.select(ROW_KEY, FIELD, RULE, ROW).iter_rows()
        refusals = (Refusal(*row) for row in rows)
        bulk.refuse(conn, Sighting(stream_id, run.run_id, intake.read_order, now), refusals)


def entries(conn: Connection, stream_id: int, limit: int) -> list[QuarantineEntry]:
    """Return a stream's entries, the latest refused first."""
    rows = (
        select(tables.quarantine)
        .where(_quarantine.stream_id == stream_id)
        .order_by(_quarantine.last_at.desc(), _quarantine.row_key)
        .limit(limit)
    )
    return [
        QuarantineEntry(
            row.row_key,
            row.field,
            row.rule,
            row.row,
            codec.moment(row.first_at),
            codec.moment(row.last_at),
            row.times,
            row.run_id,
        )
        for row in conn.execute(rows)
    ]


def counts(conn: Connection, stream_id: int | None = None) -> dict[int, int]:
    """Return the number of entries of every stream that has any, or of one."""
    query = select(_quarantine.stream_id, func.count()).group_by(_quarantine.stream_id)
    if stream_id is not None:
        query = query.where(_quarantine.stream_id == stream_id)
    return {stream: int(number) for stream, number in conn.execute(query)}


def _any(conn: Connection, stream_id: int) -> bool:
    return bool(conn.execute(_ANY, {"its_stream": stream_id}).scalar())
