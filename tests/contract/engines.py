"""A client's database of every engine in the registry, for tests that hold all dialects to the same results.

An `Engine` says how to write what engines write differently; its `has` are capabilities that bodies may ask for.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from connector.config.resolved import Limits, Source, Tls
from tests.servers import Server, fresh_database

PASSWORD = "Str0ng-and-never-printed"
_logins = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Engine:
    """Words and abilities of one engine. `types` are DDL types; a missing word is a type that the engine lacks."""

    name: str
    placeholder: str
    mark: str
    types: Mapping[str, str]
    sleep: str  # an expression that takes seconds
    has: frozenset[str]

    def quote(self, name: str) -> str:
        return self.mark + name.replace(self.mark, self.mark * 2) + self.mark


ENGINES = {
    "postgresql": Engine(
        "postgresql",
        "%s",
        '"',
        {
            "stamp": "timestamp(6)",
            "second": "timestamp(0)",
            "instant": "timestamptz",
            "date": "date",
            "text": "text",
            "name": "varchar(64)",
            "char": "char(12)",
            "decimal": "numeric(30)",
            "bytes": "bytea",
            "uuid": "uuid",
        },
        "pg_sleep({})",
        frozenset("server transactions infinity uuid char decimal instant second typed".split()),
    ),
    "mysql": Engine(
        "mysql",
        "%s",
        "`",
        {
            "stamp": "datetime(6)",
            "second": "datetime(0)",
            "instant": "timestamp(6)",
            "date": "date",
            "text": "varchar(191)",
            "name": "varchar(64)",
            "char": "char(12)",
            "decimal": "decimal(30)",
            "bytes": "varbinary(32)",
            "unsigned": "bigint unsigned",
        },
        "SLEEP({})",
        frozenset("server transactions unsigned char decimal instant second zero_dates fold typed".split()),
    ),
    "sqlite": Engine(
        "sqlite",
        "?",
        '"',
        {"stamp": "timestamp", "date": "date", "text": "text", "name": "varchar(64)", "bytes": "blob"},
        "",
        frozenset({"file"}),
    ),
}


def needs(*abilities: str) -> pytest.MarkDecorator:
    """Run a test of `client` only on the engines that have all of these abilities."""
    names = [name for name, engine in ENGINES.items() if engine.has.issuperset(abilities)]
    return pytest.mark.parametrize("database", names, indirect=True)


@dataclass(frozen=True, slots=True)
class ClientDatabase:
    """One database with its administrator's connection and the login that a client would give us."""

    engine: Engine
    source: Source
    admin: Callable[[], Any] = field(repr=False)
    server: Server | None = field(default=None, repr=False)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run statements as the administrator and return the last one's rows; types in braces are the engine's."""
        words = sql.format(**self.engine.types) if "{" in sql else sql
        with contextlib.closing(self.admin()) as connection:
            if isinstance(connection, sqlite3.Connection):
                if not parameters and ";" in words:
                    connection.executescript(words)
                    return []
                return list(connection.execute(words, tuple(parameters)).fetchall())
            with connection.cursor() as cursor:
                cursor.execute(words, parameters or None)
                return list(cursor.fetchall()) if cursor.description else []

    @contextlib.contextmanager
    def raw(self) -> Iterator[Callable[[str], object]]:
        """Give a function that runs one statement as it stands, braces and percent signs included."""
        with contextlib.closing(self.admin()) as connection:
            cursor = connection.cursor()
            yield cursor.execute
            cursor.close()

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, values in the columns' order, in one transaction."""
        if not rows:
            return
        marks = ", ".join([self.engine.placeholder] * len(rows[0]))
        with contextlib.closing(self.admin()) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", [tuple(row) for row in rows])
            cursor.execute("COMMIT")
            cursor.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Callable[[str], None]]:
        """Hold a transaction open; what it wrote is committed at the end of the context."""
        with contextlib.closing(self.admin()) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            yield lambda sql: cursor.execute(sql.format(**self.engine.types)) and None
            cursor.execute("COMMIT")
            cursor.close()

    def sessions(self) -> int:
        """Count the connections that the client's login has open."""
        if self.server is None:
            return 0
        user = self.source.user
        if "uuid" in self.engine.has:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
        else:
            sql = "SELECT count(*) FROM information_schema.processlist WHERE user = %s"
        return int(self.execute(sql, (user,))[0][0])

    def end_sessions(self) -> None:
        """End the connections of the client's login, as a DBA does."""
        if self.server is not None and self.engine.name == "postgresql":
            self.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (self.source.user,)
            )
        elif self.server is not None:
            self.execute(f"KILL CONNECTION USER '{self.source.user}'@'%'")


@contextlib.contextmanager
def served(engine: Engine, server: Server, limits: Limits) -> Iterator[ClientDatabase]:
    """Give a database on a server, and a login that may only SELECT."""
    login = f"client_{next(_logins)}"
    with fresh_database(server) as database:
        postgresql = engine.name == "postgresql"
        database.create_login(login, PASSWORD, () if postgresql else (f"SELECT ON {server.quote(database.name)}.*",))
        if postgresql:
            database.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {server.login(login)}")
        source = Source(
            engine=engine.name,
            host=server.host,
            port=server.port,
            database=database.name,
            user=login,
            password=PASSWORD,
            tls=Tls("disable"),
            limits=limits,
        )
        yield ClientDatabase(engine, source, database.connect, server)
    server.execute(f"DROP ROLE {server.login(login)}" if postgresql else f"DROP USER {server.login(login)}")


@contextlib.contextmanager
def filed(engine: Engine, folder: Path, limits: Limits) -> Iterator[ClientDatabase]:
    """Give a database in a file, in the mode in which readers and a writer don't block each other."""
    path = folder / "client.db"
    with contextlib.closing(sqlite3.connect(path)) as keeper:
        keeper.execute("PRAGMA journal_mode = WAL")
        source = Source(engine=engine.name, database=str(path), limits=limits)
        yield ClientDatabase(engine, source, lambda: sqlite3.connect(path, isolation_level=None, timeout=10))
