"""Private PostgreSQL and MariaDB servers for the tests, the demo and the bench.

    with servers.postgresql() as server:
        with servers.fresh_database(server) as database:
            database.execute("CREATE TABLE t (id bigint)")

A server listens on a free port of 127.0.0.1 and keeps its files in a private temporary folder. It comes from a Docker
engine that answers, else from programs that `provision.py` finds or brings. `CONNECTOR_TEST_SERVERS=local` (a comma
list) narrows the ways. Only processes started here are ended: by their id, at exit, and, when a test run was killed
before it could, by the next run, which recognises them by their folder.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pymysql
from pymysql.constants import CLIENT

from tests import provision
from tests.processes import (
    Control,
    LocalProcess,
    Prepare,
    docker_server,
    prepare_mariadb,
    prepare_postgresql,
    prepare_postgresql_at,
    prepare_standby,
    sweep,
)
from tests.provision import MARIADB, POSTGRESQL, Product, Programs, ServersMissing

__all__ = ["Database", "Server", "ServersMissing", "fresh_database", "mariadb", "postgresql", "standby"]

WAYS = ("docker", "local", "install", "unpack")
START_TIMEOUT_S = 60.0
_names = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Server:
    """A running private server and its administrator's login. `engine` is the word used in the configuration."""

    engine: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    control: Control = field(repr=False)
    programs: Programs | None = field(default=None, repr=False)  # None for a container

    def connect(
        self, database: str | None = None, *, user: str | None = None, password: str | None = None, **options: Any
    ) -> Any:
        """Open an autocommit connection with the engine's own driver, as administrator unless told otherwise."""
        user = user or self.user
        password = self.password if password is None else password
        if self.engine == "postgresql":
            return psycopg.connect(
                host=self.host,
                port=self.port,
                user=user,
                password=password,
                dbname=database or "postgres",
                **{"autocommit": True, "connect_timeout": 5, **options},
            )
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=user,
            password=password,
            database=database,
            **{
                "autocommit": True,
                "connect_timeout": 5,
                "local_infile": True,
                "charset": "utf8mb4",
                "client_flag": CLIENT.MULTI_STATEMENTS,
                "ssl_disabled": "ssl" not in options,  # else each connection loads the system's certificates: 30 ms
                **options,
            },
        )

    def execute(
        self, sql: str, parameters: Sequence[Any] | None = None, *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run statements (several only without parameters) and return the last one's rows."""
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            rows: list[tuple[Any, ...]] = []
            while True:
                rows = list(cursor.fetchall()) if cursor.description else []
                if not cursor.nextset():
                    return rows

    def create_database(self, name: str) -> None:
        suffix = "" if self.engine == "postgresql" else " CHARACTER SET utf8mb4"
        self.execute(f"CREATE DATABASE {self.quote(name)}{suffix}")

    def drop_database(self, name: str) -> None:
        """Drop a database, and whoever is still connected to it."""
        suffix = " WITH (FORCE)" if self.engine == "postgresql" else ""
        self.execute(f"DROP DATABASE IF EXISTS {self.quote(name)}{suffix}")

    def create_login(
        self, name: str, password: str, grants: Sequence[str] = (), *, database: str | None = None
    ) -> None:
        """Create a login (anew) with grants such as `SELECT ON customers`, run in `database`."""
        login = self.login(name)
        if self.engine == "postgresql":
            if self.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]):
                self.execute(f"DROP OWNED BY {login}; DROP ROLE {login}", database=database)
            self.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{self.literal(password)}'")
        else:
            self.execute(f"DROP USER IF EXISTS {login}; CREATE USER {login} IDENTIFIED BY '{self.literal(password)}'")
        for grant in grants:
            self.execute(f"GRANT {grant} TO {login}", database=database)

    def drop_login(self, name: str, *, database: str | None = None) -> None:
        login = self.login(name)
        owned = f"DROP OWNED BY {login}; DROP ROLE {login}"
        self.execute(owned if self.engine == "postgresql" else f"DROP USER {login}", database=database)

    def login(self, name: str) -> str:
        """Write a login's name as its engine's GRANT expects it."""
        return self.quote(name) if self.engine == "postgresql" else f"'{self.literal(name)}'@'%'"

    def quote(self, name: str) -> str:
        mark = '"' if self.engine == "postgresql" else "`"
        return mark + name.replace(mark, mark * 2) + mark

    def literal(self, text: str) -> str:
        """Write text to stand inside single quotes, for statements that take no parameters."""
        doubled = text.replace("'", "''")
        return doubled if self.engine == "postgresql" else doubled.replace("\\", "\\\\")

    def stop(self) -> None:
        """Shut down in an orderly way; connections are broken."""
        self.control.stop()

    def start(self) -> None:
        """Start again on the same port with the same data, and wait until it answers."""
        self.control.start()
        self.wait_until_ready()

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL to the server and every process of it."""
        self.control.kill()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.connect().close()
                return
            except (psycopg.OperationalError, pymysql.err.OperationalError) as error:
                self.control.fail_if_ended()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.engine} does not answer on port {self.port}: {error}") from error
                time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Database:
    """One database of a server."""

    server: Server
    name: str

    def connect(self, **options: Any) -> Any:
        return self.server.connect(self.name, **options)

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, parameters, database=self.name)

    def create_login(self, name: str, password: str, grants: Sequence[str] = ()) -> None:
        self.server.create_login(name, password, grants, database=self.name)


@contextlib.contextmanager
def fresh_database(server: Server, name: str | None = None) -> Iterator[Database]:
    """Create a database and drop it afterwards, unless the server is down by then."""
    name = name or f"shop_{os.getpid()}_{next(_names)}"
    server.create_database(name)
    try:
        yield Database(server, name)
    finally:
        with contextlib.suppress(psycopg.OperationalError, pymysql.err.OperationalError):
            server.drop_database(name)


@contextlib.contextmanager
def postgresql(
    *,
    durable: bool = True,
    settings: Mapping[str, str] | None = None,
    ways: Sequence[str] = (),
    next_xid: int | None = None,
) -> Iterator[Server]:
    """Run a private PostgreSQL. Not `durable`: no fsync, for tests that don't cut the power.

    `next_xid` is the 32-bit number that its next transaction gets; only local programs can do that.
    """
    wanted = {"max_connections": "100", "max_prepared_transactions": "20", "fsync": "on" if durable else "off"}
    wanted |= settings or {}
    words = [word for key, value in wanted.items() for word in ("-c", f"{key}={value}")]
    prepare: Prepare = prepare_postgresql
    chosen = _ways(ways)
    if next_xid is not None:
        prepare, chosen = prepare_postgresql_at(next_xid), _without_docker(chosen, "a cluster with a chosen next xid")
    with _served("postgresql", POSTGRESQL, words, prepare, chosen, in_memory=not durable) as server:
        yield server


@contextlib.contextmanager
def standby(primary: Server) -> Iterator[Server]:
    """Run a hot standby of a private PostgreSQL, with the same databases and logins; writes go to the primary."""
    if primary.programs is None:
        raise ServersMissing("a standby needs a primary of local programs, and this one runs in a container")
    # A standby refuses connections when it allows less than its primary did.
    names = ("max_connections", "max_prepared_transactions", "fsync")
    words = [word for name in names for word in ("-c", f"{name}={primary.execute(f'SHOW {name}')[0][0]}")]
    ways = _without_docker(_ways(()), "a standby")
    with _served(
        "postgresql", POSTGRESQL, words, prepare_standby(primary.port), ways, password=primary.password
    ) as server:
        yield server


@contextlib.contextmanager
def mariadb(
    *, durable: bool = True, settings: Mapping[str, str] | None = None, ways: Sequence[str] = ()
) -> Iterator[Server]:
    """Run a private MariaDB without binary log. Not `durable`: no fsync, for tests that don't cut the power."""
    wanted = {
        "character-set-server": "utf8mb4",
        "innodb-buffer-pool-size": "256M",
        "innodb-flush-log-at-trx-commit": "1" if durable else "0",
        "local-infile": "1",
        "max-connections": "100",
    }
    wanted |= settings or {}
    words = ["--skip-log-bin", "--skip-name-resolve", *(f"--{key}={value}" for key, value in wanted.items())]
    with _served("mysql", MARIADB, words, prepare_mariadb, _ways(ways), in_memory=not durable) as server:
        yield server


