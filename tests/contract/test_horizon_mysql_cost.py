"""The level bounded: which rows it asks for, what it reads twice, and what it costs the server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from connector.config.resolved import Limits, Tenant
from connector.runs.job import Tick
from connector.source.horizon import FIRST_LOOK_BACK_US
from connector.source.session import Session
from connector.source.window import micros
from tests.contract.horizon_mysql import Asked, Spy, in_flight, statements, three_old_rows, with_right
from tests.contract.pulling import Pulling, ago, stamp

pytestmark = pytest.mark.parametrize("database", ["mysql"], indirect=True)


@pytest.fixture
def table(client: Pulling) -> Pulling:
    return three_old_rows(client)


@pytest.fixture(params=["select", "process"])
def bounded(table: Pulling, request: pytest.FixtureRequest) -> Iterator[Pulling]:
    with with_right(table, request.param) as found:
        yield found


# -- the tenant


SHARED = (
    "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40), updated_at {stamp}, shop INT, KEY wm (shop, updated_at))"
)


def test_another_tenant_s_writer_does_not_hold_this_tenant_s_mark(bounded: Pulling) -> None:
    bounded.execute(f"DROP TABLE t; {SHARED}")
    bounded.configure(tenant=Tenant("shop", 7))
    bounded.insert((1, "ours", ago(3_000), 7), (2, "ours", ago(1_000), 7), (3, "theirs", ago(2_000), 8))
    theirs = f"INSERT INTO t VALUES (4, 'theirs', '{ago(3_500)}', 8)"
    with in_flight(bounded, theirs, "UPDATE t SET v = 'changed' WHERE id = 3"):
        for number in (10, 11, 12):
            bounded.insert((number, "ours", ago(0), 7))
            read = bounded.succeed().counters.read
        assert read <= 3, "rows were read again from another tenant's stamp on"
    assert bounded.final() == bounded.expected("WHERE shop = 7")


def test_every_statement_on_the_table_asks_for_this_tenant_only(bounded: Pulling) -> None:
    bounded.execute(f"DROP TABLE t; {SHARED}")
    bounded.configure(tenant=Tenant("shop", 7))
    bounded.insert((1, "ours", ago(3_000), 7), (3, "theirs", ago(2_000), 8))
    with statements(bounded) as asked:
        bounded.succeed()
    on_table = [sql for sql in asked if "FROM `t`" in sql and "LIMIT 0" not in sql]
    assert sum("BIT_XOR" in sql for sql in on_table) == 2
    assert len(on_table) >= 4
    assert all("WHERE s.`shop` = 7 AND " in sql for sql in on_table), on_table


# -- how it looks


def test_one_connection_is_enough_and_few_numbers_travel(bounded: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded.configure(limits=Limits(connections=1, statement_timeout_s=20, read_timeout_s=30))
    bounded.insert(*((number, "v", ago(86_000 - number * 20)) for number in range(10, 4_000)))
    spy = Spy().listen(monkeypatch)
    most = 0

    def sessions(session: Session, asked: Asked) -> None:
        nonlocal most
        most = max(most, bounded.database.sessions())

    spy.then = lambda session, asked: sessions(session, asked) if "BIT_XOR" in asked.sql else None
    bounded.configure(batch_size=5_000)
    bounded.succeed()
    assert most == 1
    assert len(spy.digests) == 2
    assert max(asked.rows for asked in spy.digests) <= 520


def test_a_first_pull_looks_for_writers_one_day_back(bounded: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy().listen(monkeypatch)
    with in_flight(bounded, f"INSERT INTO t VALUES (10, 'late', '{ago(86_000)}')") as write:
        bounded.succeed()
        write("COMMIT")
    since = datetime.fromisoformat(str(spy.digests[0].binds[0])).replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - since) - timedelta(microseconds=FIRST_LOOK_BACK_US)) < timedelta(seconds=20)
    bounded.succeed()
    assert bounded.final() == bounded.expected()


def test_nothing_is_locked_and_no_writer_waits(bounded: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every statement of a run, its transaction holds no lock, and all rows can be locked at once."""
    bounded.insert(*((number, "v", ago(100)) for number in range(10, 45)))
    spy = Spy().listen(monkeypatch)
    held: list[tuple[object, ...]] = []

    def look(session: Session, asked: Asked) -> None:
        if " FROM `t`" in asked.sql:
            bounded.execute("SELECT id FROM t FOR UPDATE NOWAIT")

    def watch(tick: Tick) -> None:
        time.sleep(0.12)  # the list of transactions is renewed once nobody has read it for so long
        held.extend(
            bounded.execute(
                "SELECT trx_tables_locked, trx_rows_locked, trx_rows_modified FROM information_schema.innodb_trx "
                "JOIN information_schema.processlist ON id = trx_mysql_thread_id WHERE user = %s",
                (bounded.database.source.user,),
            )
        )

    spy.then = look
    bounded.succeed(watch=watch)
    assert held
    assert set(held) == {(0, 0, 0)}
    assert len(spy.digests) == 2


