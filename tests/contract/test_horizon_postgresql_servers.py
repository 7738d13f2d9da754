"""PostgreSQL's horizon from server to server: whose marks they are, stand-bys, restores, wraps, and what it costs.

The servers are private to this file: some are stopped, copied or left behind.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connector.model import Counters, Level, RunState
from connector.runs.job import Tick
from tests import servers
from tests.contract.conftest import LIMITS
from tests.contract.engines import ENGINES, served
from tests.contract.pulling import Pulling, ago, at, streaming
from tests.processes import LocalProcess
from tests.servers import Server

PROGRAMS = ("local", "install", "unpack")
WAIT_S = 20.0
TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v text, updated_at timestamp(6))"


@pytest.fixture(scope="module")
def logging() -> Iterator[Server]:
    """Run a server whose log can be read through SQL."""
    settings = {"logging_collector": "on", "log_destination": "csvlog"}
    with servers.postgresql(durable=False, settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    """Run a primary and its stand-by."""
    with servers.postgresql(durable=False, ways=PROGRAMS) as primary, servers.standby(primary) as standby:
        yield primary, standby


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as entered:
        yield entered


@pytest.fixture
def on(stack: contextlib.ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], Pulling]:
    """Give a function that sets up a client on a server."""

    def client(server: Server) -> Pulling:
        pulling = streaming(stack.enter_context(served(ENGINES["postgresql"], server, LIMITS)), tmp_path, monkeypatch)
        stack.callback(lambda: pulling.app.close())  # noqa: PLW0108 - the app is another one after a change
        return pulling

    return client


def repoint(client: Pulling, server: Server, database: str = "") -> None:
    source = client.database.source
    database = database or source.database
    client.configure(source=replace(source, host=server.host, port=server.port, database=database))


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def catch_up(primary: Server, standby: Server) -> None:
    end = primary.execute("SELECT pg_current_wal_flush_lsn()::text")[0][0]
    until(lambda: standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [end])[0][0])


# -- whose marks


def test_another_database_is_noticed_and_read_from_its_start(
    postgresql: Server, on: Callable[[Server], Pulling]
) -> None:
    client = on(postgresql)
    client.execute(TABLE)
    client.insert((1, "first", at(1)))
    client.succeed()
    with servers.fresh_database(postgresql) as other:
        other.execute(f"{TABLE}; GRANT SELECT ON t TO {client.database.source.user}")
        other.execute("INSERT INTO t VALUES (1, 'other', %s), (2, 'other', %s)", [at(0), at(0)])
        repoint(client, postgresql, database=other.name)
        result = client.succeed()
        assert result.warnings == (
            "another server or database answers (its database differs): the stream was read from its start",
        )
        assert client.final() == {"1": "other", "2": "other"}
        assert client.succeed().warnings == ()


def test_another_server_is_noticed_and_read_from_its_start(
    postgresql: Server, logging: Server, on: Callable[[Server], Pulling]
) -> None:
    client = on(postgresql)
    client.execute(TABLE)
    client.insert((1, "first", ago(1)))
    client.succeed()
    source = client.database.source
    logging.create_database(source.database)
    logging.create_login(source.user, source.password)
    logging.execute(f"{TABLE}; GRANT SELECT ON t TO {source.user}", database=source.database)
    logging.execute("INSERT INTO t VALUES (1, 'other', '2001-01-01'), (2, 'other', NULL)", database=source.database)
    repoint(client, logging)
    result = client.succeed()
    assert any("another server or database answers" in warning for warning in result.warnings)
    assert client.final() == {"1": "other", "2": "other"}
    logging.drop_database(source.database)


@contextlib.contextmanager
def restored(server: Server) -> Iterator[Callable[[], None]]:
    """Copy a server's data; give a function that puts the copy in the place of what came since."""
    assert isinstance(server.control, LocalProcess)
    data = server.control.home / "data"
    copy = data.with_name("copy")
    server.stop()
    subprocess.run(["cp", "-a", str(data), str(copy)], check=True)
    server.start()

    def restore() -> None:
        server.stop()
        data.rename(data.with_name("lost"))
        copy.rename(data)
        server.start()

    yield restore


