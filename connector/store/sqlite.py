"""The store as an SQLite file: one writer at a time, any number of readers, several processes.

Every write begins with BEGIN IMMEDIATE, so that a transaction either has the right to write from its first statement
on or waits for it; upgrading a reader could fail half-way. synchronous=FULL syncs the log at every commit: a batch
that was acknowledged survives a power cut.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from connector.config.resolved import StoreSettings
from connector.errors import StoreError
from connector.store import files
from connector.store.sqlite_bulk import SqliteBulk
from connector.store.tables import HEAD, REVISIONS

BUSY_TIMEOUT_S = 30
WRITER_WAIT_S = 120
WRITER_CACHE_KIB = 8 * 1024
READER_CACHE_KIB = 4 * 1024
READERS = 4
MORE_READERS = 28
WAL_LIMIT_BYTES = 64 * 1024 * 1024
CHECKPOINT_PAGES = 8_000
"""Of 4 KiB. A first pull in random key order dirties that many pages per batch, many of them again in the next."""

_MIGRATIONS = Path(__file__).parent / "migrations"

_EXPLANATIONS = {
    sqlite3.SQLITE_BUSY: (
        f"was locked by another process for more than {BUSY_TIMEOUT_S} s",
        "Look for a program that keeps it open, such as a backup or an SQL shell, and end it",
    ),
    sqlite3.SQLITE_READONLY: (
        "is read-only",
        "Let the user that runs connector write to the file and its directory",
    ),
    sqlite3.SQLITE_FULL: (
        "can't grow: the disk is full",
        "Free some space; nothing that was committed is lost, and the pull goes on where it stopped",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "Stop connector, keep the file, and restore the newest backup; the next pull reads again from its watermark",
    ),
    sqlite3.SQLITE_NOTADB: (
        "is not a store: the file was written by another program or is damaged",
        "Check `store.path`, or restore the newest backup",
    ),
    sqlite3.SQLITE_IOERR: (
        "can't be read or written: the disk reports an error",
        "Look at the system's log and the disk",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "can't be opened",
        "Let the user that runs connector write to the file and its directory",
    ),
}


class SqliteDatabase:
    """Hand out transactions on one SQLite file. Only an upgrade opens one of `any_schema`."""

    def __init__(self, settings: StoreSettings, *, any_schema: bool = False) -> None:
        self._path = settings.path.absolute()
        files.prepare(self._path)
        self._space = files.FreeSpace(self._path, settings.min_free_bytes)
        self._writer_lock = threading.Lock()
        self._writer = _engine(self._path, writes=True)
        self._readers = _engine(self._path, writes=False)
        try:
            if not any_schema:
                self._require_schema()
        except BaseException:
            self.close()
            raise

    @property
    def bulk(self) -> SqliteBulk:
        return SqliteBulk()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._translated(), self._readers.begin() as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        if not self._writer_lock.acquire(timeout=WRITER_WAIT_S):
            raise StoreError(
                f"the store {self._path} was being written by this process for more than {WRITER_WAIT_S} s",
                remedy="Look at the disk's speed, or lower `daemon.workers`",
            )
        try:
            with self._translated(), self._writer.begin() as conn:
                yield conn
        finally:
            self._writer_lock.release()

    def require_space(self) -> None:
        self._space.require()

    def close(self) -> None:
        self._readers.dispose()
        self._writer.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.Error):
                raise explain(error.orig, self._path) from None
            raise
        except sqlite3.Error as error:
            raise explain(error, self._path) from None

    def _require_schema(self) -> None:
        with self.read() as conn:
            found = revision(conn)
        if found is None:
            with self.write() as conn:
                migrate(conn)  # does nothing when another process was faster
                found = revision(conn)
        require_known(found, self._path)
        if found != HEAD:
            raise StoreError(
                f"the store {self._path} has the older schema {found}, this program needs {HEAD}",
                remedy="Stop connector and run `connector upgrade`",
            )


def require_known(found: str | None, path: Path) -> None:
    """Raise StoreError unless the schema is one of this program's, present or past."""
    if found == "":
        raise StoreError(
            f"{path} is the database of another program",
            remedy="Point `store.path` at a file of its own; it is created when it is not there",
        )
    if found not in REVISIONS:
        raise StoreError(
            f"the store {path} has the schema {found}, which this program does not know: it is too old",
            remedy=f"Use a newer connector; this one knows up to {HEAD}",
        )


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """Say in words of the house what the driver reports; its own text is left out, for it may quote values."""
    code = getattr(error, "sqlite_errorcode", None)
    what, remedy = _EXPLANATIONS.get(
        -1 if code is None else code & 0xFF,
        (
            f"refuses a statement ({getattr(error, 'sqlite_errorname', type(error).__name__)})",
            "This is a fault of connector: report it with the log",
        ),
    )
    return StoreError(f"the store {path} {what}", remedy=remedy)


def migrate(conn: Connection, to: str = "head") -> None:
    """Bring the schema to the revision `to` within the caller's transaction.

    Alembic is imported here because it takes 0.3 s, and only a new file or an upgrade needs it.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, to)


def revision(conn: Connection) -> str | None:
    """Return the schema's revision, None for an empty file, "" for another program's."""
    tables = set(conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
    if not tables:
        return None
    if "alembic_version" not in tables:
        return ""
    return str(conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none() or "")


def _engine(path: Path, *, writes: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=1 if writes else READERS,
        max_overflow=0 if writes else MORE_READERS,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )

    # Python's driver would begin transactions by its own rules; see "Transactions with SQLite" in SQLAlchemy's manual.
    def connect(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB if writes else READER_CACHE_KIB}")
        if not writes:
            connection.execute("PRAGMA query_only = ON")

    def begin(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    return engine