def test_no_statement_of_a_pull_puts_a_temporary_table_on_the_disk(
    bounded: Pulling, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded.insert(*((number, "v", ago(5_000 - number)) for number in range(10, 2_000)))
    bounded.configure(batch_size=500)
    spy = Spy()
    guilty, before = [], 0

    def look(session: Session, asked: Asked) -> None:
        nonlocal before
        connection = session._connection  # a session's status can be asked by itself only
        row = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Created_tmp_disk_tables'").one()
        if int(row[1]) > before and "`t`" in asked.sql:
            guilty.append(asked.sql)
        before = int(row[1])

    spy.then = look
    spy.listen(monkeypatch)
    bounded.succeed()
    assert len(spy.digests) == 2
    assert guilty == []


def test_an_idle_pull_asks_at_most_eight_statements_more_than_the_window(bounded: Pulling) -> None:
    bounded.succeed()
    counts = {}
    for replica in (True, False):
        bounded.configure(replica=replica)
        bounded.succeed()
        bounded.execute("SELECT SLEEP(0.12)")  # InnoDB's list of transactions is 0.1 s old; a younger pull asks again
        with statements(bounded) as asked:
            bounded.succeed()
        counts[replica] = len(asked)
    assert counts[False] - counts[True] <= 8, counts


# -- rows read twice


RATE = 400
"""Rows a second; enough for a hundredth of a pull's rows to be several."""
EVERY_S, SLACK_S, OPEN_S = 2.0, 1.0, 1.0


@pytest.mark.parametrize("open_s", [0.0, OPEN_S])
def test_rows_are_read_again_for_the_slack_and_the_oldest_writer_only(table: Pulling, open_s: float) -> None:
    """With T between pulls, and a writer open for A at each: rows read over new rows <= 1 + (A + slack) / T + 0.01."""
    table.configure(slack_s=SLACK_S, batch_size=10_000)
    rows = _steady(table)
    next(rows)
    table.succeed()
    read, new, oldest_s = [], [], 0.0
    due_s = time.monotonic()
    for number in range(4):
        due_s += EVERY_S
        time.sleep(max(0.0, due_s - time.monotonic()))
        written = next(rows)
        with contextlib.ExitStack() as writers:
            opened = datetime.now(UTC) - timedelta(seconds=open_s)
            if open_s:
                late = f"INSERT INTO t VALUES ({number + 900_000}, 'late', '{stamp(opened)}')"
                writers.enter_context(in_flight(table, late))
            read.append(table.succeed().counters.read)
            new.append(written)
        watermark = table.watermark()
        assert watermark is not None
        assert watermark.sighting is not None
        oldest_s = max(oldest_s, (watermark.sighting.clock_us - micros(opened)) / 1e6 if open_s else 0.0)
    assert oldest_s < open_s + 0.5
    factor = sum(read[1:]) / sum(new[1:])  # the first one still begins at a pull without such a writer
    assert factor > 1 + (open_s + SLACK_S) / EVERY_S - 0.1, "what the slack and the writer hold back was not read again"
    assert factor <= 1 + (oldest_s + SLACK_S) / EVERY_S + 0.01
    assert table.final() == table.expected()


def _steady(client: Pulling) -> Iterator[int]:
    """Write, each time, the rows of a steady rate since the time before, and return how many."""
    number, until = 10, datetime.now(UTC)
    while True:
        now = datetime.now(UTC)
        rows = []
        while until <= now:
            rows.append((number, "v", stamp(until)))
            number, until = number + 1, until + timedelta(seconds=1 / RATE)
        client.insert(*rows)
        yield len(rows)
