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
    """Which rows of the batch change something, and how many don't.

    `superseded` counts by segment the records that are no longer the newest of their key.
    """

    creates: Sequence[int]
    updates: Sequence[int]
    unchanged: int
    ignored: int
    superseded: Counter[int]


def incoming(row: StreamRow, intake: Intake) -> Incoming:
    """Take keys and fingerprints out of a batch; raise KeyViolation when the keys aren't keys."""
    keys, fingerprints = intake.records[KEY], intake.records[FINGERPRINT]
    joined = b"".join(fingerprints.to_list())
    if keys.null_count() or keys.n_unique() != len(keys) or len(joined) != _FINGERPRINT_BYTES * len(keys):
        raise KeyViolation(
            "a batch names one identity twice, or none",
            remedy="Map the identity to columns that are unique in the source",
            where=str(row.id),
        )
    return Incoming(row.scope_id, row.stream_id, keys.to_list(), joined, intake.rules, intake.read_order)


def judge(conn: Connection, bulk: Bulk, run: Run, batch: Incoming) -> Verdict:
    """Compare a batch with the ledger; write nothing but the order in which unchanged records were seen."""
    differing = bulk.differing(conn, batch) if batch.keys else Differing([], [])
    verdict = _verdict(conn, run, batch, differing)
    # A batch of another lane that was read before this one may commit after it. What it brings is older than what
    # was found unchanged here, and the ledger must be able to tell. Without such a lane nobody could come late.
    if verdict.unchanged and leases.other_lanes(conn, run.claim):
        bulk.raise_read_order(conn, batch)
    return verdict


def changes_of(batch: Incoming, changed: Sequence[int] | None) -> Incoming:
    """Return the changed rows of a batch, in their order; None means all of them."""
    if changed is not None:
        width = _FINGERPRINT_BYTES
        return batch._replace(
            keys=[batch.keys[index] for index in changed],
            fingerprints=b"".join(batch.fingerprints[index * width : (index + 1) * width] for index in changed),
        )
    return batch


def _verdict(conn: Connection, run: Run, batch: Incoming, differing: Differing) -> Verdict:
    recreates: list[int] = []
    updates: list[int] = []
    superseded: Counter[int] = Counter()
    ignored = 0
    for nth, stream_id, segment_id, read_order, deleted in differing.known:
        if stream_id != batch.stream_id:
            if not deleted:
                raise _two_streams(conn, run, stream_id)
            recreates.append(nth)
        elif read_order > batch.read_order:
            ignored += 1
        elif deleted:
            recreates.append(nth)
        else:
            updates.append(nth)
            superseded[segment_id] += 1
    creates = [*differing.unseen, *recreates] if recreates else differing.unseen
    unchanged = len(batch.keys) - len(differing.unseen) - len(differing.known)
    return Verdict(creates, updates, unchanged, ignored, superseded)


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
