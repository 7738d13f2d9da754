"""What an engine has to declare: the contract that every folder in `dialects/` fulfils.

Adding an engine is one folder with a class of this shape and one line in `registry.py`; the contract suite in
`tests/contract` runs over the registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Engine

from connector.config.resolved import Source
from connector.errors import ConnectorError
from connector.model import Column, Kind
from connector.source.frames import Frames, Wanted
from connector.source.select import Select, Statement

if TYPE_CHECKING:
    from connector.source.horizon import Horizon


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine and its driver can do.

    `long_snapshots`: one snapshot may span the batches of a pull without blocking the client's writers.
    `proven_results`: the driver raises when a result was cut short, so that a fetched batch is known to be whole;
    otherwise the session makes a further round trip before a batch counts.
    `describe_rows`: how many rows to ask for when only the columns are wanted.
    `typed_timestamps`: the engine has a type for them; otherwise a text column may hold them.
    `lowest_id`, `lowest_date`: what `{$last_id}` and `{$last_date}` are bound to when a stream starts at the beginning.
    """

    long_snapshots: bool
    proven_results: bool
    describe_rows: int
    typed_timestamps: bool
    lowest_id: int
    lowest_date: str
    sqlglot: str  # the name of the engine's grammar in sqlglot


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What the catalogue says of a table: nullability by column, and the columns of usable indexes, in order."""

    nullable: dict[str, bool]  # keys in the engine's own case
    unique: tuple[tuple[str, ...], ...]
    indexes: tuple[tuple[str, ...], ...]
    view: bool
    any_case: bool = False  # column names are the same in any case
    storage: str = ""  # what keeps the rows, in the engine's own word
    whole: bool = True  # the login may read every column, and what the engine keeps beside them
    size_bytes: int = 0
    born: str = ""  # changes when the table is made anew

    def named(self, column: str) -> str | None:
        """Return the column's name as the catalogue writes it, or None when there is none."""
        if not self.any_case:
            return column if column in self.nullable else None
        return next((name for name in self.nullable if name.lower() == column.lower()), None)

    def may_be_null(self, column: str) -> bool | None:
        """Say whether a column may be NULL; None when the catalogue can't tell."""
        name = self.named(column)
        return None if name is None or self.view else self.nullable[name]


class Columnar(Protocol):
    """An engine's columnar reader."""

    def __call__(self, connection: Connection, statement: Statement, wanted: Sequence[Wanted], size: int) -> Frames:
        """Yield a statement's rows as frames, as `frames.plain_frame` would build them, in the statement's order.

        A frame has at most `size` rows, fewer where they are long. The flag says whether there may be more; it is
        False once the result is known to be whole. Closed before that, the iterator ends the statement; the
        connection may then be of no more use.
        """
        ...


class Dialect(Protocol):
    """One engine's rules. Stateless: every method gets what it needs."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def horizon(self) -> Horizon: ...

    @property
    def columnar(self) -> Columnar | None:
        """Return the engine's fast reader, None when there is only the driver's own."""
        ...

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """Return the exceptions that mean the source, not a mistake of ours: what `translate` is for."""
        ...

    def engine(self, source: Source) -> Engine:
        """Return a SQLAlchemy engine in autocommit mode whose new connections are read only, in UTC, with timeouts."""
        ...

    def begin(self, connection: Connection) -> None:
        """Open a read-only snapshot that lasts until `end`."""
        ...

    def end(self, connection: Connection) -> None: ...

    def clock(self) -> Statement:
        """Return a statement that gives the database's clock as `YYYY-MM-DD HH:MM:SS.ffffff`, in UTC."""
        ...

    def version(self) -> Statement:
        """Return a statement that gives the server's name and version, for people."""
        ...

    def render(self, select: Select) -> Statement: ...

    def columns(self, connection: Connection, cursor: Any, select: Select) -> tuple[Column, ...]:
        """Describe the columns of an executed cursor, which `select` was rendered for."""
        ...

    def facts(self, connection: Connection, table: tuple[str, ...]) -> TableFacts | None:
        """Return the catalogue's facts, or None when there is no such table (or it may not be seen)."""
        ...

    def estimate(self, connection: Connection, statement: Statement) -> int | None:
        """Return how many rows the engine expects of a statement, without running it where that is possible."""
        ...

    def instant(self, text: str) -> str:
        """Return a UTC text `YYYY-MM-DD HH:MM:SS.ffffff` as this engine reads an instant."""
        ...

    def refuses_in_keyset(self, column: Column) -> str | None:
        """Say why this column can't be ordered and compared exactly as a watermark or key, or None when it can."""
        ...

    def abort(self, driver_connection: Any) -> None:
        """Break a connection that hangs, from another thread."""
        ...

    def translate(self, error: BaseException) -> ConnectorError:
        """Return our error for a driver's; its text never carries a value of a row or a secret."""
        ...


ORDERED_KINDS = frozenset(Kind) - {Kind.FLOAT, Kind.OTHER, Kind.BOOLEAN}
"""Kinds whose values a typed engine orders and compares exactly, by their text."""


def driver_error(error: BaseException) -> BaseException:
    """Return the driver's own exception behind SQLAlchemy's."""
    return getattr(error, "orig", None) or error


def quoted(name: str, mark: str) -> str:
    """Quote an identifier, doubling the mark inside it."""
    return mark + name.replace(mark, mark * 2) + mark


def joined(parts: Sequence[str], mark: str) -> str:
    return ".".join(quoted(part, mark) for part in parts)