@pytest.mark.parametrize("stopped", [False, True], ids=["between pulls", "within a pull"])
def test_a_restored_older_copy_is_noticed_said_and_read_from_its_start(
    on: Callable[[Server], Pulling], stack: contextlib.ExitStack, *, stopped: bool
) -> None:
    server = stack.enter_context(servers.postgresql(durable=False, ways=PROGRAMS))
    client = on(server)
    client.execute(TABLE)
    client.insert(*((i, "kept", at(i)) for i in range(1, 31)))
    client.succeed()
    with restored(server) as restore:
        client.execute(f"UPDATE t SET v = 'undone', updated_at = '{ago(5)}' WHERE id <= 20")
        client.insert((31, "undone", ago(4)))
        if stopped:
            client.stop_after(1)
        else:
            client.succeed()
        restore()
    client.execute(f"UPDATE t SET v = 'anew', updated_at = '{at(0)}' WHERE id = 30")
    result = client.succeed()
    assert any("the server was set up anew from an older state" in warning for warning in result.warnings)
    assert {key: v for key, v in client.final().items() if key != "31"} == client.expected()
    assert client.succeed().warnings == ()


def test_a_restored_older_copy_that_has_caught_up_in_numbers_is_told_by_its_newest_row(
    on: Callable[[Server], Pulling], stack: contextlib.ExitStack
) -> None:
    server = stack.enter_context(servers.postgresql(durable=False, ways=PROGRAMS))
    client = on(server)
    client.execute(TABLE)
    client.insert(*((i, "kept", at(i)) for i in range(1, 31)))
    with restored(server) as restore:
        client.execute(f"UPDATE t SET v = 'undone', updated_at = '{ago(5)}' WHERE id <= 20")
        client.succeed()
        restore()
    with contextlib.closing(server.connect()) as other:
        for _ in range(50):
            other.execute("SELECT txid_current()")
    result = client.succeed()
    assert any("the server was set up anew from an older state" in warning for warning in result.warnings)
    assert client.final() == client.expected()


# -- stand-bys


def test_a_stand_by_shows_the_late_commits_of_its_primary(
    pair: tuple[Server, Server], on: Callable[[Server], Pulling]
) -> None:
    primary, standby = pair
    client = on(primary)
    client.execute(TABLE)
    client.insert((1, "early", at(1)))
    catch_up(primary, standby)
    repoint(client, standby)
    assert client.succeed().level is Level.EXACT
    with client.database.transaction() as write:
        write("SAVEPOINT inner_one")
        write(f"INSERT INTO t VALUES (2, 'late', '{at(0)}')")
        client.insert((3, "newest", ago(1)))
        catch_up(primary, standby)
        assert client.succeed().counters.created == 1
        client.insert((4, "newer", ago(0)))
        catch_up(primary, standby)
        client.succeed()
    catch_up(primary, standby)
    client.succeed()
    assert client.final() == client.expected()
    assert client.succeed().counters == Counters()


def test_a_stand_by_that_lags_gives_nothing_until_it_has_caught_up(
    pair: tuple[Server, Server], on: Callable[[Server], Pulling]
) -> None:
    primary, standby = pair
    client = on(primary)
    client.execute(TABLE)
    client.insert(*((i, "early", at(i)) for i in range(1, 31)))
    client.succeed()
    catch_up(primary, standby)
    standby.execute("SELECT pg_wal_replay_pause()")
    until(lambda: standby.execute("SELECT pg_get_wal_replay_pause_state()")[0][0] == "paused")
    client.execute("UPDATE t SET v = 'newer' WHERE id = 1")
    client.succeed()
    before = client.watermark()
    repoint(client, standby)
    result = client.pull()
    assert (result.state, result.exit_code, result.counters.read) == (RunState.FAILED, 4, 0)
    assert "the server is behind what was already read" in result.error
    assert client.final() == client.expected()
    assert client.watermark() == before
    client.execute(f"UPDATE t SET v = 'back', updated_at = '{at(0)}' WHERE id = 2")
    standby.execute("SELECT pg_wal_replay_resume()")
    catch_up(primary, standby)
    assert client.succeed().counters.updated == 1
    assert client.final() == client.expected()


def test_a_pull_begun_on_the_primary_does_not_go_on_on_a_stand_by_that_lags(
    pair: tuple[Server, Server], on: Callable[[Server], Pulling]
) -> None:
    primary, standby = pair
    client = on(primary)
    client.execute(TABLE)
    client.insert(*((i, "early", at(i)) for i in range(1, 31)))
    catch_up(primary, standby)
    standby.execute("SELECT pg_wal_replay_pause()")
    until(lambda: standby.execute("SELECT pg_get_wal_replay_pause_state()")[0][0] == "paused")
    client.execute("UPDATE t SET v = 'newer' WHERE id = 30")
    client.stop_after(1)
    repoint(client, standby)
    result = client.pull()
    assert (result.state, result.exit_code, result.counters.read) == (RunState.FAILED, 4, 0)
    standby.execute("SELECT pg_wal_replay_resume()")
    catch_up(primary, standby)
    assert client.succeed().counters.read == 20
    assert client.final() == client.expected()


