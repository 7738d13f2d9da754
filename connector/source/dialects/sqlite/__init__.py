"""SQLite: the sample shop and quick tests. The file is opened read only."""

from __future__ import annotations

import re
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from connector.config.resolved import Source
from connector.errors import ConnectorError, SourceRefused, SourceUnavailable
from connector.model import Column, Kind
from connector.source.dialect import Capabilities, TableFacts, driver_error, joined, quoted
from connector.source.horizon import NoHorizon
from connector.source.render import Renderer
from connector.source.select import Select, Statement, Table

DAY_US = 86_400_000_000
DECLARED = (
    ("BOOL", Kind.BOOLEAN),
    ("INT", Kind.INTEGER),
    ("CHAR", Kind.TEXT),
    ("TEXT", Kind.TEXT),
    ("CLOB", Kind.TEXT),
    ("BLOB", Kind.BYTES),
    ("DATETIME", Kind.TIMESTAMP),
    ("TIMESTAMP", Kind.TIMESTAMP),
    ("DATE", Kind.DATE),
    ("REAL", Kind.FLOAT),
    ("DOUB", Kind.FLOAT),
    ("FLOA", Kind.FLOAT),
    ("DEC", Kind.DECIMAL),
    ("NUM", Kind.DECIMAL),
)
STAMP = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?")


class SqliteGrammar:
    placeholder = "?"

    def name(self, name: str) -> str:
        return quoted(name, '"')

    def table(self, parts: tuple[str, ...]) -> str:
        return joined(parts, '"')

    def raw(self, sql: str) -> str:
        return sql

    def bind(self, column: Column, value: str) -> tuple[str, object]:
        match column.kind:
            case Kind.BOOLEAN:
                return "?", int(value == "true")
            case Kind.INTEGER:
                return "?", int(value)
            case Kind.DECIMAL:
                return "?", float(Decimal(value)) if "." in value else int(value)
            case Kind.BYTES:
                return "?", bytes.fromhex(value)
            case _:
                return "?", value

    def written(self, alias: str, mark: str, *, before: bool) -> tuple[str, object]:
        raise NotImplementedError("rows show no version here")

    def limited(self, select: str, limit: int) -> str:
        return f"{select} LIMIT {int(limit)}"


