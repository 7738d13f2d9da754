"""Sheets: the ledger of what one batch created, in columns.

A row of the ledger has its own place in a tree, and a first pull would spend more on those places than on all else. So
a batch that creates many records leaves a sheet: their keys, fingerprints and row numbers as three arrays in the order
of the keys. A sheet never changes, and no key is on two. Whatever becomes of a record later is written as a row, and a
row overrides every sheet.

Keys are looked up by their heads, the eight bytes that follow what all keys of the sheet have in common, and compared
in full. Keys without such heads of their own don't go on a sheet, nor do keys that lie among those of many sheets, as
random ones do: each batch would have to look at all of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from connector.store import tables
from connector.store.database import FINGERPRINT_BYTES, Differing, Incoming, Known, Place

FEWEST = 1_000
"""Records that are worth a sheet."""
MOST_OVERLAPPING = 32
LONGEST_KEY = 64  # bytes
AT_ONCE = 16
"""Sheets that are opened at once; one of a batch of 10,000 takes about half a megabyte."""

_HEAD_BYTES = 8

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]

_sheets = tables.sheets.c
_OVERLAPPING = (
    select(
        _sheets.segment_id, _sheets.stream_id, _sheets.read_order, _sheets.rules, _sheets.first_key, _sheets.last_key
    )
    .where(
        _sheets.scope_id == bindparam("its_scope"),
        _sheets.last_key >= bindparam("first"),
        _sheets.first_key <= bindparam("last"),
    )
    .order_by(_sheets.last_key)
)
_ROW_NOS = select(_sheets.row_nos).where(_sheets.segment_id == bindparam("its_segment"))
_COLUMNS = select(_sheets.segment_id, _sheets.width, _sheets.tails, _sheets.fingerprints, _sheets.row_nos).where(
    # Not one expanding parameter: SQLAlchemy takes milliseconds to write it out, each time.
    _sheets.segment_id.in_([bindparam(f"segment{number}") for number in range(AT_ONCE)])
)
_NEW = insert(tables.sheets)
_NEW_ROWS = insert(tables.ledger)
_ROW_NUMBER = np.dtype("<u4")


class Sheet(NamedTuple):
    """What is known of a sheet without opening it."""

    segment_id: int
    stream_id: int
    read_order: int
    rules: int
    first_key: str
    last_key: str


@dataclass(frozen=True, slots=True)
class Found:
    """Keys that are on a sheet: `nth` of those asked for, with what the sheet says of them."""

    sheet: Sheet
    nth: Numbers
    fingerprints: Bytes
    row_nos: NDArray[Any]


def differing(conn: Connection, batch: Incoming, asked: Differing) -> Differing:
    """Look up on the sheets what `asked`, the answer of the rows, calls unseen."""
    nths = np.asarray(asked.unseen, dtype=np.int64)
    unseen = np.full(len(nths), fill_value=True)
    known = list(asked.known)
    for found, same in _compared(conn, batch, nths):
        unseen[found.nth] = False
        sheet = found.sheet
        known += [
            Known(nth, sheet.stream_id, sheet.segment_id, sheet.read_order, 0)
            for nth in nths[found.nth[~same]].tolist()
        ]
    return Differing(nths[unseen].tolist(), known)


def raise_read_order(conn: Connection, batch: Incoming, unseen: Sequence[int]) -> None:
    """Note that records of sheets were seen again in this batch's snapshot, which makes them rows."""
    nths = np.asarray(unseen, dtype=np.int64)
    rows = [
        {
            "scope_id": batch.scope_id,
            "key": batch.keys[nth],
            "stream_id": batch.stream_id,
            "fingerprint": _fingerprint(batch, nth),
            "rules": found.sheet.rules,
            "segment_id": found.sheet.segment_id,
            "row_no": row_no,
            "read_order": batch.read_order,
            "deleted": 0,
        }
        for found, same in _compared(conn, batch, nths)
        if found.sheet.read_order < batch.read_order
        for nth, row_no in zip(nths[found.nth[same]].tolist(), found.row_nos[same].tolist(), strict=True)
    ]
    if rows:
        conn.execute(_NEW_ROWS, rows)


def _compared(conn: Connection, batch: Incoming, nths: Numbers) -> Iterator[tuple[Found, NDArray[np.bool_]]]:
    """Yield what is found of a batch, and which of it is stored as it is, by this stream, and was not read later."""
    fingerprints = _rows_of(batch.fingerprints, FINGERPRINT_BYTES)
    keys = batch.keys if len(nths) == len(batch.keys) else [batch.keys[nth] for nth in nths]
    for found in find(conn, batch.scope_id, keys):
        sheet = found.sheet
        same = (fingerprints[nths[found.nth]] == found.fingerprints).all(axis=1)
        same &= sheet.stream_id == batch.stream_id and sheet.read_order <= batch.read_order
        yield found, same


def places(conn: Connection, scope_id: int, keys: Sequence[str]) -> list[Place]:
    """Return where the records of these keys, in ascending order, lie."""
    return [
        Place(keys[nth], found.sheet.segment_id, row_no)
        for found in find(conn, scope_id, keys)
        for nth, row_no in zip(found.nth.tolist(), found.row_nos.tolist(), strict=True)
    ]


