"""Whatever is wrong with the input: one clear message, the right exit code, and the state as it was."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import CUSTOMERS, Installation, client, sqlite_shop, sqlite_writer
from tests.e2e.mistakes import CONFIG, STOPPED, Case, Outcome, assert_says, outcome, spoiled

STORE = 5
COLUMNS = (
    "customer_id, user_id, f_name, l_name, reg_date TIMESTAMP, email, phone, city TEXT NOT NULL, balance, "
    "updated_at TIMESTAMP"
)
COPIED = "customer_id, user_id, f_name, l_name, reg_date, email, phone, city, balance, updated_at"


def fields(**changed: Any) -> dict[str, Any]:
    return {"fields": {**CUSTOMERS["fields"], **changed}}


def watermark(column: str, by: str = "timestamp") -> dict[str, Any]:
    return {"watermark": {"column": column, "by": by}}


CASES = (
    Case("a missing table", STOPPED, "custmers", {"table": "custmers"}),
    Case("a missing watermark column", STOPPED, "changed_at", watermark("changed_at")),
    Case("a missing field column", STOPPED, "e_mail", fields(email="e_mail")),
    Case("a missing key column", STOPPED, "cust_id", {"key": "cust_id"}),
    Case("a column dropped between runs", STOPPED, "phone", sql="ALTER TABLE customers DROP COLUMN phone"),
    Case("a table dropped between runs", STOPPED, "customers", sql="DROP TABLE customers"),
    Case(
        "a key that is not unique",
        STOPPED,
        "key [city] is not unique",
        {"key": "city", "table": "copy"},
        sql=f"CREATE TABLE copy ({COLUMNS}); INSERT INTO copy SELECT {COPIED} FROM customers",
        seen=False,
    ),
    Case("a key that may be null", STOPPED, "email may be NULL", {"key": "email"}),
    Case("a watermark of bytes", CONFIG, "photo", watermark("photo"), sql="ALTER TABLE customers ADD photo BLOB"),
    Case("a watermark of floats", CONFIG, "rate", watermark("rate"), sql="ALTER TABLE customers ADD rate DOUBLE"),
    Case("by id on a timestamp", CONFIG, "by: id", watermark("updated_at", "id")),
    Case("a file that is not there", STOPPED, "no such file", source={"database": "./gone.db"}),
    Case("a file that is no database", STOPPED, "not an SQLite database", source={"database": "../connector.yaml"}),
    Case("an expression that is no SQL", STOPPED, "does not understand", fields(city={"sql": "city city city"})),
    Case("an expression that writes", STOPPED, "", fields(city={"sql": "(DELETE FROM customers)"})),
    Case("a query that writes", CONFIG, "SELECT", {"table": None, "query": "DELETE FROM customers"}),
    Case("two queries", CONFIG, "SELECT", {"table": None, "query": "SELECT 1; DROP TABLE customers"}),
)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("mistakes")
    sources = {case.name: sqlite_shop(folder / f"{case.client}.db") for case in CASES}

    def spoil() -> None:
        for case in CASES:
            with sqlite_writer(folder / f"{case.client}.db") as writer:
                writer.executescript(case.sql)

    return outcome(folder, sources, CASES, spoil)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_one_message_of_its_stream(case: Case, tried: Outcome) -> None:
    tried.hold(case)


def test_mistakes_leave_the_state_as_it_was(tried: Outcome) -> None:
    assert tried.after == tried.before
    assert tried.code == CONFIG, "what a person has to correct in the files comes first"


def spoil(installation: Installation, case: Case) -> None:
    """Put one mistake into the installation that was pulled once."""
    file = installation.folder / "clients" / "acme.yaml"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["source"] |= case.source
    content["streams"]["customers"] = spoiled(content["streams"]["customers"], case)
    file.write_text(json.dumps(content), encoding="utf-8")
    with sqlite_writer(installation.folder / "shop.db") as writer:
        writer.executescript(case.sql)


CHOSEN = [case for case in CASES if case.name in {"a missing table", "a key that may be null", "two queries"}]


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.name)
def test_a_mistake_met_by_preview_and_backfill_is_one_message(case: Case, pulled: Installation) -> None:
    spoil(pulled, case)
    before = pulled.state()
    for done in pulled.run_all(["preview", "acme/customers"], ["backfill", "acme/customers"]):
        assert done.code == case.code, done.err
        assert_says(done.message.replace("acme/customers", case.id), case)
    assert pulled.state() == before


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
