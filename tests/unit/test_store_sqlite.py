"""The SQLite file: its schema, and one clear error for each way in which it can be unusable."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event

from connector.config.resolved import StoreSettings
from connector.errors import StoreError
from connector.model import StreamId
from connector.store import sqlite, tables
from connector.store.intake import Intake
from connector.store.store import Store
from tests.contract.stores import all_names, begin, commit, records

NAME = StreamId("acme", "customers")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def _open(path: Path) -> Store:
    return Store.open(StoreSettings(path, min_free_bytes=0))


def _raw(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def _tables(conn: Connection) -> dict[str, str]:
    found = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    return {str(name): str(sql) for name, sql in found}


def test_the_migrations_make_the_tables_that_the_program_uses(path: Path) -> None:
    _open(path).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn), tables.metadata) == []
        made = _tables(conn)
    engine.dispose()
    plain = create_engine("sqlite://")
    tables.metadata.create_all(plain)
    with plain.connect() as conn:
        wanted = _tables(conn)
    plain.dispose()
    del made["alembic_version"]
    assert made == wanted


def test_the_program_knows_every_revision() -> None:
    revisions = ScriptDirectory(str(Path(sqlite.__file__).parent / "migrations")).walk_revisions()
    assert tuple(revision.revision for revision in revisions)[::-1] == tables.REVISIONS


def test_a_store_that_is_up_to_date_opens_without_alembic(path: Path) -> None:
    _open(path).close()
    program = (
        "import sys; from pathlib import Path; from connector.config.resolved import StoreSettings;"
        "from connector.store.store import Store;"
        "Store.open(StoreSettings(Path(sys.argv[1]))).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    with _open(path) as store:
        assert store.overview() == []


def test_every_commit_is_synced_and_writers_wait_for_each_other(path: Path) -> None:
    database = sqlite.SqliteDatabase(StoreSettings(path))
    begun: list[str] = []
    event.listen(database._writer, "before_cursor_execute", lambda *given: begun.append(given[2]))
    with database.write() as conn:
        pragmas = {
            name: conn.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000}
    assert begun[0] == "BEGIN IMMEDIATE"


def test_an_unknown_revision_says_that_this_program_is_too_old(path: Path) -> None:
    _open(path).close()
    _raw(path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"schema 9999.*too old.*newer connector"):
        _open(path)


def test_an_older_revision_says_how_to_upgrade(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as conn:
        sqlite.migrate(conn, "0001")
    engine.dispose()
    with pytest.raises(StoreError, match=r"older schema 0001.*connector upgrade"):
        _open(path)


def test_another_programs_database_is_left_alone(path: Path) -> None:
    _raw(path, "CREATE TABLE customers (id)")
    with pytest.raises(StoreError, match="another program"):
        _open(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("clients: []\n" * 1000)
    with pytest.raises(StoreError, match=r"not a store.*store\.path"):
        _open(path)


def test_a_directory_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="directory"):
        _open(path)


def test_a_damaged_file_is_named_as_such(path: Path) -> None:
    with _open(path) as store:
        row = store.stream(NAME, "customer")
        run = begin(store, row)
        for batch in range(20):
            commit(store, run, {f"{batch} {nth}": os.urandom(50).hex() for nth in range(200)})
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(os.urandom(path.stat().st_size - 4096 * 2))
    with pytest.raises(StoreError, match=r"damaged.*backup"), _open(path) as store:
        all_names(store, row)


def test_a_full_disk_keeps_what_was_committed(path: Path) -> None:
    with _open(path) as store:
        row = store.stream(NAME, "customer")
        run = begin(store, row)
        commit(store, run, {"a": "1"})
        with store._database.write() as conn:  # the limit belongs to the one writing connection
            pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
            conn.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}")
        with pytest.raises(StoreError, match=r"disk is full.*Free some space"):
            commit(store, run, {f"b{nth}": os.urandom(100).hex() for nth in range(5000)})
        assert all_names(store, row) == {"a": "1"}
        assert commit(store, run, {"a": "2"}).updated == 1


def test_a_file_that_is_locked_for_too_long_is_named_as_such(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _open(path).close()
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.01)
    with _open(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked by another process.*SQL shell"):
            store.stream(NAME, "customer")
        other.close()
        assert store.stream(NAME, "customer").id == NAME


def test_a_file_that_may_only_be_read_is_refused(path: Path) -> None:
    _open(path).close()
    path.chmod(0o444)
    path.parent.chmod(0o755)
    program = (
        "import os, sys; from pathlib import Path; from connector.config.resolved import StoreSettings;"
        "from connector.errors import StoreError; from connector.store import files;"
        "os.getuid() or os.setuid(65534)\n"
        "try: files.prepare(Path(sys.argv[1]))\n"
        "except StoreError as error: print(error)"
    )
    for parent in path.parents:  # a folder of the test's own user would hide the file from another
        if parent.stat().st_uid == os.getuid() and parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert "can't be opened for writing: Permission denied" in done.stdout


def test_errors_of_the_driver_never_show_a_row(path: Path) -> None:
    with _open(path) as store:
        row = store.stream(NAME, "customer")
        run = begin(store, row)
        with store._database.write() as conn:
            conn.exec_driver_sql("DROP TABLE ledger")
        with pytest.raises(StoreError) as caught:
            store.commit_batch(run, Intake(records({"secret key": "secret name"}), read_order=1))
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
