"""Bring a store's file to this program's schema.

Everything happens under the store's write lock: a backup is written beside the file, the migrations run in one
transaction, and the result is proven before it is committed. So wherever this is killed, the store is either as it was
or upgraded, and an upgraded one has its backup. What a killed upgrade leaves besides, `….partial`, the next replaces.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from sqlalchemy import Connection, select

from connector import clock
from connector.config.resolved import StoreSettings
from connector.errors import LeaseHeld, StoreError
from connector.store import leases, tables
from connector.store.sqlite import SqliteDatabase, migrate, require_known, revision
from connector.store.tables import DAEMON_STREAM, HEAD

MIB = 1024 * 1024
_UNTOUCHED = "The store is as it was"


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade came to.

    `before` is None where there is no store yet, and equals `after` where nothing had to be done; then there is no
    `backup`. `rows` counts what each table held before and holds now.
    """

    path: Path
    before: str | None
    after: str = HEAD
    backup: Path | None = None
    rows: Mapping[str, int] = field(default_factory=dict)


def upgrade(settings: StoreSettings) -> Upgraded:
    """Back up, migrate and verify the store; raise with the store as it was.

    Raise LeaseHeld while a run, StoreError while a daemon works on it, and StoreError for a file that is damaged, of
    another program or of a newer one, and when there is no room for the backup.
    """
    path = settings.path.absolute()
    if _is_missing(path):
        return Upgraded(path, None)
    database = SqliteDatabase(settings, any_schema=True)
    try:
        with database.read() as conn:
            found = revision(conn)
        if found is None:
            return Upgraded(path, None)
        require_known(found, path)
        if found == HEAD:
            return Upgraded(path, HEAD)
        with database.write() as conn:
            return _upgrade(database, conn, settings)
    finally:
        database.close()


def _upgrade(database: SqliteDatabase, conn: Connection, settings: StoreSettings) -> Upgraded:
    path = settings.path.absolute()
    found = revision(conn)
    if found == HEAD:  # another upgrade was faster
        return Upgraded(path, HEAD)
    _require_idle(conn, path)
    _require_space(conn, path, settings.min_free_bytes)
    partial = path.with_name(f"{path.name}.before-{HEAD}.partial")
    with _removed_on_failure(partial):
        _back_up(database, path, partial)
        before = _row_counts(conn)
        migrate(conn)
        _verify(conn, path, before)
        backup = _free_name(path)
        partial.rename(backup)
        _sync_directory(path.parent)
    return Upgraded(path, found, HEAD, backup, before)


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:
        return False  # opening it says what is wrong


def _require_idle(conn: Connection, path: Path) -> None:
    now = clock.now().timestamp()
    streams = tables.streams.c
    for row in conn.execute(select(tables.leases).order_by(tables.leases.c.stream_id)):
        if not leases.is_active(row, now):
            continue
        held = leases.lease_info(row)
        until = f"if its process hangs or is gone, its lease ends {held.expires_at:%H:%M:%S} UTC"
        if row.stream_id == DAEMON_STREAM:
            raise StoreError(f"the daemon works on the store {path}: {held}", remedy=f"Stop it first; {until}")
        named = select(streams.client, streams.name).where(streams.stream_id == row.stream_id)
        stream = conn.execute(named).one_or_none()
        raise LeaseHeld(
            f"the store {path} is in use: lane {row.lane} belongs to {held}",
            remedy=f"Wait for that run to end, or stop it; {until}",
            where="/".join(stream) if stream else "",
        )


def _require_space(conn: Connection, path: Path, min_free_bytes: int) -> None:
    size = int(
        conn.exec_driver_sql("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").scalar_one()
    )
    found = os.statvfs(path.parent)
    free = found.f_bavail * found.f_frsize
    if free < size + min_free_bytes:
        raise StoreError(
            f"the file system of the store {path} has {free // MIB:,} MiB left, too little for a backup of"
            f" {size // MIB + 1:,} MiB and the {min_free_bytes // MIB:,} MiB that `store.min_free` keeps free",
            remedy="Free some space, for instance by moving older backups away",
        )


@contextmanager
def _removed_on_failure(partial: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):  # what went wrong before is what people must read
            _remove(partial)
        raise


def _remove(partial: Path) -> None:
    for name in (partial.name, f"{partial.name}-journal", f"{partial.name}-wal", f"{partial.name}-shm"):
        partial.with_name(name).unlink(missing_ok=True)


def _back_up(database: SqliteDatabase, path: Path, partial: Path) -> None:
    """Copy the committed state page by page, and check the copy, which proves the store sound as well."""
    try:
        _remove(partial)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(partial)) as target:
            with database.read() as conn:
                cast(sqlite3.Connection, conn.connection.driver_connection).backup(target)
            sound = target.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
    except (OSError, sqlite3.Error) as error:
        sound = getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CORRUPT
        reason = getattr(error, "sqlite_errorname", None) or getattr(error, "strerror", None) or type(error).__name__
        if sound:
            raise StoreError(
                f"the backup {partial} can't be written: {reason}",
                remedy=f"See that the disk works and has room. {_UNTOUCHED}",
            ) from None
    if not sound:
        raise StoreError(
            f"the store {path} is damaged",
            remedy="Stop connector, keep the file, and restore the newest backup; an upgrade repairs nothing",
        )


def _row_counts(conn: Connection) -> dict[str, int]:
    names = conn.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
    ).scalars()
    return {
        name: int(conn.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one())
        for name in names.all()
        if name != "alembic_version"
    }


def _verify(conn: Connection, path: Path, before: Mapping[str, int]) -> None:
    """Raise StoreError unless the schema is the program's, no row was lost and every page is sound."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    after = _row_counts(conn)
    lost = [name for name, rows in before.items() if after.get(name) != rows]
    if revision(conn) != HEAD or compare_metadata(MigrationContext.configure(conn), tables.metadata):
        problem = "its tables would not be those of this program"
    elif lost:
        problem = f"the number of rows in {', '.join(lost)} would have changed"
    elif conn.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one() != "ok":
        problem = "its integrity check would fail"
    else:
        return
    raise StoreError(
        f"the store {path} was not upgraded: {problem}",
        remedy=f"{_UNTOUCHED}; report this with the output of `connector upgrade`",
    )


def _free_name(path: Path) -> Path:
    """Return the first free name for a backup; no other upgrade can be looking for one, for it would hold the lock."""
    first = path.with_name(f"{path.name}.before-{HEAD}")
    further = (path.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    return next(name for name in itertools.chain([first], further) if not os.path.lexists(name))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
