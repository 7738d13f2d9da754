"""Whatever is wrong with the input: one clear message, the right exit code, and the state as it was."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import (
    CUSTOMERS,
    Installation,
    client,
    sqlite_shop,
    sqlite_writer,
)

CONFIG, STOPPED, RETRY, STORE = 2, 3, 4, 5
WATERMARK = {"column": "updated_at", "by": "timestamp"}


@dataclass(frozen=True, slots=True)
class Case:
    """What is wrong, how the program ends, and words that its message must hold.

    `sql` changes the shop's file, `stream` the customers' stream, `source` the client's source.
    `checked` says that `check` finds it too.
    """

    name: str
    code: int
    says: str
    stream: dict[str, Any] | None = None
    source: dict[str, Any] | None = None
    sql: str = ""
    checked: bool = True


COPY = "CREATE TABLE copy AS SELECT * FROM customers"
CASES = (
    Case("a missing table", STOPPED, "custmers", {"table": "custmers"}),
    Case(
        "a missing watermark column", STOPPED, "changed_at", {"watermark": {"column": "changed_at", "by": "timestamp"}}
    ),
    Case("a missing field column", STOPPED, "e_mail", {"fields": {**CUSTOMERS["fields"], "email": "e_mail"}}),
    Case("a missing key column", STOPPED, "cust_id", {"key": "cust_id"}),
    Case("a column dropped between runs", STOPPED, "phone", sql="ALTER TABLE customers DROP COLUMN phone"),
    Case("a table dropped between runs", STOPPED, "customers", sql="DROP TABLE customers"),
    Case(
        "a key that is not unique",
        STOPPED,
        r"key \[city\] is not unique",
        {"key": "city", "table": "copy"},
        sql=f"{COPY}; CREATE TABLE other AS SELECT * FROM copy; DROP TABLE copy; CREATE TABLE copy (customer_id, "
        "user_id, f_name, l_name, reg_date TIMESTAMP, email, phone, city TEXT NOT NULL, balance, updated_at TIMESTAMP); "
        "INSERT INTO copy SELECT customer_id, user_id, f_name, l_name, reg_date, email, phone, city, balance, "
        "updated_at FROM other",
        checked=False,
    ),
    Case("a key that may be null", STOPPED, "email may be NULL", {"key": "email"}),
    Case(
        "a watermark of bytes",
        CONFIG,
        "balance2",
        {"watermark": {"column": "balance2", "by": "timestamp"}},
        sql="ALTER TABLE customers ADD COLUMN balance2 BLOB",
    ),
    Case(
        "a watermark of floats",
        CONFIG,
        "rate",
        {"watermark": {"column": "rate", "by": "timestamp"}},
        sql="ALTER TABLE customers ADD COLUMN rate DOUBLE; UPDATE customers SET rate = 1.5",
    ),
    Case("by id on a timestamp", CONFIG, "by: id", {"watermark": {"column": "updated_at", "by": "id"}}),
    Case("a source file that is not there", STOPPED, "no such file", source={"database": "../gone.db"}),
    Case("a source file that is no database", STOPPED, "not an SQLite database", source={"database": "./acme.yaml"}),
    Case(
        "an expression that is no SQL",
        STOPPED,
        "does not understand",
        {"fields": {**CUSTOMERS["fields"], "city": {"sql": "city city city"}}},
    ),
    Case("a query that writes", CONFIG, "SELECT", {"table": None, "query": "DELETE FROM customers"}),
)


def spoil(installation: Installation, case: Case) -> None:
    """Put the case's mistake into the installation."""
    file = installation.folder / "clients" / "acme.yaml"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["source"] |= case.source or {}
    changed = {**content["streams"]["customers"], **(case.stream or {})}
    content["streams"]["customers"] = {name: value for name, value in changed.items() if value is not None}
    file.write_text(json.dumps(content), encoding="utf-8")
    if case.sql:
        with sqlite_writer(installation.folder / "shop.db") as writer:
            writer.executescript(case.sql)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_one_message_and_leaves_the_state(case: Case, pulled: Installation) -> None:
    spoil(pulled, case)
    before = pulled.state()
    pull, preview, check = pulled.run_all(
        ["pull", "acme/customers"], ["preview", "acme/customers"], ["check", "acme/customers"]
    )
    assert pull.code == case.code, pull.err
    assert re.search(case.says, pull.message), pull.message
    assert "acme/customers" in pull.message
    assert pulled.state() == before
    if case.checked:
        assert preview.code == case.code, preview.err
        assert re.search(case.says, preview.message), preview.message
        assert "acme/customers" in preview.message, f"which stream? {preview.message}"
        assert check.code == (CONFIG if case.name == "a query that writes" else STOPPED), check.out + check.err
        errors = [
            line for line in (check.out + check.err).splitlines() if "ERROR" in line or line.startswith("connector:")
        ]
        assert errors, check.out
        assert re.search(case.says, " ".join(errors)), errors