class Sqlite:
    """SQLite's rules. A long read would block the writer of a file that is not in WAL mode: one snapshot a batch."""

    capabilities = Capabilities(
        long_snapshots=False,
        proven_results=True,
        describe_rows=1,
        typed_timestamps=False,
        lowest_id=-(2**63),
        lowest_date="",
        sqlglot="sqlite",
    )

    failures = (DBAPIError, sqlite3.Error)
    columnar = None
    horizon = NoHorizon(
        Statement(
            "SELECT replace(file, rtrim(file, replace(file, '/', '')), '') FROM pragma_database_list "
            "WHERE name = 'main'"  # the file's name: an installation may be moved to another folder
        ),
        "a file's database has no writers that could be seen",
    )

    def engine(self, source: Source) -> Engine:
        return create_engine("sqlite://", creator=lambda: _connect(source), poolclass=NullPool)

    def begin(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    def end(self, connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")

    def clock(self) -> Statement:
        return Statement("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'")

    def version(self) -> Statement:
        return Statement("SELECT 'SQLite ' || sqlite_version()")

    def render(self, select: Select) -> Statement:
        return Renderer(SqliteGrammar()).render(select)

    def columns(self, connection: Connection, cursor: Any, select: Select) -> tuple[Column, ...]:
        """Describe a table's columns by what it declares, and expressions by the values of a first row."""
        declared: dict[str, str] = {}
        if isinstance(select.relation, Table):
            table = select.relation.parts[-1]
            rows = connection.exec_driver_sql("SELECT name, type FROM pragma_table_info(?)", (table,))
            declared = {name.lower(): kind for name, kind in rows}
        sources = {output.alias: (output.column or "").lower() for output in select.outputs}
        row = cursor.fetchone()
        return tuple(
            _column(entry[0], declared.get(sources.get(entry[0], "")), row[index] if row else None)
            for index, entry in enumerate(cursor.description or ())
        )

    def facts(self, connection: Connection, table: tuple[str, ...]) -> TableFacts | None:
        name = table[-1]
        kind = connection.exec_driver_sql("SELECT type FROM sqlite_schema WHERE name = ?", (name,)).scalar()
        if kind is None:
            return None
        info = connection.exec_driver_sql('SELECT name, "notnull", pk FROM pragma_table_info(?)', (name,)).all()
        primary = tuple(column for column, _, pk in sorted(info, key=lambda row: row[2]) if pk)
        indexes: list[tuple[bool, tuple[str, ...]]] = [(True, primary)] if primary else []
        listed = connection.exec_driver_sql('SELECT name, "unique", partial FROM pragma_index_list(?)', (name,)).all()
        for index, unique, partial in listed:
            columns = connection.exec_driver_sql("SELECT name FROM pragma_index_info(?)", (index,)).scalars().all()
            if not partial and all(columns):
                indexes.append((bool(unique), tuple(columns)))
        return TableFacts(
            nullable={column: not notnull and not pk for column, notnull, pk in info},
            unique=tuple(columns for unique, columns in indexes if unique),
            indexes=tuple(columns for _, columns in indexes),
            view=kind == "view",
            any_case=True,
        )

    def estimate(self, connection: Connection, statement: Statement) -> int | None:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM ({statement.sql})", statement.binds).scalar_one())

    def instant(self, text: str) -> str:
        return text

    def refuses_in_keyset(self, column: Column) -> str | None:
        if column.kind in (Kind.FLOAT, Kind.BOOLEAN):
            return f"values of kind {column.kind} have no exact order to resume in"
        return None

    def abort(self, driver_connection: Any) -> None:
        driver_connection.interrupt()

    def translate(self, error: BaseException) -> ConnectorError:
        cause = driver_error(error)
        if isinstance(cause, ConnectorError):
            return cause
        text = str(cause)
        for mark, what, remedy in (
            ("no such table", text, "Check the stream's table"),
            ("no such column", text, "Check the stream's watermark, key, fields and tenant"),
            ("no such function", text, "Check the stream's fields"),
            ("unable to open", "there is no such file, or it may not be read", "Check source.database"),
            ("not a database", "the file is not an SQLite database", "Check source.database"),
            ("syntax error", "the database does not understand the SQL", "See it with `connector preview`"),
            ("readonly", "the statement tried to write", "Only SELECT is allowed in a query or an expression"),
        ):
            if mark in text:
                return SourceRefused(what, remedy=remedy)
        if "locked" in text or "interrupted" in text:
            return SourceUnavailable(
                "the file is locked, or a statement took too long", remedy="The next run tries again"
            )
        return SourceRefused(f"the database reports {type(cause).__name__}", remedy="See it with `connector preview`")


def _connect(source: Source) -> sqlite3.Connection:
    path = Path(source.database).absolute()
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=ro",
        uri=True,
        timeout=source.limits.connect_timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def _column(name: str, declared: str | None, sample: object) -> Column:
    kind = next((kind for mark, kind in DECLARED if declared and mark in declared.upper()), None)
    if kind is None:
        kind = _sampled(sample)
    elif kind in (Kind.DECIMAL, Kind.FLOAT, Kind.BOOLEAN) and isinstance(sample, str):
        kind = Kind.OTHER
    return Column(name, kind, declared or "", unit_us=DAY_US if kind is Kind.DATE else 1)


def _sampled(sample: object) -> Kind:
    match sample:
        case int():
            return Kind.INTEGER
        case float():
            return Kind.FLOAT
        case bytes():
            return Kind.BYTES
        case str() if STAMP.fullmatch(sample):
            return Kind.TIMESTAMP
        case str():
            return Kind.TEXT
        case _:
            return Kind.OTHER
