"""What the store asks of a database, so that another one can take the place of the file.

Plain statements are SQLAlchemy Core and written once. `Bulk` holds those that touch a row per record: each database
has its own fastest way, and one contract suite holds them to the same results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Connection

FINGERPRINT_BYTES = 16


class Known(NamedTuple):
    """What the ledger holds of the batch's n-th record."""

    nth: int
    stream_id: int
    segment_id: int
    read_order: int
    deleted: int


class Differing(NamedTuple):
    """The records of a batch that the ledger doesn't know, by their numbers, and those that it knows otherwise.

    All others are stored as they are, by this stream, and were not read later.
    """

    unseen: Sequence[int]
    known: Sequence[Known]


class Incoming(NamedTuple):
    """The records of one batch as the ledger sees them, in ascending order of their keys.

    `fingerprints` holds 16 bytes for each key. `rows` says which row of the batch each record is.
    """

    scope_id: int
    stream_id: int
    keys: Sequence[str]
    fingerprints: bytes
    rules: int
    read_order: int
    rows: pl.Series

    def only(self, nths: list[int]) -> Incoming:
        """Return some of the records, which are named in ascending order."""
        if len(nths) == len(self.keys):
            return self
        width = FINGERPRINT_BYTES
        return self._replace(
            keys=[self.keys[nth] for nth in nths],
            fingerprints=b"".join(self.fingerprints[nth * width : (nth + 1) * width] for nth in nths),
            rows=self.rows.gather(nths),
        )


class Place(NamedTuple):
    """Where the newest record of a live key lies."""

    key: str
    segment_id: int
    row_no: int


class LedgerRow(NamedTuple):
    """What the ledger's row of the n-th key says."""

    nth: int
    segment_id: int
    row_no: int
    deleted: int


class Sighting(NamedTuple):
    """Who saw a refused row, and when."""

    stream_id: int
    run_id: int
    read_order: int
    now: float


class Refusal(NamedTuple):
    """One refused row."""

    row_key: str
    field: str
    rule: str
    row: str


class Bulk(Protocol):
    """Statements over many rows at once. Keys are unique within a call and hold no NUL character."""

    def differing(self, conn: Connection, incoming: Incoming) -> Differing:
        """Compare a batch with the ledger's rows."""

    def put(self, conn: Connection, incoming: Incoming, segment_id: int, row_nos: NDArray[Any]) -> None:
        """Create or replace the rows of these records, which are those rows of a segment."""

    def raise_read_order(self, conn: Connection, incoming: Incoming) -> None:
        """Note that the stored records were seen again in this batch's snapshot."""

    def rows(self, conn: Connection, scope_id: int, keys: Sequence[str]) -> list[LedgerRow]:
        """Return the ledger's rows of those keys that have one, in the order of `keys`."""

    def refuse(self, conn: Connection, sighting: Sighting, refusals: Iterable[Refusal]) -> None:
        """Open a quarantine entry per row key, or renew it, unless a later snapshot's entry is there."""

    def accept(self, conn: Connection, stream_id: int, read_order: int, row_keys: Sequence[str]) -> None:
        """Close the quarantine entries of these row keys, unless they stem from a later snapshot."""


class Database(Protocol):
    """Transactions on the store's database; errors of the driver come out as StoreError."""

    @property
    def bulk(self) -> Bulk:
        """Return the statements over many rows."""

    def read(self) -> AbstractContextManager[Connection]:
        """Open a transaction that sees one state of the store."""

    def write(self) -> AbstractContextManager[Connection]:
        """Open the only transaction that writes; commit at the end, roll back on any exception."""

    def require_space(self) -> None:
        """Raise StoreError when there is too little room to write."""

    def close(self) -> None:
        """Give up every connection."""
