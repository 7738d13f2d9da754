"""Statements over many rows in SQLite.

Keys travel as one JSON array and fingerprints as one blob, and json_each() joins them to the ledger; what comes back
is gathered into JSON as well. One value bound or fetched per row would cost more than the statement itself. Keys come
in their order, so each page of the index is touched once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Connection

from connector.store.database import Differing, Incoming, Known, LedgerRow, Refusal, Sighting

_DIFFERING = """
SELECT json_group_array(j.key) FILTER (WHERE l.stream_id IS NULL),
       json_group_array(json_array(j.key, l.stream_id, l.segment_id, l.read_order, l.deleted))
           FILTER (WHERE l.stream_id IS NOT NULL)
FROM json_each(?) AS j LEFT JOIN ledger AS l ON l.scope_id = ? AND l.key = j.value
WHERE l.fingerprint IS NOT substr(?, j.key * 16 + 1, 16)
   OR l.stream_id IS NOT ? OR l.deleted IS NOT 0 OR l.read_order > ?
"""
# Most batches lie where there are few rows, for their keys are on sheets or not known at all.
_IN_RANGE = "SELECT key FROM ledger WHERE scope_id = ? AND key BETWEEN ? AND ? LIMIT ?"
_FEW = 0.2  # of a batch

_PUT_NUMBERED = """
INSERT INTO ledger (scope_id, key, stream_id, fingerprint, rules, segment_id, row_no, read_order, deleted)
SELECT ?, j.value, ?, substr(?, j.key * 16 + 1, 16), ?, ?, {row_no}, ?, 0
FROM json_each(?) AS j WHERE true
ON CONFLICT (scope_id, key) DO UPDATE SET
    stream_id = excluded.stream_id,
    fingerprint = excluded.fingerprint,
    rules = excluded.rules,
    segment_id = excluded.segment_id,
    row_no = excluded.row_no,
    read_order = max(ledger.read_order, excluded.read_order),
    deleted = 0
"""
_PUT = _PUT_NUMBERED.format(row_no="j.key")
_PUT_SHUFFLED = _PUT_NUMBERED.format(row_no="CAST(substr(?, j.key * 8 + 1, 8) AS INTEGER)")

_RAISE_READ_ORDER = """
UPDATE ledger SET read_order = ?
WHERE scope_id = ? AND stream_id = ? AND read_order < ? AND key IN (SELECT value FROM json_each(?))
"""

_ROWS = """
SELECT j.key, l.segment_id, l.row_no, l.deleted
FROM json_each(?) AS j JOIN ledger AS l ON l.scope_id = ? AND l.key = j.value ORDER BY j.key
"""

_REFUSE = """
INSERT INTO quarantine (stream_id, row_key, field, rule, row, first_at, last_at, times, run_id, read_order)
VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?)
ON CONFLICT (stream_id, row_key) DO UPDATE SET
    field = excluded.field, rule = excluded.rule, row = excluded.row, last_at = excluded.last_at,
    times = quarantine.times + 1, run_id = excluded.run_id, read_order = excluded.read_order
WHERE excluded.read_order >= quarantine.read_order
"""

_ACCEPT = "DELETE FROM quarantine WHERE stream_id = ? AND read_order <= ? AND row_key "
_NUL = "\\u0000"


class SqliteBulk:
    """Run the statements over many rows."""

    def differing(self, conn: Connection, incoming: Incoming) -> Differing:
        keys, few = incoming.keys, int(len(incoming.keys) * _FEW) + 1
        near = set(conn.exec_driver_sql(_IN_RANGE, (incoming.scope_id, keys[0], keys[-1], few)).scalars())
        if len(near) == few:
            return self._differing(conn, incoming)
        seen = [nth for nth, key in enumerate(keys) if key in near] if near else []
        if not seen:
            return Differing(range(len(keys)), [])
        known = self._differing(conn, incoming.only(seen)).known
        unseen = [nth for nth, key in enumerate(keys) if key not in near]
        return Differing(unseen, [row._replace(nth=seen[row.nth]) for row in known])

    @staticmethod
    def _differing(conn: Connection, incoming: Incoming) -> Differing:
        scope_id, stream_id, keys, fingerprints, _, read_order, _ = incoming
        values = (_json(keys), scope_id, fingerprints, stream_id, read_order)
        unseen, known = conn.exec_driver_sql(_DIFFERING, values).one()
        return Differing(json.loads(unseen), [Known._make(row) for row in json.loads(known)])

    def put(self, conn: Connection, incoming: Incoming, segment_id: int, row_nos: NDArray[Any]) -> None:
        scope_id, stream_id, keys, fingerprints, rules, read_order, _ = incoming
        place = (scope_id, stream_id, fingerprints, rules, segment_id)
        seen = (read_order, _json(keys))
        if np.array_equal(row_nos, np.arange(len(row_nos))):  # as most come; it saves a third of the statement
            conn.exec_driver_sql(_PUT, place + seen)
        else:
            conn.exec_driver_sql(_PUT_SHUFFLED, (*place, _digits(row_nos), *seen))

    def raise_read_order(self, conn: Connection, incoming: Incoming) -> None:
        order = incoming.read_order
        values = (order, incoming.scope_id, incoming.stream_id, order, _json(incoming.keys))
        conn.exec_driver_sql(_RAISE_READ_ORDER, values)

    def rows(self, conn: Connection, scope_id: int, keys: Sequence[str]) -> list[LedgerRow]:
        return [LedgerRow._make(row) for row in conn.exec_driver_sql(_ROWS, (_json(keys), scope_id))]

    def refuse(self, conn: Connection, sighting: Sighting, refusals: Iterable[Refusal]) -> None:
        stream_id, run_id, read_order, now = sighting
        rows = [(stream_id, *refusal, now, now, run_id, read_order) for refusal in refusals]
        if rows:
            conn.exec_driver_sql(_REFUSE, rows)

    def accept(self, conn: Connection, stream_id: int, read_order: int, row_keys: Sequence[str]) -> None:
        text = json.dumps(row_keys, ensure_ascii=False)
        if _NUL not in text:
            conn.exec_driver_sql(_ACCEPT + "IN (SELECT value FROM json_each(?))", (stream_id, read_order, text))
        else:
            conn.exec_driver_sql(_ACCEPT + "= ?", [(stream_id, read_order, key) for key in row_keys])


def _digits(row_nos: NDArray[Any]) -> bytes:
    """Return row numbers as text, 8 digits each."""
    text: str = pl.Series(row_nos).cast(pl.String).str.zfill(8).str.join().item()
    return text.encode()


def _json(keys: Sequence[str]) -> str:
    return json.dumps(keys, ensure_ascii=False)
