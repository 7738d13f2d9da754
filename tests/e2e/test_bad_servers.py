"""The same mistakes against real servers: what they refuse, and what they say, comes out as one message of ours."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.e2e.installation import (
    CUSTOMERS,
    MARK,
    PASSWORD,
    RECEIPTS,
    TENANT,
    Installation,
    client,
    now,
    server_shop,
    with_changes,
)
from tests.e2e.mistakes import CONFIG, RETRY, STOPPED, Case, Outcome, outcome
from tests.servers import Database, Server

LOGIN, FEW = "e2e_reader", "e2e_reader_of_few"


@dataclass(frozen=True, slots=True)
class Shop:
    """One shop per server for all tests of this module."""

    database: Database
    source: dict[str, Any] = field(repr=False)

    @property
    def stamp(self) -> str:
        return "TIMESTAMP(6)" if self.database.server.engine == "postgresql" else "DATETIME(6)"

    def create(self, table: str, columns: str) -> None:
        """Create a table that the login may read; `{0}` stands for the engine's timestamp."""
        self.database.execute(f"CREATE TABLE {table} ({columns.format(self.stamp)})")
        self.database.execute(f"GRANT SELECT ON {table} TO {self.database.server.login(LOGIN)}")


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    server: Server = request.getfixturevalue(request.param)
    with servers.fresh_database(server) as database:
        shop = Shop(database, server_shop(database, LOGIN))
        # Rights on a whole database can't be taken back for one table everywhere: a login with rights on one only.
        database.create_login(FEW, PASSWORD, ["SELECT ON customers"])
        yield shop
        server.drop_login(FEW, database=database.name)
        server.drop_login(LOGIN, database=database.name)


def fields(**changed: Any) -> dict[str, Any]:
    return {"fields": {**CUSTOMERS["fields"], **changed}}


def watermark(column: str, by: str = "timestamp") -> dict[str, Any]:
    return {"watermark": {"column": column, "by": by}}


SHORT = {"local_id": "customer_id", "register_date": "reg_date"}
CASES = (
    Case("a wrong password", STOPPED, "refused the login", source={"password": f"wrong-{MARK}"}),
    Case("an unknown login", STOPPED, "refused the login", source={"user": "nobody_there"}),
    Case("an unknown host", RETRY, "host is unknown", source={"host": "no-such-host.invalid"}),
    Case("a closed port", RETRY, "no database answers", source={"port": "closed"}),
    Case("an unknown database", STOPPED, "no such database | may not use", source={"database": "not_there"}),
    Case("a missing table", STOPPED, "no such table or view | no right", {"table": "custmers"}),
    Case("a missing schema", STOPPED, "no such | no right", {"table": "no_schema.customers"}),
    Case("a missing watermark column", STOPPED, "changed_at", watermark("changed_at")),
    Case("a missing field column", STOPPED, "e_mail", fields(email="e_mail")),
    Case("a missing tenant column", STOPPED, "owner_id", {"tenant": {"column": "owner_id", "value": MARK}}),
    Case(
        "a key that is not unique",
        STOPPED,
        "key [customer_id] is not unique",
        {"table": "doubled", "fields": SHORT},
        seen=False,
    ),
    Case("a key that may be null", STOPPED, "email may be NULL", {"key": "email"}),
    Case("a watermark of text", CONFIG, "email", watermark("email")),
    Case("a watermark of floats", CONFIG, "rate", watermark("rate")),
    Case("by id on a timestamp", CONFIG, "by: id", watermark("updated_at", "id")),
    Case("an expression that is no SQL", STOPPED, "SQL", fields(city={"sql": "city city city"})),
    Case(
        "an expression that fails on a value", STOPPED, "", fields(city={"sql": "cast(l_name AS INTEGER)"}), seen=False
    ),
    Case("a tenants value of another type", CONFIG, "tenant", {"tenant": {"column": "customer_id", "value": MARK}}),
)
HARMLESS = {"mysql": {"an expression that fails on a value"}}  # it makes 0 of a text, without an error


def cases(engine: str) -> list[Case]:
    return [case for case in CASES if case.name not in HARMLESS.get(engine, ())]


