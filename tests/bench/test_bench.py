"""The bench measures what it says: the same rows on both sides, every one of them once."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.bench import __main__ as bench
from tests.bench import customers, limit
from tests.servers import Database

ROWS = 25_000


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> customers.Sample:
    return customers.write(tmp_path_factory.mktemp("bench") / "customers.tsv", ROWS)


def test_the_same_number_of_rows_gives_the_same_bytes(sample: customers.Sample, tmp_path: Path) -> None:
    again = customers.write(tmp_path / "again.tsv", ROWS)
    assert again.path.read_bytes() == sample.path.read_bytes()
    assert again.pages == sample.pages


def test_tenants_share_the_table_and_values_tie(sample: customers.Sample) -> None:
    rows = [line.split("\t") for line in sample.path.read_text(encoding="utf-8").splitlines()]
    tenants = collections.Counter(row[customers.COLUMNS.index("user_id")] for row in rows)
    assert 0.68 < tenants[customers.TENANTS[0]] / ROWS < 0.72
    assert all(0.09 < tenants[tenant] / ROWS < 0.11 for tenant in customers.TENANTS[1:])
    stamps = collections.Counter(row[customers.COLUMNS.index("updated_at")] for row in rows)
    assert 10 < ROWS / len(stamps) < 40


@pytest.fixture(params=sorted(bench.STARTERS))
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Give a database on a server that is not in a container, as the bench itself needs it."""
    starter = bench.STARTERS[request.param]
    with starter(durable=False, ways=bench.LOCAL) as server, servers.fresh_database(server) as database:
        yield database


@pytest.mark.bench
def test_the_limit_reads_every_row_once(database: Database, sample: customers.Sample, tmp_path: Path) -> None:
    customers.load(database, "customers", sample)
    statements = limit.statements(database, "customers", sample, tmp_path)
    copied = database.server.engine == "postgresql"
    if copied:  # the same statements, in a form that can be counted
        statements.write_text(statements.read_text(encoding="utf-8").replace("binary", "csv"), encoding="utf-8")
    output = limit.read(database, statements, keep_output=True).output
    ids = collections.Counter(line.split("," if copied else "\t")[0] for line in output.splitlines())
    assert len(ids) == ROWS
    assert set(ids.values()) == {1}


@pytest.mark.bench
def test_the_bench_ends_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--rows", str(ROWS), "--rounds", "1"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.keys() >= {"full_ratio_postgresql", "full_ratio_mariadb", "peak_mb", "growth_percent"}
    assert figures["cpu_s_per_million"].keys() >= {"read", "core", "store", "total"}
    assert 1 < figures["full_ratio_postgresql"] < 1000
