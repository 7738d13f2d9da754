"""Databases for the tests of types: a server's own, and of MySQL servers that are named from outside.

`CONNECTOR_TEST_MYSQL` names further servers, as `host:port` with blanks between, each with a `root` that needs no
password (MySQL 5.6 with --skip-grant-tables, say). What holds for MariaDB is held to them as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from connector.config.resolved import Source, Tls
from tests.contract.conftest import LIMITS
from tests.contract.engines import ENGINES, ClientDatabase, served
from tests.contract.pulling import Pulling, streaming
from tests.processes import Control
from tests.servers import Server, fresh_database

MYSQLS = ("mariadb", *os.environ.get("CONNECTOR_TEST_MYSQL", "").split())


@contextmanager
def mysql_database(name: str, request: pytest.FixtureRequest) -> Iterator[ClientDatabase]:
    """Give a database of one of MYSQLS."""
    engine = ENGINES["mysql"]
    if name == "mariadb":
        with served(engine, request.getfixturevalue("mariadb"), LIMITS) as found:
            yield found
        return
    host, _, port = name.partition(":")
    server = Server(
        "mysql", host, int(port), "root", "", cast("Control", None)
    )  # it is neither started nor stopped here
    with fresh_database(server) as database:
        source = Source("mysql", host, int(port), database.name, "root", tls=Tls("disable"), limits=LIMITS)
        yield ClientDatabase(engine, source, database.connect, server)


@contextmanager
def pulling(database: ClientDatabase, folder: Path) -> Iterator[Pulling]:
    """Give the program with a store of its own, for as long as a module of tests may take."""
    with pytest.MonkeyPatch.context() as patch:
        client = streaming(database, folder, patch)
        yield client
        client.app.close()
