"""The columnar reader: `COPY (…) TO STDOUT`, whose text is parsed in columns.

COPY sends each row as one message of the server's own text, the same as an ordinary SELECT gives: columns end at a
tab, rows at a line feed, NULL is `\\N`, and within values those and the backslash are written as escapes. polars' CSV
parser reads that; here only the escapes are undone, where there are any.

COPY takes no bound values. The driver merges them into the statement: texts and bytes quoted by libpq for this very
connection, integers as digits, and nothing else is ever bound (see `literal`).

Where texts may be such as the server can't turn into UTF-8 (see `encoding`), COPY sends them as they are stored.

A result is whole when the server ends it with `COPY n` and n rows were taken.
"""

from __future__ import annotations

import re
import select
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import polars as pl
import psycopg
from psycopg import errors, pq, sql
from sqlalchemy import Connection

from connector.errors import SourceUnavailable
from connector.model import Kind
from connector.source.dialects.postgresql import encoding
from connector.source.frames import PIECE_BYTES, Frames, Wanted, texts, typed
from connector.source.select import Statement

ESCAPES = {
    "\\\\": "\\",
    **{f"\\{letter}": control for letter, control in zip("bfnrtv", "\b\f\n\r\t\v", strict=True)},
}
"""Everything that COPY TO escapes."""

CANCEL_TIMEOUT_S = 10.0


def frames(connection: Connection, statement: Statement, wanted: Sequence[Wanted], size: int) -> Frames:
    """Yield the rows of a statement, at most `size` or PIECE_BYTES at a time, and whether there are more."""
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # SQLAlchemy knows the type no closer
    stored = encoding.of(driver)
    rows = _Rows(driver, statement, stored)
    try:
        more = True
        while more:
            taken, more = rows.take(size)
            yield frame(taken, wanted, stored), more
    finally:
        rows.close()


def literal(driver: psycopg.Connection[Any], statement: Statement) -> bytes:
    """Return the statement with its values merged in: text quoted by libpq, bytes and integers as digits."""
    values = iter(statement.binds)

    def merged(found: re.Match[bytes]) -> bytes:
        return b"%" if found[0] == b"%%" else _literal(driver, next(values))

    return re.sub(b"%[s%]", merged, encoding.without_nul(statement.sql).encode())


def _literal(driver: psycopg.Connection[Any], value: object) -> bytes:
    match value:
        case str():
            return sql.Literal(encoding.without_nul(value)).as_bytes(driver)
        case bytes():
            return b"E'\\\\x%s'" % value.hex().encode()
        case int() if not isinstance(value, bool):
            return b"(%d)" % value
    raise TypeError(f"a {type(value).__name__} can't be written into a statement")


class _Rows:
    """The messages of one COPY, taken as they come.

    libpq is never asked to wait: its calls hold up every other thread of the process meanwhile.
    """

    def __init__(self, driver: psycopg.Connection[Any], statement: Statement, stored: str | None) -> None:
        self._driver = driver
        self._pgconn = driver.pgconn
        self._taken = 0
        self._next: bytes | None = None
        self._answer = select.poll()
        self._answer.register(self._pgconn.socket, select.POLLIN)
        self._open = False
        as_stored = b"" if stored is None else b" WITH (ENCODING '%s')" % stored.encode()
        start(self._pgconn, b"COPY (" + literal(driver, statement) + b"\n) TO STDOUT" + as_stored)
        _expect(self._result(), pq.ExecStatus.COPY_OUT)
        self._open = True

    def take(self, size: int) -> tuple[list[bytes], bool]:
        """Return the next rows and whether there are more."""
        taken = [] if self._next is None else [self._next]
        self._next = None
        add, fetch, left, length = taken.append, self._pgconn.get_copy_data, PIECE_BYTES, 1
        while length >= 0:
            length, row = fetch(1)
            if length > 0:
                if left <= 0 or len(taken) == size:  # this one was only looked at: a piece must know if it is the last
                    self._next = row  # type: ignore[assignment]  # a memoryview
                    break
                add(row)  # type: ignore[arg-type]  # a memoryview
                left -= length
            elif not length:
                self._wait()
        self._taken += len(taken)
        if length < 0:
            self._expect_whole()
        return taken, self._open

    def close(self) -> None:
        """Cancel what was not read to its end, so that the connection can be asked again."""
        if not self._open:
            return
        self._open = False
        self._driver.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        length = 1
        with suppress(psycopg.Error):
            while length >= 0:
                length, _ = self._pgconn.get_copy_data(1)
                if not length:
                    self._wait()
        while self._result() is not None:
            pass

    def _expect_whole(self) -> None:
        """Make sure that the result ended as a whole one does."""
        self._open = False
        result = self._result()
        _expect(result, pq.ExecStatus.COMMAND_OK)
        if result is None or result.command_tuples != self._taken or self._result() is not None:
            raise SourceUnavailable("the database sent a part of a result only", remedy="The next run tries again")

    def _result(self) -> pq.abc.PGresult | None:
        while self._pgconn.is_busy():
            self._wait()
        return self._pgconn.get_result()

    def _wait(self) -> None:
        self._answer.poll()
        self._pgconn.consume_input()


