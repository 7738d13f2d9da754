"""The columnar reader: rows of the text protocol, cut into columns without a Python object per value.

The driver connects, sends the statement and reads the description of its columns. The rows are then taken from its
buffered socket here (one packet each: a length of three bytes, a sequence number, the row), because the driver's own
loop makes an object of every packet and every value. A row is its values one after the other, each with its length in
front (one byte up to 250; 251 for NULL; 252, 253 or 254 and then two, three or eight bytes); a row of 16 MB or more
comes in several packets. numpy walks over the lengths of all rows at once, polars cuts the values out.

A result is whole when the server ends it with an EOF packet whose sequence number says that no packet is missing.
What the driver's version has to offer for this is held by `tests/contract/test_columnar_mysql.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from pymysql import err
from pymysql.constants import COMMAND, CR
from sqlalchemy import Connection

from connector.errors import SourceUnavailable
from connector.model import Kind
from connector.source.dialects.mysql import types
from connector.source.frames import PIECE_BYTES, Frames, Wanted, texts, typed
from connector.source.select import Statement

READ_BYTES = 256 * 1024
LONGEST_PACKET = 0xFFFFFF
HEADER = 4
NULL = 0xFB
WIDE = {0xFC: 2, 0xFD: 3, 0xFE: 8}
"""How many bytes a length has, by the byte before it."""
LONGEST_LENGTH = 9
EOF, ERROR = 0xFE, 0xFF
EOF_BYTES = 9
"""A longer packet that begins as EOF does is a row whose first value has 16 MB or more."""

Int64s = np.ndarray[tuple[int], np.dtype[np.int64]]
Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


def frames(connection: Connection, statement: Statement, wanted: Sequence[Wanted], size: int) -> Frames:
    """Yield the rows of a statement, at most `size` or PIECE_BYTES at a time, and whether there are more."""
    driver: Any = connection.connection.driver_connection
    rows = _Rows(driver, driver.cursor().mogrify(statement.sql, statement.binds), len(wanted))
    try:
        more = True
        while more:
            taken, more = rows.take(size)
            yield frame(taken, wanted), more
    finally:
        rows.close()


class _Rows:
    """The rows of one result, taken as they come."""

    def __init__(self, driver: Any, sql: str, columns: int) -> None:
        self._driver = driver
        self._open = True
        driver._execute_command(COMMAND.COM_QUERY, sql)  # noqa: SLF001 - see the module's first lines
        if driver._read_packet().read_length_encoded_integer() != columns:  # noqa: SLF001 - as above
            raise _broken()
        for _ in range(columns + 1):
            driver._read_packet()  # noqa: SLF001 - what describes the columns, and what ends it
        self._packets: int = driver._next_seq_id  # noqa: SLF001 - numbered from the statement on, modulo 256
        self._read: bytes = b""
        self._rows: list[bytes] = []
        self._parts: list[bytes] = []

    def take(self, size: int) -> tuple[list[bytes], bool]:
        """Return the next rows and whether more may follow: none do once the result has ended."""
        rows, self._rows = self._rows, []
        left = PIECE_BYTES - sum(map(len, rows))
        while self._open and len(rows) <= size and left > 0:
            before = len(rows)
            self._cut(rows)
            left -= sum(map(len, rows[before:]))
        rows, self._rows = rows[:size], rows[size:]
        return rows, self._open or bool(self._rows)

    def close(self) -> None:
        """Give the connection up when the result was not read to its end: nothing else can be asked over it."""
        if self._open:
            self._driver._force_close()  # noqa: SLF001 - as above

    def _cut(self, rows: list[bytes]) -> None:
        """Read once, and cut what has come into rows."""
        read, at = self._read + self._more(), 0
        have, add, number = len(read), rows.append, int.from_bytes
        while at + HEADER <= have:
            length = number(read[at : at + 3], "little")
            end = at + HEADER + length
            if end > have:
                break
            row, at = read[at + HEADER : end], end
            self._packets += 1
            if length == LONGEST_PACKET:
                self._parts.append(row)
            elif self._parts:
                add(b"".join((*self._parts, row)))
                self._parts = []
            elif not row:
                raise _broken()
            elif row[0] == ERROR:
                self._end(read[at:])
                err.raise_mysql_exception(row)
            elif row[0] == EOF and length < EOF_BYTES:
                if (read[at - length - 1] + 1) % 256 != self._packets % 256:
                    raise _broken()
                self._end(read[at:])
                return
            else:
                add(row)
        self._read = read[at:]

    def _more(self) -> bytes:
        """Return what the socket has, all of it where a long packet was begun."""
        read = self._read
        missing = HEADER + int.from_bytes(read[:3], "little") - len(read) if len(read) >= HEADER else 0
        more: bytes = (
            self._driver._rfile.read(missing)  # noqa: SLF001 - as above
            if missing > READ_BYTES
            else self._driver._rfile.read1(READ_BYTES)  # noqa: SLF001 - as above
        )
        if not more:
            raise err.OperationalError(CR.CR_SERVER_LOST, "the connection ended within a result")
        return more

    def _end(self, rest: bytes) -> None:
        self._driver._next_seq_id = 0  # noqa: SLF001 - as above
        self._open = False
        if rest:
            raise _broken()


def _broken() -> SourceUnavailable:
    return SourceUnavailable("the database sent a result of another shape", remedy="The next run tries again")


def frame(rows: Sequence[bytes], wanted: Sequence[Wanted]) -> pl.DataFrame:
    """Return rows of the text protocol as a frame."""
    begins, lengths = _values(rows, len(wanted))
    cells = {f"begin{n}": at for n, at in enumerate(begins)} | {f"length{n}": at for n, at in enumerate(lengths)}
    cut = pl.DataFrame({"row": pl.Series(rows, dtype=pl.Binary), **cells}).select(
        _cell(n, nulls=bool((lengths[n] < 0).any())).alias(each.name) for n, each in enumerate(wanted)
    )
    return pl.DataFrame([_column(values, each) for values, each in zip(cut, wanted, strict=True)])


def _cell(n: int, *, nulls: bool) -> pl.Expr:
    length = pl.col(f"length{n}")
    cell = pl.col("row").bin.slice(pl.col(f"begin{n}"), length)
    return pl.when(length >= 0).then(cell) if nulls else cell


def _values(rows: Sequence[bytes], columns: int) -> tuple[list[Int64s], list[Int64s]]:
    """Return where every column's values begin within their rows, and how long they are, -1 for NULL."""
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    starts = np.cumsum(sizes) - sizes
    # A row that is cut short would be read beyond its end.
    raw = np.frombuffer(b"".join((*rows, bytes(LONGEST_LENGTH))), np.uint8)
    begins, lengths = [], []
    at = starts.copy()
    for _ in range(columns):
        at, length = _value(raw, np.minimum(at, len(raw) - LONGEST_LENGTH))
        begins.append(at - starts)
        lengths.append(length)
        at = at + np.maximum(length, 0)
    if not np.array_equal(at - starts, sizes):
        raise _broken()
    return begins, lengths


def _value(raw: Bytes, at: Int64s) -> tuple[Int64s, Int64s]:
    """Read the length in front of one value of every row; return where the values begin, and their lengths."""
    length = raw[at].astype(np.int64)
    at = at + 1
    wide = np.flatnonzero(length >= NULL)
    if wide.size:
        marks = length[wide]
        length[wide[marks == NULL]] = -1
        for mark, size in WIDE.items():
            rows = wide[marks == mark]
            length[rows] = sum(raw[at[rows] + n].astype(np.int64) << (8 * n) for n in range(size))
            at[rows] += size
    return at, length


def _column(values: pl.Series, wanted: Wanted) -> pl.Series:
    match wanted.kind:
        case Kind.BYTES:
            return values.bin.encode("hex") if wanted.text else values
        case Kind.INTEGER if wanted.column.native == types.BIT:
            numbers = [None if value is None else types.bits(value) for value in values]
            return typed(pl.Series(values.name, numbers, pl.UInt64).cast(pl.String), wanted)
        case Kind.OTHER if wanted.column.native == types.GEOMETRY:
            return values.bin.encode("hex")
    read = texts(values)
    return typed(read, wanted) if read.dtype == pl.String else read
