"""Sessions: read only, in UTC, bounded, visible, and gone after the run."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from connector.config.resolved import Field
from connector.errors import SourceRefused, SourceUnavailable
from connector.model import RunResult, RunState
from connector.source import session as sessions
from connector.source.select import Statement
from tests.contract.conftest import LIMITS
from tests.contract.engines import needs
from tests.contract.pulling import FIELDS, NAME, Pulling, at

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"
WAIT_S = 20


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (9, 'x', NULL)",
        "UPDATE t SET v = 'x'",
        "DELETE FROM t",
        "CREATE TABLE x (id BIGINT)",
        "DROP TABLE t",
    ],
)
def test_nothing_can_be_written_even_by_a_login_that_might(client: Pulling, sql: str) -> None:
    client.execute(TABLE)
    client.insert((1, "a", at(1)))
    if client.database.server is not None:
        server = client.database.server
        client.configure(source=replace(client.database.source, user=server.user, password=server.password))
    with client.session() as session:
        for _ in range(2):
            with pytest.raises(SourceRefused):
                session.rows(Statement(sql))
            session.open_snapshot()
    assert client.expected() == {"1": "a"}


@needs("server")
def test_the_sessions_clock_and_time_zone_are_utc(client: Pulling) -> None:
    before = time.time()
    with client.session() as session:
        clock_s = session.clock_us() / 1_000_000
        zone = session.rows(Statement("SELECT CAST(CURRENT_TIMESTAMP AS CHAR(19))"))[0][0]
    assert before - 2 < clock_s < time.time() + 2
    hour = time.strftime("%Y-%m-%d %H:", time.gmtime(clock_s))
    assert str(zone)[:14] == hour


def test_the_file_engines_clock_is_utc(client: Pulling) -> None:
    with client.session() as session:
        assert abs(session.clock_us() / 1_000_000 - time.time()) < 2


@needs("server")
def test_a_statement_that_takes_too_long_is_ended_in_time(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert((1, "a", at(1)))
    slow = client.engine.sleep.format(30)
    client.configure(limits=replace(LIMITS, statement_timeout_s=1), fields={**FIELDS, "v": Field(sql=slow)})
    before = time.monotonic()
    result = client.pull()
    assert time.monotonic() - before < 10
    assert (result.state, result.exit_code) == (RunState.FAILED, 4)
    assert "statement_timeout" in result.error
    assert client.watermark() is None


@needs("zero_dates")
def test_a_computation_that_takes_too_long_is_ended_in_time(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert((1, "a", at(1)), (2, "b", at(2)))
    slow = Field(sql="BENCHMARK(2000000000, SHA2('x', 256))")
    client.configure(limits=replace(LIMITS, statement_timeout_s=1), fields={**FIELDS, "v": slow})
    before = time.monotonic()
    assert client.pull().exit_code == 4
    assert time.monotonic() - before < 10


@needs("file")
def test_a_computation_in_the_program_itself_is_ended_in_time(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert((1, "a", at(1)))
    client.patch.setattr(sessions, "GRACE_S", 0.2)
    slow = Field(sql="(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c)")
    client.configure(limits=replace(LIMITS, statement_timeout_s=1), fields={**FIELDS, "v": slow})
    before = time.monotonic()
    result = client.pull()
    assert time.monotonic() - before < 10
    assert result.exit_code == 4, result.error


@needs("infinity")
def test_the_clients_dba_can_see_who_reads(client: Pulling) -> None:
    with client.session() as session:
        session.clock_us()
        sql = "SELECT application_name FROM pg_stat_activity WHERE usename = %s"
        assert client.execute(sql, (client.database.source.user,)) == [("connector",)]


@needs("server")
def test_no_connection_stays_after_a_run(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, "v", at(i)) for i in range(1, 31)))
    during: list[int] = []
    client.succeed(watch=lambda _: during.append(client.database.sessions()))
    client.execute("DROP TABLE t")
    client.pull()
    assert during
    assert set(during) == {1}
    deadline = time.monotonic() + WAIT_S
    while client.database.sessions() and time.monotonic() < deadline:
        threading.Event().wait(0.02)  # the server notices a closed socket in its own time
    assert client.database.sessions() == 0


@needs("server")
@pytest.mark.parametrize("connections", [1, 2])
def test_runs_at_once_never_use_more_connections_than_allowed(client: Pulling, connections: int) -> None:
    client.execute(TABLE)
    client.insert(*((i, "v", at(i)) for i in range(1, 61)))
    streams = [
        replace(
            client.stream,
            id=replace(NAME, name=f"s{n}"),
            entity="customer",
            fields={**FIELDS, "local_id": Field(sql=f"id + {n * 1000}")},
        )
        for n in range(4)
    ]
    client.configure(limits=replace(LIMITS, connections=connections))
    config = client.app.config
    client.app.config = replace(config, clients=(replace(config.clients[0], streams=tuple(streams)),))
    most: list[int] = []
    results: list[RunResult] = []

    def run(name: str) -> None:
        results.append(client.app.run_stream(name, watch=lambda _: most.append(client.database.sessions())))

    threads = [threading.Thread(target=run, args=(str(stream.id),)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [result.state for result in results] == [RunState.SUCCEEDED] * 4, [r.error for r in results]
    assert max(most) <= connections + 1  # a connection that was just closed may still be counted


@needs("server")
def test_a_run_that_gets_no_connection_in_time_fails_and_can_be_tried_again(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(limits=replace(LIMITS, connections=1, statement_timeout_s=1))
    with client.session():
        result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 4)
    assert "connections" in result.error
    client.succeed()


@needs("server")
def test_a_lost_connection_is_an_error_that_may_be_tried_again(client: Pulling) -> None:
    with client.session() as session:
        session.clock_us()
        client.database.end_sessions()
        with pytest.raises(SourceUnavailable):
            session.clock_us()
