"""The plain and the columnar reader deliver the same of whatever a table holds: random tables, and a million rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.source.select import Select, Table
from connector.source.session import Session
from tests.contract.engines import ClientDatabase, needs
from tests.contract.types_lines import written
from tests.contract.types_reading import READERS, by, opened, outputs, pieces

CONTROLS = "\t\n\r\b\f\v\x01\x1a\x7f\\'\"%,; aN.\ufeff\u2028é😀"
FIXED = ("", " ", "\\N", "\\.", "NULL", "\\", "\\\\", "\\t", "\t", "\n", "\r\n", "x\\", "\ufeff", "'", "%s", "{}")


FIRST = datetime.fromisoformat("1000-01-01")


def texts(size: int, controls: str = CONTROLS, left_out: str = "") -> st.SearchStrategy[str]:
    anything = st.text(st.characters(codec="utf-8", exclude_characters=left_out), max_size=size)
    fixed = [text for text in FIXED if len(text) <= size and not set(text) & set(left_out)]
    return st.text(controls, max_size=size) | anything | st.sampled_from(fixed)


def integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.sampled_from((low, high, max(0, low))) | st.integers(low, high)


def stamps(*odd: str) -> st.SearchStrategy[str]:
    usual = st.datetimes(min_value=FIRST).map(lambda at: at.isoformat(" "))
    return usual | st.sampled_from(odd)


@dataclass(frozen=True, slots=True)
class Type:
    """A type of columns and values for it. Without `own`, the value that arrives is the one that was written."""

    ddl: str
    values: st.SearchStrategy[Any]
    own: bool = False
    """The database writes values of this type in its own way: nothing but the other reader says what is right."""


def no_minus_zero(value: float) -> float:
    """Return what a literal of the value means where it is the negative of a number."""
    return value + 0.0


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-(10**20), max_value=10**20)
FLOATS = (0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e22, 1e-7)

TYPES: dict[str, tuple[Type, ...]] = {
    "postgresql": (
        Type("smallint", integers(-(2**15), 2**15 - 1)),
        Type("bigint", integers(-(2**63), 2**63 - 1)),
        Type("numeric", DECIMALS.map(str) | st.sampled_from(("NaN", "Infinity", "-Infinity", "1e-300")), own=True),
        Type("numeric(12,2)", st.decimals(-(10**9), 10**9, places=2).map(str), own=True),
        Type("double precision", st.floats() | st.sampled_from(FLOATS)),
        Type("real", st.floats(width=32), own=True),
        Type("boolean", st.booleans()),
        Type("text", texts(30, left_out="\0")),
        Type("varchar(12)", texts(12, left_out="\0")),
        Type("char(5)", texts(5, left_out="\0"), own=True),
        Type("bytea", st.binary(max_size=30)),
        Type("timestamp", stamps("infinity", "-infinity", "0044-03-15 BC", "20000-01-01"), own=True),
        Type("timestamptz", stamps("infinity", "-infinity", "2024-03-01 12:00:00.5+14"), own=True),
        Type("date", st.dates().map(str) | st.sampled_from(("infinity", "0044-03-15 BC")), own=True),
        Type("time", st.times().map(str) | st.just("24:00:00"), own=True),
        Type("uuid", st.uuids().map(str)),
        Type("text[]", st.lists(texts(5, left_out="\0") | st.none(), max_size=3), own=True),
        Type("interval", st.sampled_from(("1 mon -2 days", "-25:00:00.5", "0")), own=True),
    ),
    "mysql": (
        Type("smallint unsigned", integers(0, 2**16 - 1)),
        Type("bigint", integers(-(2**63), 2**63 - 1)),
        Type("bigint unsigned", integers(0, 2**64 - 1)),
        Type("decimal(65,30)", DECIMALS, own=True),
        Type("decimal(12,2) zerofill", st.decimals(0, 10**9, places=2), own=True),
        Type("double", (st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(FLOATS)).map(no_minus_zero)),
        Type("float", st.floats(-1e30, 1e30), own=True),
        Type("bit(64)", integers(0, 2**64 - 1)),
        Type("varchar(30) character set utf8mb4", texts(30, CONTROLS + "\0")),
        Type("longtext character set utf8mb4", texts(300, CONTROLS + "\0")),
        Type("varchar(12) character set latin1", st.text(st.characters(codec="latin-1"), max_size=12), own=True),
        Type("char(5) character set utf8mb4", texts(5, CONTROLS + "\0"), own=True),
        Type("varbinary(30)", st.binary(max_size=30)),
        Type("longblob", st.binary(max_size=300)),
        Type("binary(4)", st.binary(max_size=4), own=True),
        Type("datetime(6)", stamps("0000-00-00", "2024-00-00 01:02:03", "2023-02-31"), own=True),
        Type("date", st.sampled_from(("0000-00-00", "2024-02-00", "9999-12-31", "2024-02-29")), own=True),
        Type("time(6)", st.sampled_from(("-838:59:59", "838:59:59.999999", "00:00:00", "25:00:00.5")), own=True),
        Type("year", st.integers(1901, 2155)),
        Type("enum('', 'a', 'ü')", st.sampled_from(("", "a", "ü"))),
        Type("set('x', 'y')", st.sampled_from(("", "x", "x,y"))),
    ),
}

Columns = list[tuple[Type, list[Any]]]


@st.composite
def tables(draw: st.DrawFn, engine: str) -> Columns:
    """Give columns, each a type and the values of its rows."""
    types = draw(st.lists(st.sampled_from(TYPES[engine]), min_size=1, max_size=6))
    rows = draw(st.integers(1, 7))
    return [(each, draw(st.lists(st.none() | each.values, min_size=rows, max_size=rows))) for each in types]


def delivered(frames: Sequence[pl.DataFrame], name: str) -> list[tuple[Any, list[str]]]:
    """Return one column, frame by frame: its type and its values as Python writes them."""
    return [(frame[name].dtype, [written(value) for value in frame[name]]) for frame in frames if frame.height]


def compare(database: ClientDatabase, examples: int) -> None:
    """Hold both readers to the same frames of so many random tables."""
    with ExitStack() as stack:
        writer = stack.enter_context(closing(database.admin())).cursor()
        if "zero_dates" in database.engine.has:
            writer.execute("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        sessions = [stack.enter_context(opened(database.source, reader)) for reader in READERS]
        comparison(writer, sessions, tables(database.engine.name), examples)()


def comparison(
    writer: Any, sessions: Sequence[Session], some: st.SearchStrategy[Columns], examples: int
) -> Callable[[], None]:
    numbers = itertools.count(1)

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(some)
    def holds(table: Columns) -> None:
        name, columns = f"t{next(numbers)}", [f"c{n}" for n in range(len(table))]
        typed = ", ".join(f"{column} {each.ddl}" for column, (each, _) in zip(columns, table, strict=True))
        rows = list(zip(itertools.count(1), *(values for _, values in table), strict=False))
        writer.execute(f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, {typed})")
        marks = ", ".join(["%s"] * len(rows[0]))
        writer.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
        chosen = outputs("id", *columns)
        for limit, size in ((100, 100), (None, 2)):
            select = Select(Table((name,)), chosen, order=by("id"), limit=limit)
            found = []
            for session in sessions:
                session.open_snapshot()
                found.append([frame for frame, _ in pieces(session, select, size)])
            for column, (each, values) in zip(columns, table, strict=True):
                columnar, plain = (delivered(frames, column) for frames in found)
                assert columnar == plain, each.ddl
                if not each.own:
                    assert [value for _, some in plain for value in some] == [written(value) for value in values]

    return holds


@needs("server")
def test_random_tables_arrive_the_same_by_both_readers(database: ClientDatabase) -> None:
    compare(database, 60)


@pytest.mark.full
@needs("server")
def test_many_random_tables_arrive_the_same_by_both_readers(database: ClientDatabase) -> None:
    compare(database, 1_000)
