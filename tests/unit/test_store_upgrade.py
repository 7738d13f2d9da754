"""A store of a former schema is brought to the present one, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import Connection

from connector import clock
from connector.config.resolved import StoreSettings
from connector.errors import LeaseHeld, StoreError
from connector.model import Counters, RunState, StreamId
from connector.store import sqlite, tables
from connector.store import upgrade as upgrading
from connector.store.processes import this_holder
from connector.store.store import Store
from connector.store.upgrade import Upgraded, upgrade
from tests.contract.stores import all_names, begin, commit, watermark
from tests.old_stores import FIRST, contents, make_old, surviving

NAME = StreamId("acme", "customers")
LEASE = "INSERT INTO leases VALUES (?, ?, 7, ?, ?, ?, ?, 0, ?)"


class Old(NamedTuple):
    """A store of the first schema."""

    path: Path
    before: dict[str, list[tuple]]

    @property
    def settings(self) -> StoreSettings:
        return StoreSettings(self.path, min_free_bytes=0)

    @property
    def beside(self) -> list[str]:
        """Return the files that came to lie beside it."""
        own = {self.path.name + ending for ending in ("", "-wal", "-shm")}
        return sorted({file.name for file in self.path.parent.iterdir()} - own)

    def execute(self, sql: str, *binds: object) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.execute(sql, binds)
            connection.commit()

    def is_untouched(self) -> bool:
        return contents(self.path) == self.before and not self.beside


@pytest.fixture
def old(tmp_path: Path) -> Old:
    with Store.open(StoreSettings(tmp_path / "present.db", min_free_bytes=0)) as store:
        row = store.stream(NAME, "customer")
        run = begin(store, row)
        commit(store, run, {f"key {number}": "Ann" for number in range(100)})
        store.finish_run(run, RunState.SUCCEEDED, Counters(read=100), "window", watermark=watermark("2024"))
    path = tmp_path / "store" / "connector.db"
    path.parent.mkdir()
    make_old(path, tmp_path / "present.db")
    return Old(path, contents(path))


def test_every_row_is_there_and_pulls_go_on(old: Old) -> None:
    assert all(old.before.values()), "the old store should have rows in every table"
    before = surviving(old.path)
    done = upgrade(old.settings)
    assert (done.path, done.before, done.after) == (old.path, FIRST, tables.HEAD)
    assert done.rows == {name: len(before[name]) for name in done.rows}
    after = surviving(old.path)
    assert after["alembic_version"] == [(tables.HEAD,)]
    assert {name: after[name] for name in done.rows} == {name: before[name] for name in done.rows}
    assert after["sqlite_sequence"] == old.before["sqlite_sequence"]
    with Store.open(old.settings) as store:
        row = store.stream(NAME, "customer")
        run = begin(store, row)
        assert run.run_id > old.before["runs"][-1][0]
        assert store.watermark(row) == watermark("2024")
        assert commit(store, run, {"key 1": "Ann", "key 2": "Eve", "new": "Bob"}).unchanged == 1
        assert len(all_names(store, row)) == 101


def test_an_upgraded_schema_is_that_of_a_new_store(old: Old, tmp_path: Path) -> None:
    def schema(path: Path) -> set[str]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return {str(sql) for (sql,) in connection.execute("SELECT sql FROM sqlite_master")}

    upgrade(old.settings)
    assert schema(old.path) == schema(tmp_path / "present.db")


def test_the_backup_is_the_whole_store_of_before_and_its_owners_only(old: Old) -> None:
    backup = upgrade(old.settings).backup
    assert backup is not None
    assert old.beside == [backup.name] == [f"connector.db.before-{tables.HEAD}"]
    assert contents(backup) == old.before
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_a_backup_that_is_there_is_never_overwritten(old: Old) -> None:
    first = old.path.with_name(f"connector.db.before-{tables.HEAD}")
    first.write_text("precious")
    first.with_name(first.name + "-2").symlink_to("nowhere")
    done = upgrade(old.settings)
    assert done.backup == first.with_name(first.name + "-3")
    assert first.read_text() == "precious"
    assert contents(done.backup) == old.before


def test_a_restored_backup_can_be_upgraded_again(old: Old) -> None:
    backup = upgrade(old.settings).backup
    assert backup is not None
    for ending in ("-wal", "-shm"):
        old.path.with_name(old.path.name + ending).unlink(missing_ok=True)
    backup.replace(old.path)
    assert contents(old.path) == old.before
    assert upgrade(old.settings).before == FIRST


def test_a_store_that_is_up_to_date_is_left_alone(old: Old) -> None:
    upgrade(old.settings)
    after, beside = contents(old.path), old.beside
    assert upgrade(old.settings) == Upgraded(old.path, tables.HEAD)
    assert (contents(old.path), old.beside) == (after, beside)


def test_a_store_that_is_not_there_yet_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "new" / "connector.db"
    assert upgrade(StoreSettings(path)) == Upgraded(path, None)
    assert not path.parent.exists()
    empty = tmp_path / "empty.db"
    empty.touch()
    assert upgrade(StoreSettings(empty)).before is None
    Store.open(StoreSettings(empty)).close()
    assert upgrade(StoreSettings(empty)).before == tables.HEAD


def test_a_newer_schema_and_another_programs_file_are_refused(old: Old, tmp_path: Path) -> None:
    old.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"schema 9999.*too old.*newer connector"):
        upgrade(old.settings)
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE customers (id)")
    with pytest.raises(StoreError, match="another program"):
        upgrade(StoreSettings(tmp_path / "other.db"))
    assert old.beside == []


@pytest.mark.parametrize(
    "lane, error, words",
    [
        ((tables.DAEMON_STREAM, tables.DAEMON_LANE), StoreError, r"the daemon works on .*process \d+ .*Stop it"),
        ((1, "live"), LeaseHeld, r"acme/customers: .*lane live belongs to process \d+"),
        ((99, "backfill:1..2"), LeaseHeld, r"lane backfill:1..2 belongs to process \d+"),
    ],
)
def test_nothing_is_upgraded_while_anyone_works(
    old: Old, lane: tuple[int, str], error: type[Exception], words: str
) -> None:
    holder = this_holder()
    expires_at = clock.now().timestamp() + 60
    old.execute(LEASE, *lane, "someone", holder.host, holder.pid, holder.started, expires_at)
    before = contents(old.path)
    with pytest.raises(error, match=words):
        upgrade(old.settings)
    assert contents(old.path) == before
    assert old.beside == []
    old.execute("UPDATE leases SET expires_at = 1")
    assert upgrade(old.settings).before == FIRST


def test_a_lack_of_room_is_found_before_anything_is_written(old: Old) -> None:
    with pytest.raises(StoreError, match=r"too little for a backup of 1 MiB .*Free some space"):
        upgrade(StoreSettings(old.path, min_free_bytes=2**60))
    assert old.is_untouched()


def test_a_damaged_store_is_not_upgraded(old: Old) -> None:
    with contextlib.closing(sqlite3.connect(old.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with old.path.open("r+b") as file:
        file.seek(4096 * 6)
        file.write(os.urandom(4096 * 3))
    before = old.path.read_bytes()
    with pytest.raises(StoreError, match=r"damaged.*backup"):
        upgrade(old.settings)
    assert old.path.read_bytes() == before
    assert old.beside == []


def test_a_failing_migration_leaves_everything_as_it_was(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite.migrate

    def lose_rows(conn: Connection, to: str = "head") -> None:
        real(conn, to)
        conn.exec_driver_sql("DELETE FROM ledger WHERE key = 'key 1'")

    def forget_a_column(conn: Connection, to: str = "head") -> None:
        real(conn, to)
        conn.exec_driver_sql("ALTER TABLE lateness DROP COLUMN max_us")

    def do_nothing(conn: Connection, to: str = "head") -> None:
        pass

    def fail(conn: Connection, to: str = "head") -> None:
        real(conn, to)
        raise ZeroDivisionError("half-way")

    for migrate, error, words in (
        (lose_rows, StoreError, "number of rows in ledger"),
        (forget_a_column, StoreError, "would not be those of this program"),
        (do_nothing, StoreError, "would not be those of this program"),
        (fail, ZeroDivisionError, "half-way"),
    ):
        monkeypatch.setattr(upgrading, "migrate", migrate)
        with pytest.raises(error, match=words):
            upgrade(old.settings)
        assert old.is_untouched()
    monkeypatch.setattr(upgrading, "migrate", real)
    assert upgrade(old.settings).before == FIRST


def test_a_backup_that_cannot_be_written_stops_the_upgrade(old: Old) -> None:
    old.path.with_name(f"connector.db.before-{tables.HEAD}.partial").mkdir()
    with pytest.raises(StoreError, match=r"backup .* can't be written: .*as it was"):
        upgrade(old.settings)
    assert contents(old.path) == old.before


def test_what_a_killed_upgrade_left_is_replaced(old: Old) -> None:
    old.path.with_name(f"connector.db.before-{tables.HEAD}.partial").write_text("half a backup")
    done = upgrade(old.settings)
    assert done.backup is not None
    assert old.beside == [done.backup.name]
