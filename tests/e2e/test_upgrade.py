"""`connector upgrade` as an operator meets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connector.store.tables import HEAD
from tests.e2e.installation import Installation, Running, sqlite_writer
from tests.old_stores import FIRST, make_old, surviving


@pytest.fixture
def old(pulled: Installation) -> Installation:
    """Return an installation whose store was written by the first version."""
    present = pulled.store.rename(pulled.folder / "present.db")
    make_old(pulled.store, present)
    return pulled


@pytest.fixture
def daemon(pulled: Installation) -> Iterator[Running]:
    running = pulled.start("run")
    running.wait_for("started")
    yield running
    running.process.terminate()
    running.end()


def test_an_old_store_is_refused_then_upgraded_then_pulled_into(old: Installation) -> None:
    before = surviving(old.store)
    refused = old.run("pull")
    assert refused.code == 5
    assert f"older schema {FIRST}" in refused.message
    assert "run `connector upgrade`" in refused.message
    done = old.run("upgrade", "--json")
    assert (done.code, done.err) == (0, "")
    document = done.document
    assert (document["before"], document["after"], document["path"]) == (FIRST, HEAD, str(old.store))
    assert document["backup"] == f"{old.store}.before-{HEAD}"
    assert document["rows"]["ledger"] == len(before["ledger"]) > 100
    pulled = old.run("pull", "--json")
    assert pulled.code == 0, pulled.err
    assert {run["counters"]["created"] for run in pulled.document["runs"]} == {0}
    assert surviving(old.store)["ledger"] == before["ledger"]


def test_it_says_what_it_did_and_that_there_is_nothing_more_to_do(old: Installation) -> None:
    first, second = old.run("upgrade"), old.run("upgrade")
    assert (first.code, second.code) == (0, 0)
    assert f"schema {FIRST} is now {HEAD}" in first.out
    assert f"backup of before: {old.store}.before-{HEAD}" in first.out
    assert second.out == f"{old.store} has schema {HEAD} already: nothing to do\n"
    old.store.unlink()
    third = old.run("upgrade")
    assert third.code == 0
    assert "not there yet" in third.out
    assert not old.store.exists()


def test_a_running_daemon_is_in_the_way(pulled: Installation, daemon: Running) -> None:
    old_store = pulled.folder / "old.db"
    make_old(old_store, pulled.store)  # with the daemon's lease, as if it were a daemon of then
    other = Installation(pulled.folder).write({"store": {"path": "old.db", "min_free": "1MB"}})
    refused = other.run("upgrade")
    assert refused.code == 5
    assert f"the daemon works on the store {old_store}: process {daemon.process.pid} on" in refused.message
    assert "Stop it first" in refused.message
    assert not list(pulled.folder.glob("old.db.before*"))


def test_a_newer_schema_is_refused(pulled: Installation) -> None:
    with sqlite_writer(pulled.store) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    refused = pulled.run("upgrade")
    assert refused.code == 5
    assert "schema 9999" in refused.message
    assert "newer connector" in refused.message
