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
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, select

from connector.errors import KeyViolation
from connector.store import leases, tables
from connector.store.database import Bulk, Differing, Incoming
from connector.store.intake import FINGERPRINT, KEY, Intake
from connector.store.runs import Run
from connector.store.state import StreamRow

_FINGERPRINT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which records of the batch change something, and how many don't.

    `updates` are those rows of the batch that replace a live record; every other one of `changed` creates one.
    `superseded` counts by segment the records that are no longer the newest of their key.
    """

    changed: Incoming
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
    if keys.null_count() or keys.n_unique() != len(keys) or len(joined) != _FINGERPRINT_BYTES * len(keys):
        raise KeyViolation(
            "a batch names one identity twice, or none",
            remedy="Map the identity to columns that are unique in the source",
            where=str(row.id),
        )
    return Incoming(row.scope_id, row.stream_id, keys.to_list(), joined, intake.rules, intake.read_order, rows)


def _sorted(keys: pl.Series, fingerprints: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series]:
    if keys.is_sorted():  # as the source delivered them, more often than not
        return pl.int_range(len(keys), dtype=pl.UInt32, eager=True), keys, fingerprints
    rows = keys.arg_sort()
    return rows, keys.gather(rows), fingerprints.gather(rows)


def judge(conn: Connection, bulk: Bulk, run: Run, batch: Incoming) -> Verdict:
    """Compare a batch with the ledger; write nothing but the order in which unchanged records were seen."""
    differing = bulk.differing(conn, batch) if batch.keys else Differing([], [])
    verdict = _verdict(conn, run, batch, differing)
    # A batch of another lane that was read before this one may commit after it. What it brings is older than what
    # was found unchanged here, and the ledger must be able to tell. Without such a lane nobody could come late.
    if verdict.unchanged and leases.other_lanes(conn, run.claim):
        bulk.raise_read_order(conn, batch)
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
    return Verdict(_only(batch, changed), batch.rows.gather(updates), unchanged, ignored, superseded)


def _only(batch: Incoming, wanted: list[int]) -> Incoming:
    if len(wanted) == len(batch.keys):
        return batch
    wanted.sort()
    width = _FINGERPRINT_BYTES
    return batch._replace(
        keys=[batch.keys[nth] for nth in wanted],
        fingerprints=b"".join(batch.fingerprints[nth * width : (nth + 1) * width] for nth in wanted),
        rows=batch.rows.gather(wanted),
    )


def _two_streams(conn: Connection, run: Run, other_id: int) -> KeyViolation:
    streams = tables.streams.c
    other = conn.execute(select(streams.name).where(streams.stream_id == other_id)).scalar_one_or_none()
    return KeyViolation(
        f"two streams write one identity of entity {run.row.entity!r}: this one and {other or 'a removed one'!r}",
        remedy="Give one of them another entity or narrow its rows; if the stream was renamed, set `renamed_from`",
        where=str(run.row.id),
    )


def keys_of(frame: pl.DataFrame) -> list[str]:
    """Return a segment's keys in its order."""
    return frame[KEY].to_list()
