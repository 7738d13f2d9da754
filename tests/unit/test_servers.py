"""The private servers: they keep data over a crash, clean up after a killed run, and say what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pymysql
import pytest

from tests import processes, provision, servers
from tests.servers import Database, Server

STARTERS = {"postgresql": servers.postgresql, "mysql": servers.mariadb}
LOCAL = ("local", "install", "unpack")
REFUSED = (psycopg.Error, pymysql.err.MySQLError)


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with servers.fresh_database(request.getfixturevalue(request.param)) as database:
        yield database


def test_each_test_has_an_empty_database_of_its_own(database: Database) -> None:
    database.execute("CREATE TABLE t (id int)")
    with servers.fresh_database(database.server) as other:
        other.execute("CREATE TABLE t (id int)")
        assert other.execute("SELECT id FROM t") == []


def test_the_last_of_several_statements_gives_the_rows(database: Database) -> None:
    sql = "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); SELECT id FROM t ORDER BY id"
    assert database.execute(sql) == [(1,), (2,)]


def test_a_login_may_do_what_it_was_granted_and_no_more(database: Database) -> None:
    database.execute("CREATE TABLE open_t (id int); CREATE TABLE closed_t (id int)")
    database.create_login("reader", "it's a \\ secret", ["SELECT ON open_t"])
    try:
        login = database.connect(user="reader", password="it's a \\ secret")
        with closing(login) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM open_t")
            with pytest.raises(REFUSED):
                cursor.execute("SELECT id FROM closed_t")
        with pytest.raises(REFUSED):
            database.connect(user="reader", password="wrong")
    finally:
        database.server.drop_login("reader", database=database.name)


@pytest.mark.parametrize("engine", sorted(STARTERS))
def test_committed_rows_outlive_a_kill_and_connections_do_not(engine: str) -> None:
    with STARTERS[engine]() as server, servers.fresh_database(server) as database:
        database.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
        with closing(database.connect()) as connection:
            server.kill()
            with pytest.raises(REFUSED):
                server.connect()
            server.start()
            with pytest.raises(REFUSED):
                connection.cursor().execute("SELECT 1")
        assert database.execute("SELECT id FROM t") == [(1,)]
        server.stop()
        server.start()
        assert database.execute("SELECT id FROM t") == [(1,)]


SLEEPER = """
import time
from tests import processes, provision
processes.FOLDER_PREFIX = {prefix!r}
def prepare(process, programs, password):
    return ["/bin/sh", "-c", "sleep 600 & wait", str(process.folder)]
