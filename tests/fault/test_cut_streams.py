"""A connection that is cut after any packet of the server: never a short result that counts as whole.

Without retries each pull either succeeds with everything, or fails and has committed what lies before its position; the
next pull brings the rest. The default run cuts at a stride, the `full` one after every packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from connector.model import RunState
from tests.contract.conftest import LIMITS
from tests.contract.engines import ENGINES, ClientDatabase, needs, served
from tests.contract.pulling import Pulling, at, streaming
from tests.fault.proxy import How, MysqlPackets, Packets, PostgresqlPackets, Proxy

ROWS, BATCH = 23, 5
PACKETS: dict[str, Callable[[], Packets]] = {"postgresql": PostgresqlPackets, "mysql": MysqlPackets}
ORDER = [str(i) for i in range(1, ROWS + 1)]


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[ClientDatabase]:
    engine = ENGINES[request.param]
    server = request.getfixturevalue("mariadb" if engine.name == "mysql" else engine.name)
    with served(engine, server, LIMITS) as found:
        found.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp} NOT NULL)")
        found.insert("t", [(i, f"v{i}", at(i // 4)) for i in range(1, ROWS + 1)])
        yield found


@contextmanager
def proxied(database: ClientDatabase, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[Pulling, Proxy]]:
    """Give the program, with a store of its own, behind a proxy."""
    source = database.source
    with Proxy(source.host, source.port or 0, PACKETS[source.engine]) as proxy:
        folder.mkdir()
        client = streaming(database, folder, patch)
        client.configure(source=replace(source, host=proxy.host, port=proxy.port), batch_size=BATCH)
        try:
            yield client, proxy
        finally:
            client.app.close()


def packets_of_a_pull(database: ClientDatabase, folder: Path, patch: pytest.MonkeyPatch) -> int:
    with proxied(database, folder, patch) as (client, proxy):
        client.succeed()
        return proxy.packets


def cut_everywhere(
    database: ClientDatabase, folder: Path, patch: pytest.MonkeyPatch, *, how: How, torn: int, stride: int
) -> None:
    packets = packets_of_a_pull(database, folder / "whole", patch)
    assert packets > ROWS
    outcomes = set()
    for number in range(1, packets + 1, stride):
        with proxied(database, folder / str(number), patch) as (client, proxy):
            proxy.cut_after(number, how=how, torn=torn)
            result = client.pull()
            taken = client.final()
            outcomes.add(result.state)
            if result.state is RunState.SUCCEEDED:
                assert taken == client.expected(), f"cut after packet {number}: {len(taken)} rows"
            else:
                assert (result.state, result.exit_code) == (RunState.FAILED, 4), f"packet {number}: {result.error}"
                assert set(taken) == set(ORDER[: len(taken)]), f"packet {number}: not a beginning"
                assert result.counters.read == len(taken)
                assert client.watermark() is None or len(taken) == ROWS
            proxy.heal()  # a cut that was due after the pull's last packet
            rest = client.succeed()
            assert client.final() == client.expected(), f"lost after a cut at packet {number}"
            assert rest.counters.created == ROWS - len(taken)
    assert RunState.FAILED in outcomes


@needs("server")
@pytest.mark.parametrize("how, torn", [("rst", 0), ("fin", 0), ("fin", 3)])
def test_a_connection_cut_now_and_then_never_shortens_a_pull(
    database: ClientDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: How, torn: int
) -> None:
    cut_everywhere(database, tmp_path, monkeypatch, how=how, torn=torn, stride=17)


@needs("server")
@pytest.mark.full
@pytest.mark.parametrize("how, torn", [("rst", 0), ("fin", 0), ("rst", 5), ("fin", 3)])
def test_a_connection_cut_after_every_packet_never_shortens_a_pull(
    database: ClientDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: How, torn: int
) -> None:
    cut_everywhere(database, tmp_path, monkeypatch, how=how, torn=torn, stride=1)


@needs("server")
def test_a_pull_that_may_retry_gets_over_a_cut(
    database: ClientDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = packets_of_a_pull(database, tmp_path / "whole", monkeypatch)
    for number in (packets // 3, packets // 2, packets - 9):
        with proxied(database, tmp_path / str(number), monkeypatch) as (client, proxy):
            client.configure(retries=2)
            proxy.cut_after(number)
            client.succeed()
            assert proxy.struck.is_set()
            assert client.final() == client.expected()