def start(pgconn: pq.abc.PGconn, statement: bytes) -> None:
    """Send a COPY; every one of a run passes here."""
    pgconn.send_query(statement)


def _expect(result: pq.abc.PGresult | None, status: int) -> None:
    if result is None or result.status == status:
        return
    error = errors.error_from_result(result, encoding="utf-8")
    # Without a code the message is libpq's own, of a connection that is gone.
    raise error if error.sqlstate else psycopg.OperationalError("the connection is lost")


def frame(rows: Sequence[bytes], wanted: Sequence[Wanted], stored: str | None = None) -> pl.DataFrame:
    """Return rows of COPY's text as a frame; `stored` is the encoding of texts that come as they are stored."""
    names = [f"c{index}" for index in range(len(wanted))]
    # The header keeps the parser from taking a value's own byte order mark, or an empty first value, for the file's.
    text = encoding.utf8(b"".join(("\t".join(names).encode() + b"\n", *rows)), stored)
    try:
        read = _parsed(text, names)
    except pl.exceptions.ComputeError:  # not UTF-8
        cells = [line.split(b"\t") for line in text.split(b"\n")[1:-1]]
        _expect_shape(len(cells) == len(rows) and all(len(row) == len(wanted) for row in cells))
        by_column = zip(wanted, zip(*cells, strict=True), strict=True)
        return pl.DataFrame([_by_hand(values, each) for each, values in by_column])
    _expect_shape(len(read[0]) == len(rows))
    escaped = text.count(b"\\") > sum(series.null_count() for series in read)
    return pl.DataFrame([_column(series, each, escaped=escaped) for series, each in zip(read, wanted, strict=True)])


def _expect_shape(holds: bool) -> None:
    if not holds:
        raise SourceUnavailable("the database sent a row of another shape", remedy="The next run tries again")


def _parsed(text: bytes, names: Sequence[str]) -> list[pl.Series]:
    return pl.read_csv(
        text,
        separator="\t",
        quote_char=None,
        schema=dict.fromkeys(names, pl.String),
        null_values="\\N",
        empty_string_is_null=False,
    ).get_columns()


def _column(text: pl.Series, wanted: Wanted, *, escaped: bool) -> pl.Series:
    text = text.alias(wanted.name)
    match wanted.kind:
        case Kind.BYTES:
            digits = text.str.strip_prefix("\\\\x")
            return digits if wanted.text else digits.str.decode("hex")
        case Kind.BOOLEAN:
            return _booleans(text, wanted)
        case _ if escaped and text.str.contains("\\", literal=True).any():
            text = text.str.replace_many(ESCAPES)
    return typed(text, wanted)


def _booleans(text: pl.Series, wanted: Wanted) -> pl.Series:
    words: dict[str, Any] = {"t": "true", "f": "false"} if wanted.text else {"t": True, "f": False}
    return text.replace_strict(words, return_dtype=pl.String if wanted.text else pl.Boolean)


def _by_hand(cells: Iterable[bytes], wanted: Wanted) -> pl.Series:
    """Return one column where texts may be anything."""
    values = [None if cell == b"\\N" else cell for cell in cells]
    if wanted.kind not in (Kind.BYTES, Kind.BOOLEAN):
        values = [None if value is None else _ESCAPE.sub(_unescaped, value) for value in values]
    read = texts(pl.Series(wanted.name, values, pl.Binary))
    return _column(read, wanted, escaped=False) if read.dtype == pl.String else read


_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_BYTES = {escape[1:].encode(): plain.encode() for escape, plain in ESCAPES.items()}


def _unescaped(found: re.Match[bytes]) -> bytes:
    return _BYTES[found[1]]
