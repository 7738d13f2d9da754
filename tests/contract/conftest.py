"""Fixtures: `client` is the program with a client's database, once for every engine in the registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.config.resolved import Limits
from connector.registry import DIALECTS
from tests.contract.engines import ENGINES, ClientDatabase, filed, served
from tests.contract.pulling import Pulling, streaming

LIMITS = Limits(connect_timeout_s=5, statement_timeout_s=20, read_timeout_s=30, snapshot_cap_s=60)


@pytest.fixture(params=list(DIALECTS))
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClientDatabase]:
    engine = ENGINES[request.param]
    if "server" in engine.has:
        server = request.getfixturevalue("mariadb" if engine.name == "mysql" else engine.name)
        with served(engine, server, LIMITS) as found:
            yield found
    else:
        with filed(engine, tmp_path, LIMITS) as found:
            yield found


@pytest.fixture
def client(database: ClientDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulling]:
    """Give a stream by timestamp over a table `t` that the test creates; batches of 10 rows, look-back 15 min."""
    pulling = streaming(database, tmp_path, monkeypatch)
    yield pulling
    pulling.app.close()
