"""How a writer says what it does in the words of each engine. All are transactions with ids, versions and stamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import pymysql

from tests.lossless.workload import LOCK_WAIT_S

REFUSED = (psycopg.Error, pymysql.err.MySQLError)
"""Deadlocks and waits that took too long: the transaction is rolled back and forgotten."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The database's clock at the beginning of the statement or of the transaction, some time ago."""

    of_transaction: bool = False
    ago_us: int = 0


class Session(Protocol):
    """One writer's connection. A transaction with a name is a two-phase one."""

    def begin(self, name: str | None) -> None: ...
    def reserve(self, count: int) -> list[int]: ...
    def insert(self, versions: Sequence[int], stamp: Stamp, ids: Sequence[int] | None) -> list[int]: ...
    def update(self, rows: Sequence[tuple[int, int]], stamp: Stamp) -> None: ...
    def savepoint(self) -> None: ...
    def roll_back_to_savepoint(self) -> None: ...
    def prepare(self, name: str) -> None: ...
    def end(self, name: str | None, *, commit: bool) -> None: ...
    def close(self) -> None: ...


class PostgresqlSession:
    def __init__(self, **login: Any) -> None:
        login["dbname"] = login.pop("database")
        self._connection = psycopg.connect(**login, autocommit=True, connect_timeout=10)
        self._run(f"SET lock_timeout = '{LOCK_WAIT_S}s'")

    def _run(self, sql: str, parameters: Sequence[Any] | None = None) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._connection.execute(sql.encode(), parameters)

    def begin(self, name: str | None) -> None:
        self._run("BEGIN")
        self._run("SELECT 1")  # the transaction's time is that of its first statement

    def reserve(self, count: int) -> list[int]:
        found = self._run("SELECT nextval('ids') FROM generate_series(1, %s)", [count]).fetchall()
        return [number for (number,) in found]

    def insert(self, versions: Sequence[int], stamp: Stamp, ids: Sequence[int] | None) -> list[int]:
        ids = self.reserve(len(versions)) if ids is None else ids
        self._run(
            f"INSERT INTO t (id, ver, updated_at) SELECT id, ver, {self._stamp(stamp)}"
            " FROM unnest(%s::bigint[], %s::bigint[]) AS new (id, ver)",
            [list(ids), list(versions)],
        )
        return list(ids)

    def update(self, rows: Sequence[tuple[int, int]], stamp: Stamp) -> None:
        self._run(
            f"UPDATE t SET ver = new.ver, updated_at = {self._stamp(stamp)}"
            " FROM unnest(%s::bigint[], %s::bigint[]) AS new (id, ver) WHERE t.id = new.id",
            [[key for key, _ in rows], [version for _, version in rows]],
        )

    def _stamp(self, stamp: Stamp) -> str:
        clock = "transaction_timestamp()" if stamp.of_transaction else "statement_timestamp()"
        return f"{clock} AT TIME ZONE 'UTC' - interval '{stamp.ago_us} microseconds'"

    def savepoint(self) -> None:
        self._run("SAVEPOINT s")

    def roll_back_to_savepoint(self) -> None:
        self._run("ROLLBACK TO SAVEPOINT s")

    def prepare(self, name: str) -> None:
        self._run(f"PREPARE TRANSACTION '{name}'")

    def end(self, name: str | None, *, commit: bool) -> None:
        word = "COMMIT" if commit else "ROLLBACK"
        self._run(word if name is None else f"{word} PREPARED '{name}'")

    def close(self) -> None:
        self._connection.close()


class MariadbSession:
    def __init__(self, **login: Any) -> None:
        self._connection = pymysql.connect(**login, autocommit=True, connect_timeout=10)
        self._run(f"SET innodb_lock_wait_timeout = {LOCK_WAIT_S}, lock_wait_timeout = {2 * LOCK_WAIT_S}")

    def _run(self, sql: str, parameters: Sequence[Any] | None = None) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return int(cursor.lastrowid or 0)

    def begin(self, name: str | None) -> None:
        self._run("START TRANSACTION" if name is None else f"XA START '{name}'")
        self._run("SET @began = UTC_TIMESTAMP(6)")

    def reserve(self, count: int) -> list[int]:
        raise NotImplementedError("AUTO_INCREMENT reserves nothing before its INSERT")

    def insert(self, versions: Sequence[int], stamp: Stamp, ids: Sequence[int] | None) -> list[int]:
        assert ids is None
        values = ", ".join(f"({version}, {self._stamp(stamp)})" for version in versions)
        first = self._run(f"INSERT INTO t (ver, updated_at) VALUES {values}")
        return list(range(first, first + len(versions)))  # one statement's ids follow each other

    def update(self, rows: Sequence[tuple[int, int]], stamp: Stamp) -> None:
        for key, version in rows:
            self._run(f"UPDATE t SET ver = %s, updated_at = {self._stamp(stamp)} WHERE id = %s", [version, key])

    def _stamp(self, stamp: Stamp) -> str:
        clock = "@began" if stamp.of_transaction else "UTC_TIMESTAMP(6)"
        return f"{clock} - INTERVAL {stamp.ago_us} MICROSECOND"

    def savepoint(self) -> None:
        self._run("SAVEPOINT s")

    def roll_back_to_savepoint(self) -> None:
        self._run("ROLLBACK TO SAVEPOINT s")

    def prepare(self, name: str) -> None:
        self._run(f"XA END '{name}'")
        self._run(f"XA PREPARE '{name}'")

    def end(self, name: str | None, *, commit: bool) -> None:
        word = "COMMIT" if commit else "ROLLBACK"
        self._run(word if name is None else f"XA {word} '{name}'")

    def close(self) -> None:
        self._connection.close()


def connect(engine: str, **login: Any) -> Session:
    return PostgresqlSession(**login) if engine == "postgresql" else MariadbSession(**login)
