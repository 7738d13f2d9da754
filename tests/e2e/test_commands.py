"""Every command as an operator meets it: help, output for people and for scripts, exit codes."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest

from connector.cli.main import cli
from tests.e2e.installation import (
    CUSTOMERS,
    MARK,
    ROOT,
    TENANT,
    Installation,
    StoreFile,
    client,
    sqlite_shop,
    sqlite_writer,
    with_changes,
)

WINDOW = "window of 15 min: rows that become visible more than 15 min late are found only at a reconciliation"


def test_every_command_has_an_example_that_it_accepts() -> None:
    for name, command in cli.commands.items():
        with click.Context(command, info_name=name) as context:
            text = command.get_help(context)
        found = re.search(r"Example: connector (.+)", text)
        assert found, f"{name} has no example"
        words = shlex.split(found[1])
        words = words[words.index(name) + 1 :]
        with command.make_context(name, words, resilient_parsing=False):
            pass
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.name} is not explained"


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_help_is_there_without_a_configuration(command: str, tmp_path: Path) -> None:
    done = Installation(tmp_path / "nowhere").run(command, "--help")
    assert done.code == 0
    assert "Example: connector" in done.out


def test_the_exit_codes_are_in_the_help_and_a_wrong_command_is_a_mistake(tmp_path: Path) -> None:
    helped, wrong, option = Installation(tmp_path).run_all(["--help"], ["frobnicate"], ["pull", "--frobnicate"])
    assert helped.code == 0
    assert re.findall(r"^ +(\d+)  ", helped.out, re.MULTILINE) == ["0", "1", "2", "3", "4", "5", "130"]
    assert (wrong.code, option.code) == (2, 2)
    assert wrong.err
    assert option.err


def test_json_is_one_document_that_agrees_with_the_tables(pulled: Installation) -> None:
    commands = [
        ["check", "--json"],
        ["preview", "acme/customers", "--json"],
        ["pull", "--json"],
        ["backfill", "acme/receipts", "--json"],
        ["status", "--json"],
        ["records", "acme/customers", "--json", "--limit", "3"],
        ["records", "acme/customers", "--json", "--changes", "--limit", "3"],
        ["schema"],
    ]
    documents = []
    for start in range(0, len(commands), 4):
        for done in pulled.run_all(*commands[start : start + 4]):
            # A backfill gives way to a live run, and a pull beside another one of its stream is refused.
            assert done.code == 0, done.err
            documents.append(done.document)
    check, preview, pull, backfill, status, records, changes, schema = documents
    assert {finding["stream"] for finding in check["findings"]} == {"acme/customers", "acme/receipts"}
    assert "SELECT" in preview["sql"]
    assert [run["state"] for run in pull["runs"]] == ["succeeded", "succeeded"]
    assert backfill["runs"][0]["lane"] == "backfill:.."
    assert backfill["runs"][0]["counters"]["unchanged"] == backfill["runs"][0]["counters"]["read"] > 0
    assert [each["promise"] for each in status["streams"]] == [WINDOW, WINDOW]
    assert len(records["records"]) == len(changes["records"]) == 3
    assert changes["records"][0]["op"] == "create"
    assert set(schema) == {"connector.schema.json", "client.schema.json"}


def test_status_says_how_fresh_and_how_strong_and_what_is_unfinished(pulled: Installation) -> None:
    with contextlib.closing(sqlite3.connect(pulled.store)) as store:
        (mark,) = store.execute("SELECT watermark FROM streams WHERE name = 'customers'").fetchone()
        open_pull = {"opened": json.loads(mark), "rows": 1234, "keyset": "updated_at|customer_id"}
        store.execute(
            "INSERT INTO lanes SELECT stream_id, 'live', ?, 0 FROM streams WHERE name = 'customers'",
            (json.dumps(open_pull),),
        )
        store.execute("UPDATE runs SET started_at = started_at - 3 * 3600, ended_at = ended_at - 3 * 3600")
        store.commit()
    done = pulled.run("status")
    assert done.code == 0
    line = next(line for line in done.out.splitlines() if line.startswith("acme/customers "))
    assert re.search(r"succeeded +3 h ago +3 h ago", line), line
    assert f"acme/customers: {WINDOW}" in done.out
    assert "live: unfinished, 1,234 rows so far" in done.out
    narrowed = pulled.run("status", "acme/receipts")
    assert "acme/customers" not in narrowed.out


def test_status_of_streams_that_never_ran_needs_no_source(tmp_path: Path) -> None:
    source = {"engine": "sqlite", "database": str(tmp_path / "gone.db")}
    done = Installation(tmp_path).write(acme=client(source)).run("status", "--json")
    assert done.code == 0
    assert [each["state"] for each in done.document["streams"]] == ["never ran", "never ran"]


def test_status_tells_the_last_error_and_when_it_was_last_fresh(pulled: Installation) -> None:
    with sqlite_writer(pulled.folder / "shop.db") as writer:
        writer.execute("ALTER TABLE customers RENAME TO clients")
    assert pulled.run("pull").code == 3
    done = pulled.run("status", "--json")
    customers = done.document["streams"][0]
    assert customers["state"] == "failed"
    assert "customers" in customers["error"]
    assert customers["fresh_as_of"]
    assert customers["fresh_as_of"] < customers["last_run_at"]


def test_preview_shows_the_sql_that_is_sent_and_no_value(pulled: Installation) -> None:
    done = pulled.run("preview", "acme/customers")
    assert done.code == 0
    sql = next(line for line in done.out.splitlines() if line.startswith("SELECT"))
    with contextlib.closing(sqlite3.connect(pulled.folder / "shop.db")) as shop:
        assert sql.count("?") == 1
        rows = shop.execute(sql, (TENANT,)).fetchall()
        named = {value for row in rows[:10] for value in row if isinstance(value, str) and len(value) > 3}
    assert len(rows) > 50
    shown = done.out.partition(sql)[2]
    assert "xxxxx" in shown
    assert not [value for value in named if value in shown], "a row's value is shown"


def test_check_and_preview_need_no_store(tmp_path: Path) -> None:
    installation = Installation(tmp_path).write(acme=client(sqlite_shop(tmp_path / "shop.db")))
    for done in installation.run_all(["check"], ["preview", "acme/customers"]):
        assert done.code == 0, done.err
    assert not installation.store.exists()


def test_check_grades_what_it_finds_and_says_what_to_do(tmp_path: Path) -> None:
    source = sqlite_shop(tmp_path / "shop.db")
    with sqlite_writer(tmp_path / "shop.db") as writer:
        writer.execute("CREATE TABLE bare AS SELECT * FROM customers")
    bare = with_changes(CUSTOMERS, table="bare", key="none")
    typo = with_changes(CUSTOMERS, watermark={"column": "updatd_at", "by": "timestamp"})
    installation = Installation(tmp_path).write(
        good=client(source), weak=client(source, bare=bare), bad=client(source, typo=typo)
    )
    good, weak, bad = installation.run_all(["check", "good"], ["check", "weak"], ["check", "bad"])
    assert good.code == 0
    assert "ERROR" not in good.out
    assert WINDOW in good.out
    assert weak.code == 0, "a warning is no error"
    assert re.search(r"WARNING +no index serves updated_at.*Ask the client's DBA for an index on \(", weak.out)
    assert bad.code == 3
    assert re.search(r"ERROR +watermark: there is no column updatd_at\. Did you mean updated_at\?", bad.out)


def test_schema_writes_the_files_that_are_shipped(tmp_path: Path) -> None:
    done = Installation(tmp_path / "nowhere").run("schema", "--write", str(tmp_path))
    assert done.code == 0
    names = sorted(path.name for path in tmp_path.glob("*.json"))
    assert names == ["client.schema.json", "connector.schema.json"]
    for name in names:
        assert (tmp_path / name).read_text(encoding="utf-8") == (ROOT / "config" / name).read_text(encoding="utf-8")


def test_records_show_values_and_only_those_asked_for(pulled: Installation) -> None:
    one, all_, changes, unknown = pulled.run_all(
        ["records", "acme/customers", "--key", "2", "--json"],
        ["records", "acme/customers"],
        ["records", "acme/customers", "--changes", "--limit", "5"],
        ["records", "acme/customers", "--key", "no such key", "--json"],
    )
    (record,) = one.document["records"]
    assert record["last_name"] == f"Name{MARK}"
    assert MARK in all_.out
    assert len(changes.out.splitlines()) == 6, "five and the header"
    assert unknown.document["records"] == []
    assert unknown.code == 0


def test_refused_rows_are_counted_with_no_value_shown(pulled: Installation) -> None:
    done = pulled.run("status", "--json")
    assert done.document["streams"][0]["quarantined"] == 2, "two addresses are none"
    rows = StoreFile(pulled.store).rows("SELECT DISTINCT field, rule FROM quarantine")
    assert rows == [("email", "not_an_email")]


def test_a_pull_that_goes_well_says_so_on_standard_output_only(pulled: Installation) -> None:
    done = pulled.run("pull")
    assert done.code == 0
    assert not done.err
    assert len(done.out.splitlines()) == 3, "a header and two streams"


def test_output_into_a_pipe_that_closes_is_no_error(pulled: Installation) -> None:
    command = [sys.executable, "-m", "connector", "--config", str(pulled.folder), "records", "acme/customers", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 0
    assert not errors
