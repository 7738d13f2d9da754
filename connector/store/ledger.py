"""What became of each record of a batch, by comparison with what the ledger holds.

ledger holds                               the record is
nothing, or a deleted record               created
another stream's record                    a KeyViolation: nothing of the batch is committed
a record read in a later snapshot          ignored
the same fingerprint                       unchanged
another fingerprint                        updated
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from connector.errors import KeyViolation
from connector.store import leases, sheets, tables
from connector.store.database import FINGERPRINT_BYTES, Bulk, Differing, Incoming, Place
from connector.store.intake import FINGERPRINT, KEY, ROW_NO, Intake
from connector.store.runs import Run
from connector.store.state import StreamRow


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which records of the batch change something, and how many don't.

    `unseen` says which of `changed` have keys that the ledger didn't know. `updates` are those rows of the batch that
    replace a live record; every other one of `changed` creates one. `superseded` counts by segment the records that are
    no longer the newest of their key.
    """

    changed: Incoming
    unseen: NDArray[np.bool_]
    updates: pl.Series
    unchanged: int
    ignored: int
    superseded: Counter[int]

    @property
    def creates(self) -> int:
        return len(self.changed.keys) - len(self.updates)


def incoming(row: StreamRow, intake: Intake) -> Incoming:
    """Take keys and fingerprints out of a batch; raise KeyViolation when the keys aren't keys.

    They are sorted here because an index is read and written fastest in its own order.
    """
    rows, keys, fingerprints = _sorted(intake.records[KEY], intake.records[FINGERPRINT])
    joined = b"".join(fingerprints.to_list())
    if keys.null_count() or keys.n_unique() != len(keys) or len(joined) != FINGERPRINT_BYTES * len(keys):
        raise KeyViolation(
            "a batch names one identity twice, or none",
            remedy="Map the identity to columns that are unique in the source",
            where=str(row.id),
        )
    texts = keys.to_list()
    if "\0" in "".join(texts):  # SQLite's json_each() cuts there, and sheets fill up with them
        raise KeyViolation(
            "an identity holds a NUL character, which the store can't keep apart",
            remedy="Remove it in the field that is mapped to the identity, with an `sql` expression",
            where=str(row.id),
        )
    return Incoming(row.scope_id, row.stream_id, texts, joined, intake.rules, intake.read_order, rows)


def _sorted(keys: pl.Series, fingerprints: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series]:
    if keys.is_sorted():  # as the source delivered them, more often than not
        return pl.int_range(len(keys), dtype=pl.UInt32, eager=True), keys, fingerprints
    rows = keys.arg_sort()
    return rows, keys.gather(rows), fingerprints.gather(rows)


def judge(conn: Connection, bulk: Bulk, run: Run, batch: Incoming) -> Verdict:
    """Compare a batch with the ledger; write nothing but the order in which unchanged records were seen."""
    in_rows = bulk.differing(conn, batch) if batch.keys else Differing([], [])
    verdict = _verdict(conn, run, batch, sheets.differing(conn, batch, in_rows))
    # A batch of another lane that was read before this one may commit after it. What it brings is older than what
    # was found unchanged here, and the ledger must be able to tell. Without such a lane nobody could come late.
    if verdict.unchanged and leases.other_lanes(conn, run.claim):
        bulk.raise_read_order(conn, batch)
        sheets.raise_read_order(conn, batch, in_rows.unseen)
    return verdict


def _verdict(conn: Connection, run: Run, batch: Incoming, differing: Differing) -> Verdict:
    changed = list(differing.unseen)
    updates: list[int] = []
    superseded: Counter[int] = Counter()
    ignored = 0
    for nth, stream_id, segment_id, read_order, deleted in differing.known:
        if stream_id != batch.stream_id:
            if not deleted:
                raise _two_streams(conn, run, stream_id)
            changed.append(nth)
        elif read_order > batch.read_order:
            ignored += 1
        elif deleted:
            changed.append(nth)
        else:
            changed.append(nth)
            updates.append(nth)
            superseded[segment_id] += 1
    unchanged = len(batch.keys) - len(differing.unseen) - len(differing.known)
    changed.sort()
    unseen = np.isin(changed, differing.unseen, assume_unique=True)
    return Verdict(batch.only(changed), unseen, batch.rows.gather(updates), unchanged, ignored, superseded)


def record(conn: Connection, bulk: Bulk, verdict: Verdict, segment_id: int) -> None:
    """Point the ledger at a segment that holds what changed, in the order of the batch."""
    changed = verdict.changed
    row_nos = (changed.rows.rank("ordinal") - 1).to_numpy()
    created = np.flatnonzero(verdict.unseen)
    if sheets.write(conn, changed.only(created.tolist()), segment_id, row_nos[created]):
        left = np.flatnonzero(~verdict.unseen)
        changed, row_nos = changed.only(left.tolist()), row_nos[left]
    if changed.keys:
        bulk.put(conn, changed, segment_id, row_nos)


def places(conn: Connection, bulk: Bulk, scope_id: int, keys: Sequence[str]) -> list[Place]:
    """Return where the live ones of these keys lie, in their order."""
    keys = [key for key in keys if "\0" not in key]  # see `incoming`
    rows = bulk.rows(conn, scope_id, keys)
    lying = {keys[row.nth]: Place(keys[row.nth], row.segment_id, row.row_no) for row in rows if not row.deleted}
    left = sorted(set(keys).difference(keys[row.nth] for row in rows))
    lying |= {place.key: place for place in sheets.places(conn, scope_id, left)}
    return [lying[key] for key in keys if key in lying]


def pointed_at(conn: Connection, bulk: Bulk, scope_id: int, segment_id: int, frame: pl.DataFrame) -> pl.Series:
    """Say of each row of a segment whether it is the newest record of a live key."""
    pointed = np.isin(frame[ROW_NO].to_numpy(), sheets.row_numbers(conn, segment_id))
    for row in bulk.rows(conn, scope_id, frame[KEY].to_list()):
        pointed[row.nth] = row.segment_id == segment_id and not row.deleted
    return pl.Series(pointed)


def _two_streams(conn: Connection, run: Run, other_id: int) -> KeyViolation:
    streams = tables.streams.c
    other = conn.execute(select(streams.name).where(streams.stream_id == other_id)).scalar_one_or_none()
    return KeyViolation(
        f"two streams write one identity of entity {run.row.entity!r}: this one and {other or 'a removed one'!r}",
        remedy="Give one of them another entity or narrow its rows; if the stream was renamed, set `renamed_from`",
        where=str(run.row.id),
    )