def _ways(ways: Sequence[str]) -> tuple[str, ...]:
    chosen = os.environ.get("CONNECTOR_TEST_SERVERS", "")
    return tuple(ways) or tuple(way.strip() for way in chosen.split(",") if way.strip()) or WAYS


def _without_docker(ways: tuple[str, ...], what: str) -> tuple[str, ...]:
    left = tuple(way for way in ways if way != "docker")
    if not left:
        raise ServersMissing(f"{what} needs local programs. Add local, install or unpack to CONNECTOR_TEST_SERVERS")
    return left


@contextlib.contextmanager
def _served(
    engine: str,
    product: Product,
    settings: list[str],
    prepare: Prepare,
    ways: tuple[str, ...],
    *,
    password: str = "",
    in_memory: bool = False,
) -> Iterator[Server]:
    password = password or secrets.token_hex(8)
    control, reason = docker_server(engine, settings, password) if "docker" in ways else (None, "not asked for")
    if control is not None:
        server = Server(engine, control.host, control.port, _ADMIN[engine], password, control)
    else:
        try:
            programs = provision.programs(product, tuple(way for way in ways if way != "docker"))
        except ServersMissing as error:
            raise ServersMissing(f"{error}\n  tried docker: {reason}") from None
        sweep()
        account = provision.unprivileged()
        process = LocalProcess(programs, account, prepare, settings, password, in_memory=in_memory)
        server = Server(engine, "127.0.0.1", process.port, _ADMIN[engine], password, process, programs)
    atexit.register(server.control.end)
    try:
        server.start()
        yield server
    finally:
        server.control.end()
        atexit.unregister(server.control.end)


_ADMIN = {"postgresql": "postgres", "mysql": "root"}
