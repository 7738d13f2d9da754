"""What arrives of each type's values, by both readers, and what becomes of it in the core.

The values stand in `types_postgresql` and `types_mysql`, a line each. `types_servers` says how a MySQL server that is
not MariaDB is held to the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl
import pymysql
import pytest

from tests.contract import types_mysql, types_postgresql
from tests.contract.conftest import LIMITS
from tests.contract.engines import ENGINES, ClientDatabase, served
from tests.contract.types_lines import TARGETS, Line, Specimens, written
from tests.contract.types_reading import READERS, Reader
from tests.contract.types_servers import MYSQLS, mysql_database, pulling

MULTIRANGES_SINCE = 140_000


@pytest.fixture(scope="module", params=["postgresql", *MYSQLS])
def specimens(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Specimens]:
    prepared = postgresql_lines if request.param == "postgresql" else mysql_lines
    with (
        prepared(request) as (database, lines, settings),
        pulling(database, tmp_path_factory.mktemp("types")) as client,
    ):
        found = Specimens(client, lines)
        found.create(*settings)
        yield found


Prepared = Iterator[tuple[ClientDatabase, list[Line], tuple[str, ...]]]


@contextmanager
def postgresql_lines(request: pytest.FixtureRequest) -> Prepared:
    with served(ENGINES["postgresql"], request.getfixturevalue("postgresql"), LIMITS) as database:
        version = int(database.execute("SHOW server_version_num")[0][0])
        lines = [line for line in types_postgresql.LINES if not line.needs or version >= MULTIRANGES_SINCE]
        yield database, lines, types_postgresql.TYPES


@contextmanager
def mysql_lines(request: pytest.FixtureRequest) -> Prepared:
    with mysql_database(request.param, request) as database:
        lines = [line for line in types_mysql.LINES if not line.needs or knows(database.execute, line.needs)]
        yield database, lines, types_mysql.SETTINGS


def knows(execute: Callable[[str], object], type_: str) -> bool:
    """Say whether a server has a type."""
    try:
        execute(f"CREATE TABLE known_{type_} (v {type_})")
    except pymysql.err.Error:
        return False
    return True


@pytest.mark.parametrize("limit", [None, 1_000])
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_delivers_each_value_as_it_is(specimens: Specimens, reader: Reader, limit: int | None) -> None:
    expected = {line.label: (line.dtype, written(line.value)) for line in specimens.lines}
    assert specimens.delivered(reader, limit=limit) == expected


def test_the_readers_give_the_same_texts_for_keys_and_marks(specimens: Specimens) -> None:
    floats = {line.label for line in specimens.lines if line.dtype == pl.Float64}  # never part of a key
    delivered = [specimens.delivered(reader, text=True) for reader in READERS]
    columnar, plain = ({label: each[label] for label in each.keys() - floats} for each in delivered)
    assert columnar == plain
    assert {dtype for dtype, _ in plain.values()} == {pl.String}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reader", READERS)
def test_the_core_takes_or_refuses_each_value_under_its_rule(specimens: Specimens, reader: Reader, target: str) -> None:
    expected = {line.label: written(line.recorded(target)) for line in specimens.lines}
    assert specimens.recorded(reader, target) == expected