process = processes.LocalProcess(provision.Programs(dict(), None), provision.unprivileged(), prepare, [], "")
process.start()
print(process.folder, process._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def other_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    """Start a test run of its own that serves something, and give its folder and the server's id.

    Its folders are named so that only this test sweeps them: another run's sweep on this machine would race with ours.
    """
    monkeypatch.setattr(processes, "FOLDER_PREFIX", f"connector-sweep-{os.getpid()}-")
    script = SLEEPER.format(prefix=processes.FOLDER_PREFIX)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        folder, pid = run.stdout.readline().split()
        yield run, Path(folder), int(pid)
        run.kill()
    processes.sweep()


def test_what_a_killed_run_left_behind_is_ended_by_the_next(other_run: tuple[subprocess.Popen[str], Path, int]) -> None:
    run, folder, pid = other_run
    children = processes._children(pid)
    run.kill()
    run.wait()
    processes.sweep()
    assert not folder.exists()
    assert not any(processes._running(each) for each in (pid, *children))


def test_what_another_run_uses_is_not_swept(other_run: tuple[subprocess.Popen[str], Path, int]) -> None:
    _, folder, pid = other_run
    processes.sweep()
    assert folder.exists()
    assert processes._running(pid)


def test_a_missing_server_fails_with_the_command_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = provision.Product("Nothing", ("no-such-server",), ("bin",), ("no-such-package",))
    monkeypatch.setattr(servers, "POSTGRESQL", nowhere)
    monkeypatch.setattr("shutil.which", {"apt-get": "/usr/bin/apt-get"}.get)
    with pytest.raises(servers.ServersMissing) as caught, servers.postgresql(ways=("local",)):
        pass
    assert "apt-get install -y no-such-package" in str(caught.value)
    assert "tried docker: not asked for" in str(caught.value)


def test_without_an_answer_from_docker_the_other_ways_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "docker"
    silent.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    silent.chmod(0o755)
    asked = []

    def nothing(product: provision.Product, ways: tuple[str, ...]) -> provision.Programs:
        asked.append((product, ways))
        raise servers.ServersMissing("none")

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CONNECTOR_TEST_SERVERS", raising=False)
    monkeypatch.setattr(provision, "programs", nothing)
    with pytest.raises(servers.ServersMissing, match="tried docker: no Docker engine answers"), servers.mariadb():
        pass
    assert asked == [(provision.MARIADB, ("local", "install", "unpack"))]


class FakeContainer:
    """Stands in for a container by pointing at a server that runs already."""

    def __init__(self, server: Server) -> None:
        self.host, self.port = server.host, server.port
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self.calls.append(name)


def test_a_docker_engine_that_answers_is_preferred(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    container = FakeContainer(postgresql)
    monkeypatch.setattr(servers, "docker_server", lambda *_: (container, ""))
    monkeypatch.setattr("secrets.token_hex", lambda _: postgresql.password)
    with servers.postgresql(ways=("docker", "local")) as server:
        assert (server.port, server.programs) == (postgresql.port, None)
        assert server.execute("SELECT 1") == [(1,)]
    assert container.calls == ["start", "end"]


def test_the_services_of_installed_packages_are_held_back_only_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, cluster = tmp_path / "policy-rc.d", tmp_path / "createcluster.d" / "tests.conf"
    monkeypatch.setattr(provision, "POLICY_FILE", policy)
    monkeypatch.setattr(provision, "CLUSTER_FILE", cluster)
    with provision._services_held_back():
        assert subprocess.run([policy], check=False).returncode == 101
        assert cluster.read_text() == "create_main_cluster = false\n"
    assert not policy.exists()
    assert not cluster.exists()


def test_the_password_of_a_server_is_not_printed(postgresql: Server) -> None:
    assert postgresql.password not in repr(postgresql)


def test_a_standby_follows_its_primary_and_takes_no_writes() -> None:
    with servers.postgresql(durable=False, ways=LOCAL) as primary, servers.standby(primary) as standby:
        primary.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
        ((written,),) = primary.execute("SELECT pg_current_wal_lsn()::text")
        deadline = time.monotonic() + servers.START_TIMEOUT_S
        while standby.execute("SELECT pg_last_wal_replay_lsn() < %s::pg_lsn", [written])[0][0]:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.02)
        assert standby.execute("SELECT id FROM t") == [(1,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            standby.execute("INSERT INTO t VALUES (2)")


def test_a_cluster_that_starts_before_the_wrap_crosses_it() -> None:
    with servers.postgresql(durable=False, ways=LOCAL, next_xid=2**32 - 5) as server:
        server.execute("CREATE TABLE t (id int)")
        for number in range(8):
            server.execute("INSERT INTO t VALUES (%s)", [number])
        xids = [int(xid) for (xid,) in server.execute("SELECT xmin::text FROM t ORDER BY id")]
        assert xids[0] > 2**32 - 5
        assert xids[-1] < 10
        assert server.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint > 4294967296") == [(True,)]


def test_containers_are_refused_where_they_will_not_do(postgresql: Server) -> None:
    with pytest.raises(servers.ServersMissing, match="local"), servers.standby(replace(postgresql, programs=None)):
        pass
    with pytest.raises(servers.ServersMissing, match="local"), servers.postgresql(ways=("docker",), next_xid=1000):
        pass