def row_numbers(conn: Connection, segment_id: int) -> NDArray[Any]:
    """Return which rows of a segment are on its sheet."""
    stored = conn.execute(_ROW_NOS, {"its_segment": segment_id}).scalar_one_or_none()
    return np.frombuffer(stored or b"", _ROW_NUMBER)


def write(conn: Connection, created: Incoming, segment_id: int, row_nos: NDArray[Any]) -> bool:
    """Put records on a sheet if it is worth it and they are fit for one; say whether that was done."""
    if len(created.keys) < FEWEST:
        return False
    first, last = created.keys[0], created.keys[-1]
    keys = _Keys(created.keys)
    if keys.too_long.any():
        return False
    tails = keys.behind(_common(first, last), 0, len(created.keys))
    heads = _heads(tails)
    if not (heads[1:] > heads[:-1]).all():
        return False
    if len(overlapping(conn, created.scope_id, first, last)) > MOST_OVERLAPPING:
        return False
    conn.execute(
        _NEW,
        {
            "segment_id": segment_id,
            "scope_id": created.scope_id,
            "stream_id": created.stream_id,
            "read_order": created.read_order,
            "rules": created.rules,
            "first_key": first,
            "last_key": last,
            "width": tails.shape[1],
            "tails": tails.tobytes(),
            "fingerprints": created.fingerprints,
            "row_nos": row_nos.astype(_ROW_NUMBER).tobytes(),
        },
    )
    return True


def drop(conn: Connection, segment_id: int) -> None:
    """Remove a sheet whose records are all overridden."""
    conn.execute(delete(tables.sheets).where(_sheets.segment_id == segment_id))


def overlapping(conn: Connection, scope_id: int, first: str, last: str) -> list[Sheet]:
    """Return the sheets that may hold keys from `first` to `last`."""
    rows = conn.execute(_OVERLAPPING, {"its_scope": scope_id, "first": first, "last": last})
    return [Sheet._make(row) for row in rows]


def find(conn: Connection, scope_id: int, keys: Sequence[str]) -> Iterator[Found]:
    """Yield what the sheets hold of these keys, which come in ascending order."""
    # Texts compare like their UTF-8.
    spans = {
        sheet.segment_id: (sheet, bisect_left(keys, sheet.first_key), bisect_right(keys, sheet.last_key))
        for sheet in (overlapping(conn, scope_id, keys[0], keys[-1]) if keys else ())
    }
    wanted = [segment_id for segment_id, (_, low, high) in spans.items() if low < high]
    if not wanted:
        return
    asked = _Keys(keys)
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        names = {f"segment{number}": some[min(number, len(some) - 1)] for number in range(AT_ONCE)}
        for columns in conn.execute(_COLUMNS, names):
            yield _found(asked, *spans[columns.segment_id], columns)


def _found(asked: _Keys, sheet: Sheet, low: int, high: int, columns: Row[*tuple[Any, ...]]) -> Found:
    tails = asked.behind(_common(sheet.first_key, sheet.last_key), low, high)
    on_sheet = _rows_of(columns.tails, columns.width)
    at = np.searchsorted(_heads(on_sheet), _heads(tails))
    at[at == len(on_sheet)] = 0
    equal = (_texts(on_sheet)[at] == _texts(tails)) & ~asked.too_long[low:high]
    at = at[equal]
    return Found(
        sheet,
        low + np.flatnonzero(equal),
        _rows_of(columns.fingerprints, FINGERPRINT_BYTES)[at],
        np.frombuffer(columns.row_nos, _ROW_NUMBER)[at],
    )


class _Keys:
    """Keys as a matrix of bytes, a row for each, filled up with zeros: no key holds one."""

    def __init__(self, keys: Sequence[str]) -> None:
        encoded = "\0".join(keys).encode().split(b"\0")
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        self.too_long = lengths > LONGEST_KEY
        width = max(1, min(int(lengths.max()), LONGEST_KEY))
        self._matrix = np.array(encoded, dtype=f"S{width}").view(np.uint8).reshape(len(encoded), width)

    def behind(self, prefix: int, low: int, high: int) -> Bytes:
        """Return the rows from `low` up to `high`, without the first bytes of each key."""
        tails = self._matrix[low:high, prefix:]
        return np.ascontiguousarray(tails) if tails.shape[1] else np.zeros((high - low, 1), np.uint8)


def _common(first: str, last: str) -> int:
    """Return how many bytes two keys, and so all between them, have in common at their beginning."""
    pairs = zip(first.encode(), last.encode(), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _heads(tails: Bytes) -> NDArray[np.uint64]:
    heads = np.zeros((len(tails), _HEAD_BYTES), np.uint8)
    width = min(_HEAD_BYTES, tails.shape[1])
    heads[:, :width] = tails[:, :width]
    return heads.view(">u8").ravel().astype(np.uint64)


def _texts(tails: Bytes) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(tails).view(f"S{tails.shape[1]}").ravel()


def _rows_of(stored: bytes, width: int) -> Bytes:
    return np.frombuffer(stored, np.uint8).reshape(-1, width)


def _fingerprint(batch: Incoming, nth: int) -> bytes:
    return batch.fingerprints[nth * FINGERPRINT_BYTES : (nth + 1) * FINGERPRINT_BYTES]
