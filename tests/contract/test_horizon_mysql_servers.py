"""The level bounded: how it falls to the window and rises again, whose marks they are, and what keeps them back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connector.config.resolved import Source
from connector.model import Level
from tests import servers
from tests.contract.engines import ENGINES, PASSWORD, served
from tests.contract.horizon_mysql import (
    TABLE,
    another_poller,
    granted,
    in_flight,
    login,
    low_age_s,
    set_global,
    started,
    three_old_rows,
    until_waiting,
    with_right,
)
from tests.contract.pulling import Pulling, ago, stamp, streaming
from tests.servers import Server

pytestmark = pytest.mark.parametrize("database", ["mysql"], indirect=True)
QUERY: dict[str, Any] = {"table": None, "query": "SELECT id, v, updated_at FROM t"}


@pytest.fixture
def table(client: Pulling) -> Pulling:
    return three_old_rows(client)


@pytest.fixture(params=["select", "process"])
def bounded(table: Pulling, request: pytest.FixtureRequest) -> Iterator[Pulling]:
    with with_right(table, request.param) as found:
        yield found


def why(client: Pulling) -> str:
    watermark = client.watermark()
    assert watermark is not None
    return watermark.why


# -- where the window holds


@pytest.mark.parametrize("storage", ["MyISAM", "Aria"])
def test_tables_that_show_no_writers_have_the_window(client: Pulling, storage: str) -> None:
    client.execute(f"{TABLE} ENGINE={storage}")
    client.insert((1, "a", ago(5)))
    assert client.succeed().level is Level.WINDOW
    assert storage in why(client)


def test_a_server_that_is_read_only_has_the_window(bounded: Pulling) -> None:
    with set_global(bounded, "read_only", "1"):
        assert bounded.succeed().level is Level.WINDOW
    assert "a replica" in why(bounded)


def test_a_stream_that_is_said_to_read_a_replica_has_the_window(bounded: Pulling) -> None:
    bounded.configure(replica=True)
    assert bounded.succeed().level is Level.WINDOW
    assert "a replica" in why(bounded)


def test_a_query_is_bounded_with_process_only(table: Pulling) -> None:
    table.configure(**QUERY)
    assert table.succeed().level is Level.WINDOW
    assert "query" in why(table)
    with granted(table):
        assert table.succeed().level is Level.BOUNDED
    assert why(table) == ""


def test_a_row_that_a_query_can_t_see_yet_is_delivered_with_process(table: Pulling) -> None:
    table.configure(**QUERY)
    with granted(table):
        table.succeed()
        with in_flight(table, f"INSERT INTO t VALUES (10, 'late', '{ago(0)}')") as write:
            for number in (20, 30):
                table.insert((number, "newer", ago(0)))
                table.succeed()
            write("COMMIT")
        table.succeed()
    assert table.final() == table.expected()


# -- changes of level


def test_a_query_loses_nothing_over_a_right_that_comes_and_goes(table: Pulling) -> None:
    """The transaction is open over each change, for less than the look-back that the weaker level promises."""
    table.configure(**QUERY, look_back_s=30.0)
    table.succeed()
    for round_, right in enumerate([True, False, True]):
        with in_flight(table, f"INSERT INTO t VALUES ({100 + round_}, 'late', '{ago(0)}')") as write:
            table.insert((200 + round_, "newer", ago(0)))
            table.succeed()
            table.execute(f"{'GRANT' if right else 'REVOKE'} PROCESS ON *.* {'TO' if right else 'FROM'} {login(table)}")
            table.insert((300 + round_, "newer", ago(0)))
            result = table.succeed()
            assert result.level is (Level.BOUNDED if right else Level.WINDOW)
            assert any(("rose" if right else "fell") in warning for warning in result.warnings), result.warnings
            assert not any("level" in warning for warning in table.succeed().warnings)
            write("COMMIT")
        table.succeed()
        assert table.final() == table.expected()


def test_a_table_loses_nothing_over_a_server_that_turns_read_only_and_back(bounded: Pulling) -> None:
    bounded.configure(look_back_s=30.0)
    bounded.succeed()
    with in_flight(bounded, f"INSERT INTO t VALUES (10, 'late', '{ago(0)}')") as write:
        bounded.insert((20, "newer", ago(0)))
        assert bounded.succeed().level is Level.BOUNDED
        with set_global(bounded, "read_only", "1"):
            fallen = bounded.succeed()
        write("COMMIT")
    assert fallen.level is Level.WINDOW
    assert any("fell from bounded to window: a replica" in warning for warning in fallen.warnings)
    with set_global(bounded, "read_only", "1"):
        bounded.succeed()
    assert bounded.final() == bounded.expected()
    with in_flight(bounded, f"INSERT INTO t VALUES (11, 'late', '{ago(0)}')") as write:
        bounded.insert((21, "newer", ago(0)))
        with set_global(bounded, "read_only", "1"):
            bounded.succeed()
        risen = bounded.succeed()
        bounded.configure(look_back_s=0.001)
        bounded.insert((22, "newer", ago(0)))
        bounded.succeed()
        write("COMMIT")
    assert any("rose from window to bounded" in warning for warning in risen.warnings)
    bounded.succeed()
    assert bounded.final() == bounded.expected()


def test_a_table_stays_bounded_when_process_is_granted_and_revoked(table: Pulling) -> None:
    table.succeed()
    with in_flight(table, f"INSERT INTO t VALUES (10, 'late', '{ago(0)}')") as write:
        for number in (20, 30):
            with granted(table):
                table.insert((number, "newer", ago(0)))
                assert table.succeed().warnings == ()
            table.insert((number + 1, "newer", ago(0)))
            assert table.succeed().warnings == ()
        write("COMMIT")
    table.succeed()
    assert table.final() == table.expected()


# -- a list of transactions that somebody else keeps stale


def test_a_stale_list_is_not_trusted_and_a_table_loses_nothing(table: Pulling) -> None:
    with granted(table), another_poller(table):
        with in_flight(table, f"INSERT INTO t VALUES (10, 'late', '{ago(0)}')") as write:
            for number in (20, 30):
                table.insert((number, "newer", ago(0)))
                result = table.succeed()
                assert any("stale" in warning for warning in result.warnings)
            write("COMMIT")
        table.succeed()
    assert table.final() == table.expected()


@pytest.mark.parametrize("before", ["nothing", "a window", "a bound"])
def test_a_stale_list_is_not_trusted_and_a_query_loses_nothing(table: Pulling, before: str) -> None:
    """Whatever the stream knew before: without the list, the mark does not pass a writer that may be there."""
    table.configure(**QUERY)
    if before == "a window":
        table.succeed()
    with granted(table):
        if before == "a bound":
            table.succeed()
        with another_poller(table):
            with in_flight(table, f"INSERT INTO t VALUES (10, 'late', '{ago(0)}')") as write:
                for number in (20, 30):
                    table.insert((number, "newer", ago(0)))
                    result = table.succeed()
                    assert any("stale" in warning for warning in result.warnings)
                write("COMMIT")
            table.succeed()
    assert table.final() == table.expected()


def test_a_long_report_of_another_client_holds_nothing(bounded: Pulling) -> None:
    bounded.succeed()
    with in_flight(bounded, "SELECT COUNT(*) FROM t"), started(bounded, "SELECT SLEEP(3)"):
        until_waiting(bounded, "SELECT SLEEP", at_least_ms=2_500)
        bounded.succeed()
        assert low_age_s(bounded) < 1


# -- whose marks they are


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    """Give a server of its own that keeps a binary log, so that a replica can follow it."""
    with servers.mariadb(durable=False, settings={"log-bin": "primary", "server-id": "7"}) as server:
        yield server


def test_another_server_is_read_from_its_start(bounded: Pulling, primary: Server) -> None:
    bounded.succeed()
    with served(bounded.engine, primary, bounded.database.source.limits) as other:
        other.execute(TABLE)
        other.insert("t", [(1, "another", ago(9_000)), (50, "older than the mark", ago(8_000))])
        bounded.configure(source=other.source)
        result = bounded.succeed()
        assert any("another server or database answers" in warning for warning in result.warnings)
        assert result.counters.read == 2
        assert bounded.final() | {"1": "another", "50": "older than the mark"} == bounded.final()
        assert bounded.succeed().warnings == ()


def test_another_database_of_the_same_server_is_read_from_its_start(bounded: Pulling, mariadb: Server) -> None:
    bounded.succeed()
    with served(bounded.engine, mariadb, bounded.database.source.limits) as other:
        other.execute(TABLE)
        other.insert("t", [(50, "older than the mark", ago(8_000))])
        bounded.configure(source=other.source)
        result = bounded.succeed()
    assert any("(its database differs)" in warning for warning in result.warnings)
    assert bounded.final()["50"] == "older than the mark"


def test_a_table_restored_from_an_older_dump_is_read_from_its_start(bounded: Pulling) -> None:
    bounded.succeed()
    born = "SELECT create_time FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 't'"
    before = bounded.execute(born)
    while bounded.execute(born) == before:  # the catalogue counts whole seconds
        bounded.execute(f"DROP TABLE t; {TABLE}")
    bounded.insert((1, "restored", ago(3_000)), (4, "was not there", ago(2_950)))
    result = bounded.succeed()
    assert any("set up anew from an older state" in warning for warning in result.warnings)
    assert bounded.expected().items() <= bounded.final().items()
    bounded.insert((5, "after the restore", ago(2_890)))
    bounded.succeed()
    assert bounded.succeed().warnings == ()


def test_deleting_the_newest_rows_is_no_restore(bounded: Pulling) -> None:
    bounded.succeed()
    bounded.execute("DELETE FROM t WHERE id >= 2")
    result = bounded.succeed()
    assert result.warnings == ()
    assert result.counters.read == 0


def test_a_replica_has_the_window_and_its_primary_is_bounded(
    client: Pulling, primary: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = client.database.source.limits
    primary.create_login("follower", PASSWORD, ["REPLICATION SLAVE ON *.*"])
    position = primary.execute("SELECT @@GLOBAL.gtid_binlog_pos")[0][0]
    with (
        servers.mariadb(durable=False, settings={"server-id": "8"}) as replica,
        served(ENGINES["mysql"], primary, limits) as original,
        contextlib.closing(streaming(original, _folder(tmp_path, "original"), monkeypatch).app) as there,
    ):
        replica.execute(f"SET GLOBAL gtid_slave_pos = '{position}'")
        replica.execute(
            f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {primary.port}, MASTER_USER = 'follower', "
            f"MASTER_PASSWORD = '{PASSWORD}', MASTER_USE_GTID = slave_pos; START SLAVE"
        )
        original.execute(TABLE)
        original.insert("t", [(1, "a", ago(5))])
        done = primary.execute("SELECT @@GLOBAL.gtid_binlog_pos")[0][0]
        assert replica.execute(f"SELECT MASTER_GTID_WAIT('{done}', 20)") == [(0,)]
        assert there.run_stream("acme/customers").level is Level.BOUNDED
        client.configure(source=_at(original.source, replica))
        assert client.succeed().level is Level.WINDOW
        assert "a replica does not show" in why(client)
        assert client.final() == {"1": "a"}
        replica.execute("STOP SLAVE")


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


def _at(source: Source, server: Server) -> Source:
    return replace(source, host=server.host, port=server.port)


# -- clocks


def test_a_timestamp_column_is_bounded_like_any_other(bounded: Pulling) -> None:
    bounded.execute("ALTER TABLE t MODIFY updated_at TIMESTAMP(6) NULL")
    bounded.succeed()
    with in_flight(bounded, "SET time_zone = 'SYSTEM'", "INSERT INTO t VALUES (10, 'late', NOW(6))") as write:
        for number in (20, 30):
            bounded.execute(f"SET time_zone = '-05:00'; INSERT INTO t VALUES ({number}, 'newer', NOW(6))")
            bounded.succeed()
        write("COMMIT")
    bounded.succeed()
    assert bounded.final() == bounded.expected()


@contextlib.contextmanager
def server_time(client: Pulling, moment: datetime) -> Iterator[None]:
    """Let the database's clock stand at a time for every new session of a login without the administrator's rights."""
    with set_global(client, "init_connect", f"'SET timestamp = {moment.replace(tzinfo=UTC).timestamp():.6f}'"):
        yield


def test_a_date_is_read_again_until_its_writers_are_done(bounded: Pulling) -> None:
    """Days go by, and the writers of the first one are still open: one new row, and one whose date stays as it was."""
    bounded.execute(f"DROP TABLE t; {TABLE.replace('{stamp}', 'DATE')}")
    first, last = datetime.fromisoformat("2024-06-01 12:00:00"), datetime.fromisoformat("2024-06-05 12:00:00")
    bounded.insert((1, "old", first.date()), (2, "old", first.date()))
    with in_flight(bounded, f"INSERT INTO t VALUES (3, 'late', '{first.date()}')") as write:
        write("UPDATE t SET v = 'late' WHERE id = 2")
        with server_time(bounded, first):
            bounded.succeed()
        bounded.insert((4, "newer", last.date()))
        with server_time(bounded, last):
            bounded.succeed()
            bounded.succeed()
            write("COMMIT")
            bounded.succeed()
    assert bounded.final() == bounded.expected()


def test_an_autumn_night_of_a_local_clock_loses_no_late_row(bounded: Pulling) -> None:
    """In Kyiv on 27 October 2024 the hour from 03:00 comes twice; each writer stays open over two pulls more."""
    bounded.configure(time_zone="Europe/Kyiv")
    bounded.execute("DELETE FROM t")
    night = datetime.fromisoformat("2024-10-26 23:30:00")
    bounded.insert((1, "before", local(night - timedelta(hours=1))))
    with contextlib.ExitStack() as writers:
        open_ = []
        for minute in range(0, 180, 13):
            now = night + timedelta(minutes=minute)
            late = f"INSERT INTO t VALUES ({1_000 + minute}, 'late', '{local(now - timedelta(seconds=9))}')"
            open_.append(writers.enter_context(in_flight(bounded, late)))
            bounded.insert((2_000 + minute, "in time", local(now - timedelta(seconds=5))))
            with server_time(bounded, now):
                assert bounded.succeed().level is Level.BOUNDED
            if len(open_) > 2:
                open_.pop(0)("COMMIT")
        for write in open_:
            write("COMMIT")
        with server_time(bounded, night + timedelta(hours=4)):
            bounded.succeed()
    assert bounded.final() == bounded.expected()


def local(moment: datetime) -> str:
    """Write an instant as a clock on a wall in Kyiv shows it."""
    return stamp(moment.replace(tzinfo=UTC).astimezone(ZoneInfo("Europe/Kyiv")))
