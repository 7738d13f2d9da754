"""PostgreSQL 10 and later, through psycopg 3."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from connector.config.resolved import Source
from connector.errors import ConnectorError
from connector.model import Column
from connector.source.dialect import ORDERED_KINDS, Capabilities, TableFacts, joined
from connector.source.dialects.postgresql import copy, encoding, errors, types
from connector.source.dialects.postgresql.horizon import PostgresqlHorizon
from connector.source.dialects.postgresql.render import PostgresqlGrammar
from connector.source.render import Renderer
from connector.source.select import Select, Statement

RELATION = """
WITH RECURSIVE family AS (
  SELECT c.oid, c.relkind, c.relpages, c.relam, c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = to_regclass(%s)
  UNION ALL
  SELECT c.oid, c.relkind, c.relpages, c.relam, c.relnamespace FROM family f
  JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
)
SELECT c.oid::int8, c.relkind::text,
  (SELECT coalesce(string_agg(DISTINCT CASE
     WHEN f.relkind NOT IN ('r', 'p', 'v', 'm') THEN 'foreign'
     WHEN n.nspname LIKE '\\_timescaledb%%' THEN 'timescaledb'
     ELSE am.amname::text END, ' '), '')
   FROM family f JOIN pg_catalog.pg_namespace n ON n.oid = f.relnamespace
   LEFT JOIN pg_catalog.pg_am am ON am.oid = f.relam),
  has_table_privilege(c.oid, 'SELECT'),
  (SELECT sum(relpages) * current_setting('block_size')::int8 FROM family)::int8
FROM pg_catalog.pg_class c WHERE c.oid = (SELECT oid FROM family LIMIT 1)
"""
"""A table's kind, how it and its partitions keep their rows, whether all of it may be read, and its size in bytes."""


class Postgresql:
    """PostgreSQL's rules. One snapshot spans a pull: readers block nobody there."""

    capabilities = Capabilities(
        long_snapshots=True,
        proven_results=True,
        describe_rows=0,
        typed_timestamps=True,
        lowest_id=-(2**63),
        lowest_date="-infinity",
        sqlglot="postgres",
    )

    failures = (DBAPIError, psycopg.Error, OSError, UnicodeEncodeError)
    horizon = PostgresqlHorizon()
    columnar = staticmethod(copy.frames)

    def engine(self, source: Source) -> Engine:
        parameters, context = _parameters(source), _Text()
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(**parameters, context=context),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            use_native_hstore=False,
        )
        statements = _session(source)

        @event.listens_for(engine, "connect")
        def _open(connection: Any, _record: Any) -> None:
            connection.autocommit = True
            connection.execute(statements)
            if source.reader == "plain":
                encoding.receive_as_stored(connection)

        @event.listens_for(engine, "before_cursor_execute", retval=True)
        def _send(_connection: Any, cursor: Any, sql: str, binds: Any, _context: Any, _many: bool) -> tuple[str, Any]:
            driver = cursor.connection
            return encoding.sent(driver, sql), tuple(encoding.sent(driver, value) for value in binds)

        return engine

    def begin(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def end(self, connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")

    def clock(self) -> Statement:
        return Statement("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')")

    def version(self) -> Statement:
        return Statement("SELECT 'PostgreSQL ' || current_setting('server_version')")

    def render(self, select: Select) -> Statement:
        return Renderer(PostgresqlGrammar()).render(select)

    def columns(self, connection: Connection, cursor: Any, select: Select) -> tuple[Column, ...]:
        return types.columns(connection, cursor)

    def facts(self, connection: Connection, table: tuple[str, ...]) -> TableFacts | None:
        name = joined(table, '"')
        found = connection.exec_driver_sql(RELATION, (name,)).first()
        if found is None:
            return None
        oid, relkind, storage, whole, size = found
        nullable = connection.exec_driver_sql(
            "SELECT attname::text, NOT attnotnull FROM pg_catalog.pg_attribute "
            "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped",
            (oid,),
        ).all()
        # Only whole, valid indexes over plain columns serve a keyset; INCLUDE columns come after indnkeyatts.
        indexes = connection.exec_driver_sql(
            "SELECT i.indisunique, string_agg(a.attname::text, chr(31) ORDER BY k.n) FROM pg_catalog.pg_index i "
            "CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n) "
            "JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
            "WHERE i.indrelid = %s AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL "
            "AND k.n <= i.indnkeyatts GROUP BY i.indexrelid, i.indisunique",
            (oid,),
        ).all()
        split = [(unique, tuple(names.split("\x1f"))) for unique, names in indexes]
        return TableFacts(
            nullable={column: null for column, null in nullable},  # noqa: C416 - dict() takes rows for mappings
            unique=tuple(names for unique, names in split if unique),
            indexes=tuple(names for _, names in split),
            view=relkind in ("v", "m", "f"),
            storage=storage,
            whole=whole,
            size_bytes=int(size),
        )

    def estimate(self, connection: Connection, statement: Statement) -> int | None:
        text = str(connection.exec_driver_sql(f"EXPLAIN {statement.sql}", statement.binds).scalars().first())
        found = re.search(r"rows=(\d+)", text)
        return int(found[1]) if found else None

    def instant(self, text: str) -> str:
        return text + "+00"

    def refuses_in_keyset(self, column: Column) -> str | None:
        return (
            None if column.kind in ORDERED_KINDS else f"values of type {column.native} have no exact order to resume in"
        )

    def abort(self, driver_connection: Any) -> None:
        errors.abort(driver_connection)

    def translate(self, error: BaseException) -> ConnectorError:
        return errors.translate(error)


class _Text:
    """The adaptation context that psycopg takes its adapters from."""

    connection = None

    def __init__(self) -> None:
        self.adapters = types.text_adapters()


def _parameters(source: Source) -> dict[str, Any]:
    limits, tls = source.limits, source.tls
    parameters: dict[str, Any] = {
        "host": source.host,
        "port": source.port or 5432,
        "dbname": source.database,
        "user": source.user,
        "password": source.password,
        "connect_timeout": max(2, round(limits.connect_timeout_s)),
        "application_name": "connector",
        "client_encoding": "utf8",
        "sslmode": tls.mode,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": round(limits.read_timeout_s * 1000),
    }
    files = {"sslrootcert": tls.ca, "sslcert": tls.cert, "sslkey": tls.key}
    return parameters | {name: str(path) for name, path in files.items() if path is not None}


def _session(source: Source) -> bytes:
    """Return one round trip of settings. Not start-up options: connection poolers in between refuse those."""
    timeout_ms = round(source.limits.statement_timeout_s * 1000)
    idle_ms = round(source.limits.snapshot_cap_s * 1000) + timeout_ms
    return (
        "SET default_transaction_read_only = on; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; "
        "SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; "
        f"SET cursor_tuple_fraction = 1; SET statement_timeout = {timeout_ms}; "
        f"SET idle_in_transaction_session_timeout = {idle_ms}"
    ).encode()