def test_preview_shows_the_sql_that_the_database_does_not_understand(pulled: Installation) -> None:
    spoil(pulled, Case("", STOPPED, "", {"fields": {**CUSTOMERS["fields"], "city": {"sql": "city city city"}}}))
    done = pulled.run("preview", "acme/customers")
    assert done.code == STOPPED
    assert "city city city" in done.out + done.err


def test_a_failing_stream_does_not_stop_the_others(pulled: Installation) -> None:
    spoil(pulled, Case("", STOPPED, "", {"table": "custmers"}))
    with sqlite_writer(pulled.folder / "shop.db") as writer:
        writer.execute(
            "INSERT INTO receipts SELECT receipt_id + 9000, user_id, customer_id, number, created_at, status, total, "
            "items, currency, shop, strftime('%Y-%m-%d %H:%M:%f', 'now') FROM receipts WHERE receipt_id < 21"
        )
        (added,) = writer.execute(
            "SELECT count(*) FROM receipts WHERE receipt_id > 9000 AND user_id = 'tenant-zqx'"
        ).fetchone()
    done = pulled.run("pull", "--json")
    assert done.code == STOPPED
    runs = {run["stream"]: run for run in done.document["runs"]}
    assert runs["acme/customers"]["state"] == "failed"
    assert runs["acme/receipts"]["counters"]["created"] == added > 0
    assert "custmers" in done.message


def test_an_empty_table_is_pulled_with_nothing(pulled: Installation) -> None:
    spoil(
        pulled,
        Case(
            "",
            0,
            "",
            {"table": "nobody"},
            sql="CREATE TABLE nobody AS SELECT * FROM customers WHERE false; "
            "DROP TABLE nobody; CREATE TABLE nobody (customer_id INTEGER PRIMARY KEY, user_id TEXT, f_name, l_name, "
            "reg_date, email, phone, city, balance, updated_at TIMESTAMP)",
        ),
    )
    done = pulled.run("pull", "acme/customers", "--json")
    assert done.code == 0, done.err
    (run,) = done.document["runs"]
    assert (run["state"], run["counters"]["read"]) == ("succeeded", 0)


def test_two_streams_of_the_same_table_are_refused_before_anything_is_read(pulled: Installation) -> None:
    before = pulled.state()
    content = json.loads((pulled.folder / "clients/acme.yaml").read_text(encoding="utf-8"))
    content["streams"]["again"] = content["streams"]["customers"]
    (pulled.folder / "clients/acme.yaml").write_text(json.dumps(content), encoding="utf-8")
    done = pulled.run("pull")
    assert done.code == CONFIG
    assert "two streams would write the same records" in done.message
    assert pulled.state() == before


def test_a_stream_that_meets_another_streams_record_is_stopped(pulled: Installation) -> None:
    content = json.loads((pulled.folder / "clients/acme.yaml").read_text(encoding="utf-8"))
    content["streams"]["again"] = {**content["streams"]["customers"], "table": "same"}
    (pulled.folder / "clients/acme.yaml").write_text(json.dumps(content), encoding="utf-8")
    with sqlite_writer(pulled.folder / "shop.db") as writer:
        writer.execute("CREATE VIEW same AS SELECT * FROM customers")
    before = pulled.state()
    done = pulled.run("pull", "acme/again")
    assert done.code == STOPPED
    assert "acme/again" in done.message
    assert "'customers'" in done.message, "the other stream is not named"
    assert pulled.state() == before


@pytest.mark.parametrize(
    "command",
    [
        ["pull", "nobody"],
        ["pull", "acme/nothing"],
        ["preview", "nobody/customers"],
        ["backfill", "acme/nothing"],
        ["check", "nobody"],
        ["status", "acme/nothing"],
        ["records", "acme/nothing"],
    ],
    ids=" ".join,
)
def test_an_unknown_name_is_answered_with_those_there_are(command: list[str], pulled: Installation) -> None:
    before = pulled.state()
    done = pulled.run(*command)
    assert done.code == CONFIG
    assert command[1] in done.message
    assert "acme" in done.message.partition(command[1])[2], "what there is instead is not said"
    assert pulled.state() == before


