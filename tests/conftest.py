"""Servers for the tests: one of each product per session, a database of its own per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests import servers
from tests.servers import Database, Server

settings.register_profile("connector", deadline=None)  # how long an example takes depends on who else uses the machine
settings.load_profile("connector")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Run one PostgreSQL for the whole session. A test that stops or kills a server starts its own."""
    with servers.postgresql(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """Run one MariaDB for the whole session. A test that stops or kills a server starts its own."""
    with servers.mariadb(durable=False) as server:
        yield server


@pytest.fixture
def postgresql_database(postgresql: Server) -> Iterator[Database]:
    with servers.fresh_database(postgresql) as database:
        yield database


@pytest.fixture
def mariadb_database(mariadb: Server) -> Iterator[Database]:
    with servers.fresh_database(mariadb) as database:
        yield database
