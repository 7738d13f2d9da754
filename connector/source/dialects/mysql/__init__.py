"""MySQL 5.7 and later, and MariaDB, through PyMySQL."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pymysql
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from connector.config.resolved import Source, Tls
from connector.errors import ConnectorError, SourceRefused
from connector.model import Column
from connector.source.dialect import ORDERED_KINDS, Capabilities, TableFacts
from connector.source.dialects.mysql import errors, types
from connector.source.dialects.mysql.horizon import MysqlHorizon
from connector.source.dialects.mysql.render import MysqlGrammar
from connector.source.frames import Frames, Wanted
from connector.source.render import Renderer
from connector.source.select import Select, Statement


class Mysql:
    """MySQL's rules. A consistent snapshot of InnoDB spans a pull; other storage engines give one per statement."""

    capabilities = Capabilities(
        long_snapshots=True,
        proven_results=True,
        describe_rows=0,
        typed_timestamps=True,
        lowest_id=-(2**63),
        lowest_date="0000-00-00 00:00:00",
        sqlglot="mysql",
    )

    failures = (DBAPIError, pymysql.MySQLError, OSError, RuntimeError, UnicodeEncodeError)
    horizon = MysqlHorizon()

    def columnar(self, connection: Connection, statement: Statement, wanted: Sequence[Wanted], size: int) -> Frames:
        from connector.source.dialects.mysql import packets  # numpy takes 0.1 s to import

        return packets.frames(connection, statement, wanted, size)

    def engine(self, source: Source) -> Engine:
        engine = create_engine(
            "mysql+pymysql://",
            creator=lambda: _connect(source),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
        )
        statements = _session(source)

        @event.listens_for(engine, "connect")
        def _open(connection: Any, _record: Any) -> None:
            connection.autocommit(True)
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                with suppress(pymysql.err.OperationalError, pymysql.err.InternalError):  # older servers have none
                    cursor.execute(_statement_timeout(connection.server_version, source.limits.statement_timeout_s))

        return engine

    def begin(self, connection: Connection) -> None:
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def end(self, connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")

    def clock(self) -> Statement:
        return Statement("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)")

    def version(self) -> Statement:
        return Statement("SELECT CONCAT('MySQL ', VERSION())")

    def render(self, select: Select) -> Statement:
        return Renderer(MysqlGrammar()).render(select)

    def columns(self, connection: Connection, cursor: Any, select: Select) -> tuple[Column, ...]:
        return types.columns(cursor)

    def facts(self, connection: Connection, table: tuple[str, ...]) -> TableFacts | None:
        where = "table_name = %s AND table_schema = " + ("%s" if len(table) > 1 else "DATABASE()")
        binds = (table[-1], *table[:-1])
        found = connection.exec_driver_sql(
            "SELECT table_type, COALESCE(engine, ''), COALESCE(CAST(create_time AS CHAR), '') "
            f"FROM information_schema.tables WHERE {where}",
            binds,
        ).one_or_none()
        if found is None:
            return None
        kind, storage, born = found
        nullable = connection.exec_driver_sql(
            f"SELECT column_name, is_nullable = 'YES' FROM information_schema.columns WHERE {where}", binds
        )
        # A prefix index (sub_part) orders only the beginnings of values; it serves no keyset.
        rows = connection.exec_driver_sql(
            "SELECT index_name, MAX(non_unique), GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR '\x1f'), "
            f"SUM(sub_part IS NOT NULL OR column_name IS NULL) FROM information_schema.statistics WHERE {where} "
            "AND index_type = 'BTREE' GROUP BY index_name",
            binds,
        ).all()
        whole = [(int(non_unique), tuple(names.split("\x1f"))) for _, non_unique, names, part in rows if not int(part)]
        return TableFacts(
            nullable={name: bool(int(null)) for name, null in nullable},
            unique=tuple(names for non_unique, names in whole if not non_unique),
            indexes=tuple(names for _, names in whole),
            view="VIEW" in kind,
            any_case=True,
            storage=storage,
            born=born,
        )

    def estimate(self, connection: Connection, statement: Statement) -> int | None:
        rows = connection.exec_driver_sql(f"EXPLAIN {statement.sql}", statement.binds).mappings().all()
        first = next((row for row in rows if row.get("rows") is not None), None)
        if first is None:
            return None
        return round(int(first["rows"]) * float(first.get("filtered") or 100) / 100)

    def instant(self, text: str) -> str:
        return text

    def refuses_in_keyset(self, column: Column) -> str | None:
        if column.native in (types.ENUM, types.SET):
            return f"{column.native.upper()} values are sorted by number but compared as text"
        return (
            None if column.kind in ORDERED_KINDS else f"values of kind {column.kind} have no exact order to resume in"
        )

    def abort(self, driver_connection: Any) -> None:
        errors.abort(driver_connection)

    def translate(self, error: BaseException) -> ConnectorError:
        return errors.translate(error)


class _Connection(pymysql.Connection):
    """The driver's connection; once it is lost, nobody looks for the rest of a result on it."""

    def _force_close(self) -> None:
        super()._force_close()  # type: ignore[misc]  # the stubs leave out what is private
        result = getattr(self, "_result", None)
        if result is not None:
            result.unbuffered_active = False


def _connect(source: Source) -> Any:
    limits = source.limits
    arguments: dict[str, Any] = {
        "host": source.host,
        "port": source.port or 3306,
        "user": source.user,
        "password": source.password,
        "database": source.database,
        "charset": "utf8mb4",
        "conv": types.conversions(),
        "connect_timeout": limits.connect_timeout_s,
        "read_timeout": limits.connect_timeout_s,  # the handshake; statements get their own below
        "write_timeout": limits.read_timeout_s,
        "program_name": "connector",
    }
    connection: Any = _handshake(arguments, source.tls)
    connection._read_timeout = limits.read_timeout_s  # noqa: SLF001 - the driver has one timeout for both
    connection.encoding = types.lenient_utf8()
    return connection


def _handshake(arguments: dict[str, Any], tls: Tls) -> pymysql.Connection[Any]:
    if tls.mode == "prefer":
        try:
            return _Connection(**arguments, ssl=_tls(tls))
        except (pymysql.OperationalError, OSError) as error:
            if "SSL" not in str(error):
                raise
    if tls.mode in ("prefer", "disable"):
        return _Connection(**arguments, ssl_disabled=True)
    return _Connection(**arguments, ssl=_tls(tls))


def _tls(tls: Tls) -> ssl.SSLContext:
    verify = tls.mode in ("verify-ca", "verify-full")
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.cert is not None:
            context.load_cert_chain(str(tls.cert), str(tls.key) if tls.key else None)
    except (OSError, ssl.SSLError):
        raise SourceRefused("a TLS file can't be read", remedy="Check source.tls.ca, cert and key") from None
    context.check_hostname = tls.mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    return context


def _session(source: Source) -> tuple[str, ...]:
    """Return the session's settings.

    The sql_mode accepts every date that a table may hold: under a strict one a zero date that is cast back becomes
    NULL, and a comparison with NULL loses rows. It is also what lets a query use double quotes for text.
    """
    limits = source.limits
    return (
        (
            "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', SESSION time_zone = '+00:00', "
            f"SESSION lock_wait_timeout = {max(1, round(limits.statement_timeout_s))}, "
            f"SESSION wait_timeout = {max(60, round(limits.snapshot_cap_s + limits.statement_timeout_s))}"
        ),
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    )


def _statement_timeout(version: str, seconds: float) -> str:
    if "MariaDB" in version:
        return f"SET SESSION max_statement_time = {seconds}"
    return f"SET SESSION max_execution_time = {round(seconds * 1000)}"