def test_a_backfill_of_no_date_is_a_mistake_in_the_command(pulled: Installation) -> None:
    before = pulled.state()
    done = pulled.run("backfill", "acme/customers", "--from", "yesterday")
    assert done.code == CONFIG
    assert "no date or time" in done.message
    assert pulled.state() == before


def test_every_mistake_in_two_files_is_told_at_once(pulled: Installation) -> None:
    content = json.loads((pulled.folder / "clients/acme.yaml").read_text(encoding="utf-8"))
    content["streams"]["customers"]["watermrk"] = content["streams"]["customers"].pop("watermark")
    content["streams"]["receipts"]["entity"] = "reciept"
    (pulled.folder / "clients/acme.yaml").write_text(json.dumps(content, indent=1), encoding="utf-8")
    main = {"store": {"path": "connector.db"}, "loging": {"level": "info"}, "daemon": {"workers": 0}}
    (pulled.folder / "connector.yaml").write_text(json.dumps(main, indent=1), encoding="utf-8")
    done = pulled.run("pull")
    assert done.code == CONFIG
    assert re.search(r"connector\.yaml:\d+: loging.*did you mean .log.", done.err), done.err
    assert re.search(r"connector\.yaml:\d+: daemon\.workers", done.err), done.err
    assert re.search(r"acme\.yaml:\d+: .*watermrk.*did you mean .watermark.", done.err), done.err
    assert re.search(r"acme\.yaml:\d+: .*entity.*did you mean .receipt.", done.err), done.err
    assert len(done.messages) == 1


def test_yaml_that_is_none_is_told_with_its_line(pulled: Installation) -> None:
    file = pulled.folder / "clients" / "acme.yaml"
    file.write_text("client: acme\nsource:\n  engine: sqlite\n  password: zqx\n bad: [\n", encoding="utf-8")
    done = pulled.run("status")
    assert done.code == CONFIG
    assert re.search(r"acme\.yaml:\d+: ", done.message)


def test_a_folder_without_configuration_is_told(tmp_path: Path) -> None:
    done = Installation(tmp_path).run("pull")
    assert done.code == CONFIG
    assert "connector.yaml" in done.message


def test_a_secret_that_is_not_there_is_named_without_a_value(tmp_path: Path) -> None:
    source = {
        "engine": "postgresql",
        "host": "localhost",
        "database": "x",
        "user": "y",
        "password": "${NO_SUCH_SECRET}",
    }
    done = Installation(tmp_path).write(acme=client(source)).run("check")
    assert done.code == CONFIG
    assert "NO_SUCH_SECRET" in done.message


def test_a_store_that_is_no_store_is_told_and_left(pulled: Installation) -> None:
    pulled.store.write_bytes(b"not a database, for sure" * 1000)
    for suffix in ("-wal", "-shm"):
        pulled.store.with_name(pulled.store.name + suffix).unlink(missing_ok=True)
    before = pulled.store.read_bytes()
    for done in pulled.run_all(["pull"], ["status"], ["run"], ["records", "acme/customers"]):
        assert done.code == STORE, done.err
        assert "connector.db" in done.message
    assert pulled.store.read_bytes() == before


def test_a_store_with_torn_pages_is_told(pulled: Installation) -> None:
    with contextlib.closing(sqlite3.connect(pulled.store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = pulled.store.stat().st_size
    with pulled.store.open("r+b") as file:
        for page in range(4096, size, 4096):
            file.seek(page)
            file.write(b"\xa5" * 2048)
    for done in pulled.run_all(["pull"], ["status"]):
        assert done.code == STORE, done.err
        assert "damaged" in done.message


def test_the_database_of_another_program_is_not_taken_for_a_store(pulled: Installation) -> None:
    shutil.copyfile(pulled.folder / "shop.db", pulled.store)
    for suffix in ("-wal", "-shm"):
        pulled.store.with_name(pulled.store.name + suffix).unlink(missing_ok=True)
    done = pulled.run("pull")
    assert done.code == STORE
    assert "another program" in done.message


def test_a_store_in_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    source = sqlite_shop(tmp_path / "shop.db")
    # /proc refuses new files to everybody, root included, which a folder's mode does not.
    installation = Installation(tmp_path).write({"store": {"path": "/proc/connector.db"}}, acme=client(source))
    for done in installation.run_all(["pull"], ["status"], ["run"]):
        assert done.code == STORE, done.err
        assert "store.path" in done.message


def test_a_store_is_readable_by_its_owner_only(pulled: Installation) -> None:
    assert stat.S_IMODE(pulled.store.stat().st_mode) == 0o600
