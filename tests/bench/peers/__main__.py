"""Measure other tools beside the connector: `make bench-peers`, or `ROWS=100000 ROUNDS=1 PEER=singer make bench-peers`.

Each peer is installed from PyPI into an environment of its own below `build/peers`, once. On each engine every tool
pulls the same table, first all of it, then one per cent that has changed, as whole processes, in rounds that begin
with the engine's own client reading to nowhere. What a tool wrote is read back and compared with the source. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests import servers
from tests.bench import customers, limit, pull
from tests.bench.customers import Sample
from tests.bench.peers import report, rounds
from tests.bench.peers.dlt import Dlt
from tests.bench.peers.ingestr import Ingestr
from tests.bench.peers.ours import Connector
from tests.bench.peers.rounds import Engine, Measured
from tests.bench.peers.singer import Singer
from tests.bench.peers.sling import Sling
from tests.bench.peers.tool import TABLE, Tool

ALL: tuple[Tool, ...] = (
    Dlt("sqlalchemy"),
    Dlt("pyarrow"),
    Dlt("connectorx"),
    Dlt("connectorx", "duckdb"),
    Sling("csv"),
    Sling("sqlite"),
    Ingestr(),
    Singer(),
)
# As in `tests.bench.__main__`, which can't be imported here: it imports the connector, whose packages would raise the
# memory floor of every program that is measured.
LOCAL = ("local", "install", "unpack")
STARTERS = {"postgresql": servers.postgresql, "mariadb": servers.mariadb}
PEERS = {peer.name: peer for peer in ALL}
FEW_ROWS = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.peers", description=__doc__)
    parser.add_argument("--rows", type=int, default=int(os.environ.get("ROWS", "1000000")))
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "3")))
    parser.add_argument("--engine", choices=sorted(STARTERS), action="append", help="default: both")
    parser.add_argument("--peer", choices=sorted(PEERS), action="append", help="default: all")
    options = parser.parse_args(arguments)
    peers = [PEERS[name] for name in options.peer or PEERS]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connector-bench-")))
        whole = customers.write(folder / "customers.tsv", options.rows)
        few = customers.write(folder / "few.tsv", FEW_ROWS)
        engines = [_prepared(stack, folder, name, peers, whole=whole, few=few) for name in options.engine or STARTERS]
        for number in range(options.rounds):
            for engine in engines:
                rounds.full_round(engine, number)
        for number in range(options.rounds):
            for engine in engines:
                rounds.increment_round(engine, number)
    report.show(engines)
    print(json.dumps(report.summary(engines), sort_keys=True, ensure_ascii=False))
    if any(engine.connector.failed or engine.connector.wrong for engine in engines):
        raise SystemExit("the connector itself failed or its rows are wrong: see the table")


def _prepared(
    stack: ExitStack, folder: Path, name: str, peers: Sequence[Tool], *, whole: Sample, few: Sample
) -> Engine:
    server = stack.enter_context(STARTERS[name](durable=True, ways=LOCAL))
    database = stack.enter_context(servers.fresh_database(server, "bench"))
    customers.load(database, TABLE, whole)
    customers.load(database, rounds.FEW, few)
    pull.grant(database)
    pages = limit.statements(database, TABLE, whole, folder)
    engine = Engine(name, database, whole, pages, folder, Measured(Connector()), [Measured(peer) for peer in peers])
    rounds.warm_up(engine)
    return engine


if __name__ == "__main__":
    main()