# -- numbers that go round


def test_nothing_is_lost_or_read_twice_where_transaction_numbers_go_round(
    on: Callable[[Server], Pulling], stack: contextlib.ExitStack
) -> None:
    server = stack.enter_context(servers.postgresql(durable=False, ways=PROGRAMS, next_xid=2**32 - 120))
    client = on(server)
    client.execute(TABLE)
    client.insert(*((i, "before", at(i)) for i in range(1, 21)))
    client.succeed()
    with client.database.transaction() as write, contextlib.closing(server.connect()) as other:
        write(f"INSERT INTO t VALUES (100, 'late', '{at(1)}')")
        client.insert((101, "newest", ago(5)))
        client.succeed()
        while int(other.execute("SELECT txid_current()").fetchone()[0]) < 2**32 + 50:
            pass
        client.insert((102, "after", at(2)))
        client.succeed()
    client.execute(f"UPDATE t SET v = 'after', updated_at = '{at(0)}' WHERE id = 20")
    client.succeed()
    assert client.final() == client.expected()
    watermark = client.watermark()
    assert watermark is not None
    assert int(watermark.marks.xid or 0) > 2**32
    assert client.succeed().counters == Counters()
    client.execute("VACUUM (FREEZE) t")
    assert client.succeed().counters == Counters()


# -- what it costs the client's database


def statements(client: Pulling, server: Server) -> int:
    """Pull, and count the statements that the server was sent."""
    login = client.database.source.user
    marker = f"marker {time.monotonic_ns()}"
    server.execute(f"DO $$ BEGIN RAISE LOG '{marker}'; END $$")
    assert client.succeed().counters == Counters()
    name = server.execute("SELECT pg_current_logfile('csvlog')")[0][0]
    end = f"end of {marker}"
    server.execute(f"DO $$ BEGIN RAISE LOG '{end}'; END $$")
    log = ""

    def written() -> bool:
        nonlocal log
        log = str(server.execute("SELECT pg_read_file(%s)", [name])[0][0])
        return f'"{end}"' in log

    until(written)
    lines = log[log.index(f'"{marker}"') :].splitlines()
    return sum(f'"{login}"' in line and ('"statement: ' in line or '"execute ' in line) for line in lines)


def test_an_idle_exact_pull_sends_at_most_six_statements_more_than_one_without_a_horizon(
    logging: Server, on: Callable[[Server], Pulling]
) -> None:
    client = on(logging)
    client.execute(TABLE)
    client.execute(f"ALTER ROLE {client.database.source.user} SET log_statement = 'all'")
    client.insert((1, "old", at(1)))
    client.succeed()
    exact = statements(client, logging)
    login = client.database.source.user
    client.execute(f"REVOKE SELECT ON t FROM {login}; GRANT SELECT (id, v, updated_at) ON t TO {login}")
    client.succeed()
    window = statements(client, logging)
    print(f"statements of an idle pull: {exact} exact, {window} window")
    assert window > 0
    assert exact <= window + 6


def test_a_pull_holds_the_weakest_locks_waits_for_none_and_makes_nothing_temporary(
    logging: Server, on: Callable[[Server], Pulling]
) -> None:
    client = on(logging)
    client.execute(TABLE)
    client.insert(*((i, "v" * 50, at(i)) for i in range(1, 2001)))
    client.configure(batch_size=500)
    login = client.database.source.user
    temporary = "SELECT temp_files, temp_bytes FROM pg_stat_database WHERE datname = current_database()"
    files = client.execute(temporary)
    locks: set[tuple[str, str, bool]] = set()
    waits: set[str] = set()

    def look(_: Tick) -> None:
        locks.update(
            client.execute(
                "SELECT locktype, mode, granted FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE usename = %s",
                (login,),
            )
        )
        found = client.execute(
            "SELECT coalesce(wait_event_type, '') FROM pg_stat_activity WHERE usename = %s", (login,)
        )
        waits.update(row[0] for row in found)
        assert client.execute("SELECT count(*) FROM pg_class WHERE relpersistence = 't'") == [(0,)]

    with client.database.transaction() as write:
        write("UPDATE t SET v = 'locked' WHERE id = 7")
        client.succeed(watch=look)
    client.execute("UPDATE t SET v = 'changed'")
    client.succeed(watch=look)
    assert locks == {("relation", "AccessShareLock", True), ("virtualxid", "ExclusiveLock", True)}
    assert "Lock" not in waits
    until(lambda: client.database.sessions() == 0)
    assert client.execute(temporary) == files
    assert client.final() == client.expected()