@pytest.fixture(scope="module")
def tried(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    database, chosen = shop.database, cases(shop.source["engine"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    chosen = [replace(case, source={"port": closed}) if case.source.get("port") else case for case in chosen]

    def spoil() -> None:
        shop.create("doubled", "customer_id BIGINT NOT NULL, user_id VARCHAR(32), reg_date {0}, updated_at {0}")
        for _ in range(2):
            database.execute("INSERT INTO doubled SELECT customer_id, user_id, reg_date, updated_at FROM customers")
        database.execute("ALTER TABLE customers ADD rate DOUBLE PRECISION")
        stamp = now().strftime("%Y-%m-%d %H:%M:%S")
        database.execute(f"UPDATE customers SET updated_at = '{stamp}' WHERE customer_id < 20")

    folder = tmp_path_factory.mktemp("mistakes")
    return outcome(folder, {case.name: shop.source for case in chosen}, chosen, spoil)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_one_message_of_its_stream(case: Case, tried: Outcome, shop: Shop) -> None:
    if case in cases(shop.source["engine"]):
        tried.hold(case)


def test_mistakes_leave_the_state_as_it_was(tried: Outcome) -> None:
    assert tried.after == tried.before


def test_a_column_dropped_between_runs_stops_the_stream(shop: Shop, tmp_path: Path) -> None:
    columns = "customer_id BIGINT PRIMARY KEY, user_id VARCHAR(32), reg_date {0}, city VARCHAR(9), updated_at {0}"
    shop.create("shrinking", columns)
    taken = "SELECT customer_id, user_id, reg_date, 'Kyiv', updated_at FROM customers"
    shop.database.execute(f"INSERT INTO shrinking {taken}")
    stream = with_changes(CUSTOMERS, table="shrinking", fields={**SHORT, "city": "city"})
    installation = Installation(tmp_path).write(acme=client(shop.source, customers=stream))
    assert installation.run("pull").code == 0
    before = installation.state()
    shop.database.execute("ALTER TABLE shrinking DROP COLUMN city")
    done = installation.run("pull")
    assert done.code == STOPPED
    assert "city" in done.message
    assert installation.state() == before


def test_a_table_without_rights_is_told_and_others_arrive(shop: Shop, tmp_path: Path) -> None:
    streams = {"closed": RECEIPTS, "customers": CUSTOMERS}
    installation = Installation(tmp_path).write(acme=client({**shop.source, "user": FEW}, **streams))
    done = installation.run("pull", "--json")
    assert done.code == STOPPED
    assert "no right" in done.message
    assert "acme/closed" in done.message
    runs = {run["stream"]: run for run in done.document["runs"]}
    assert runs["acme/closed"]["state"] == "failed"
    assert runs["acme/customers"]["counters"]["created"] > 0
    checked = installation.run("check", "acme/closed")
    assert checked.code == STOPPED
    assert re.search("no right|no table", checked.out)


def test_an_empty_table_is_pulled_with_nothing(shop: Shop, tmp_path: Path) -> None:
    shop.create("nobody", "customer_id BIGINT PRIMARY KEY, user_id VARCHAR(32), reg_date {0}, updated_at {0}")
    stream = with_changes(CUSTOMERS, table="nobody", fields=SHORT)
    installation = Installation(tmp_path).write(acme=client(shop.source, customers=stream))
    for _ in range(2):
        done = installation.run("pull", "--json")
        assert done.code == 0, done.err
        assert done.document["runs"][0]["counters"]["read"] == 0


def test_a_client_that_is_down_does_not_stop_another(shop: Shop, tmp_path: Path) -> None:
    down = {**shop.source, "host": "no-such-host.invalid"}
    installation = Installation(tmp_path).write(down=client(down), up=client(shop.source, receipts=RECEIPTS))
    done = installation.run("pull", "--json")
    assert done.code == RETRY
    assert len(done.messages) == 2, "one for each stream that failed"
    runs = {run["stream"]: run for run in done.document["runs"]}
    assert runs["up/receipts"]["counters"]["created"] > 0


def test_a_row_of_another_spelling_of_the_tenant_stops_the_stream_unseen(shop: Shop, tmp_path: Path) -> None:
    shop.create("spelled", "customer_id BIGINT PRIMARY KEY, user_id VARCHAR(32), reg_date {0}, updated_at {0}")
    taken = "SELECT customer_id, user_id, reg_date, updated_at FROM customers"
    shop.database.execute(f"INSERT INTO spelled {taken}")
    stream = with_changes(CUSTOMERS, table="spelled", fields=SHORT)
    installation = Installation(tmp_path).write(acme=client(shop.source, customers=stream))
    assert installation.run("pull").code == 0
    before = installation.state()
    stamp = now().strftime("%Y-%m-%d %H:%M:%S")
    changed = f"user_id = upper(user_id), updated_at = '{stamp}' WHERE customer_id = 2"
    shop.database.execute(f"UPDATE spelled SET {changed}")
    done = installation.run("pull", "--json")
    if shop.database.execute(f"SELECT 1 FROM spelled WHERE user_id = '{TENANT}' AND customer_id = 2"):
        assert done.code == STOPPED, done.err
        assert "tenant" in done.message
    else:  # this server tells the two apart, so that the row is another client's
        assert done.code == 0, done.err
        counters = done.document["runs"][0]["counters"]
        assert counters["read"] == counters["unchanged"], "the look-back reads known rows again, and no other"
    assert {**installation.state(), "watermarks": None} == {**before, "watermarks": None}
