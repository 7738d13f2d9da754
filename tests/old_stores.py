"""Stores as former versions left them: a schema of then, with rows in every table."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from connector.store.sqlite import migrate

FIRST = "0001"
UNSEEN: dict[str, dict[str, Any]] = {
    # Tables that a finished pull leaves empty. What is not said here is 0, so that the lease is over.
    "lanes": {"stream_id": 1, "lane": "backfill:1..2", "open_pull": '{"opened":{"level":"window","marks":{}}}'},
    "leases": {"stream_id": 1, "lane": "backfill:1..2", "holder": "x", "host": "elsewhere", "process_started": ""},
    "quarantine": {"stream_id": 1, "row_key": "bad", "field": "email", "rule": "not_an_email", "row": "{}"},
    "destinations": {"name": "tables"},
}


def make_old(path: Path, rows_of: Path, revision: str = FIRST) -> None:
    """Make a store of a former revision at `path` with the rows of a present one, and at least one row per table."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as conn:
        migrate(conn, revision)
    engine.dispose()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("ATTACH ? AS present", (str(rows_of),))
        assert not connection.execute("SELECT * FROM present.sheets").fetchall(), "too many rows for a store of then"
        for table in tables(connection):
            columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
            present = {row[1] for row in connection.execute(f"PRAGMA present.table_info({table})")}
            taken = [name if name in present else f"0 AS {name}" for name in columns]
            connection.execute(f"INSERT INTO {table} SELECT {', '.join(taken)} FROM present.{table}")
            if not connection.execute(f"SELECT 1 FROM main.{table}").fetchone():
                values = [UNSEEN[table].get(name, 0) for name in columns]
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", values)
        connection.execute("DELETE FROM sqlite_sequence")
        connection.execute("INSERT INTO sqlite_sequence SELECT * FROM present.sqlite_sequence")
        connection.commit()


def tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that hold the program's rows."""
    found = connection.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    )
    return [name for (name,) in found if name != "alembic_version"]


DROPPED = {"ledger": {"created_at", "updated_at"}}
"""Columns that a later version did without."""


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table, and the schema's revision."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = [*tables(connection), "sqlite_sequence", "alembic_version"]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}


def surviving(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table without the columns that an upgrade drops."""
    found = contents(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for table, dropped in DROPPED.items():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in dropped]
            rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            found[table] = sorted(rows, key=repr)
    return found
