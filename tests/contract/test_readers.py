"""The plain and the columnar reader are one reader: the same frames, the same ends, the same errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest

from connector.config.resolved import Limits
from connector.errors import SourceTimeout, SourceUnavailable
from connector.model import RunState
from connector.source import session as sessions
from connector.source.dialects.mysql import packets
from connector.source.dialects.postgresql import copy
from connector.source.select import Output, Select, Statement
from connector.source.session import Session
from tests.contract.conftest import LIMITS
from tests.contract.engines import ClientDatabase, needs
from tests.contract.pulling import Pulling, at
from tests.contract.types_reading import READERS, Reader, T, by, opened, outputs, pieces, read, wanted

each_reader = pytest.mark.parametrize("reader", READERS)
SIZE = 7
LONG_ROWS = 400
LONG = 200_000
"""Bytes of a row: more of them than any socket's buffers hold."""


def numbered(database: ClientDatabase, rows: int) -> None:
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text})")
    database.insert("t", [(i, f"v{i}") for i in range(1, rows + 1)])


@needs("server")
@each_reader
@pytest.mark.parametrize("limit", [SIZE, None], ids=["page", "stream"])
@pytest.mark.parametrize("rows", [0, 1, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE, 2 * SIZE + 1])
def test_frames_come_in_order_and_the_last_one_says_so(
    database: ClientDatabase, reader: Reader, limit: int | None, rows: int
) -> None:
    numbered(database, rows)
    select = Select(T, outputs("id", "v"), order=by("id"), limit=limit)
    with opened(database.source, reader) as session:
        found = pieces(session, select, SIZE)
    expected = min(rows, limit or rows)
    # Only the driver's own stream can't tell before its next look that a full frame was the last one.
    looks = expected // SIZE + 1 if (reader, limit) == ("plain", None) else max(1, -(-expected // SIZE))
    assert len(found) == looks
    assert [more for _, more in found] == [True] * (len(found) - 1) + [False]
    assert all(frame.height <= SIZE for frame, _ in found)
    assert all(frame.height == SIZE for frame, more in found if more)
    assert all(dict(frame.schema) == {"id": pl.Int64, "v": pl.String} for frame, _ in found)
    assert [row for frame, _ in found for row in frame.rows()] == [(i, f"v{i}") for i in range(1, expected + 1)]


@needs("server")
def test_a_piece_is_cut_where_its_rows_are_long(database: ClientDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, length, piece = 40, 50_000, 300_000
    in_one_go = packets.READ_BYTES if "unsigned" in database.engine.has else 0  # what is read is cut into rows, too
    monkeypatch.setattr(copy, "PIECE_BYTES", piece)
    monkeypatch.setattr(packets, "PIECE_BYTES", piece)
    numbered(database, rows)
    chosen = (Output("id", "id"), Output("v", sql=f"REPEAT('x', {length})"))
    for limit in (rows, None):
        select = Select(T, chosen, order=by("id"), limit=limit)
        with opened(database.source, "columnar") as session:
            found = pieces(session, select, rows)
        assert len(found) > 3
        assert [more for _, more in found] == [True] * (len(found) - 1) + [False]
        assert all(piece - length < frame["v"].str.len_bytes().sum() for frame, more in found if more)
        assert all(frame["v"].str.len_bytes().sum() <= piece + length + in_one_go for frame, _ in found)
        assert [value for frame, _ in found for value in frame["id"]] == [*range(1, rows + 1)]
        assert all((frame["v"].str.len_bytes() == length).all() for frame, _ in found)


@needs("server")
@each_reader
@pytest.mark.parametrize(
    "values",
    [[""], ["", "a"], [None], [None, ""], ["", None, ""], ["\n", "", "\t"], ["c0"], ["\ufeff", ""], ["\\N", None]],
)
def test_a_single_column_keeps_its_empty_values_apart(
    database: ClientDatabase, reader: Reader, values: list[str | None]
) -> None:
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text})")
    database.insert("t", list(enumerate(values)))
    select = Select(T, outputs("v"), order=by("id"))
    with opened(database.source, reader) as session:
        assert read(session, select)["v"].to_list() == values
        assert [frame["v"].to_list() for frame, _ in pieces(session, select, 1) if frame.height] == [
            [v] for v in values
        ]


@needs("server")
@each_reader
def test_a_row_may_have_five_hundred_columns(database: ClientDatabase, reader: Reader) -> None:
    names = [f"c{n}" for n in range(500)]
    kinds = ("INT", "DECIMAL(9, 2)", "CHAR(3)", "DATE")
    database.execute(f"CREATE TABLE t ({', '.join(f'{name} {kinds[n % 4]}' for n, name in enumerate(names))})")
    row = [(n, f"{n}.50", "abc", "2024-03-01")[n % 4] for n in range(500)]
    database.insert("t", [row, [None] * 500, row])
    with opened(database.source, reader) as session:
        found = read(session, Select(T, outputs(*names)))
    assert found.rows() == [tuple(row), (None,) * 500, tuple(row)]


@needs("server")
@each_reader
def test_integers_beyond_a_type_leave_it_in_their_batch_only(database: ClientDatabase, reader: Reader) -> None:
    """Sums come as numerics, which one engine calls integers: each batch has the narrowest type that holds it."""
    unsigned = "bigint unsigned" if "unsigned" in database.engine.has else "bigint"
    largest = 2**64 - 1 if "unsigned" in database.engine.has else 2**63 - 1
    database.execute(f"CREATE TABLE t (id BIGINT PRIMARY KEY, v {unsigned})")
    database.insert("t", [(1, 5), (2, None), (3, largest), (4, 7)])
    with opened(database.source, reader) as session:
        found = [frame["v"] for frame, _ in pieces(session, Select(T, outputs("v"), order=by("id")), 2)]
        text = read(session, Select(T, outputs("v"), order=by("id")), text=True)["v"]
    assert [each.to_list() for each in found if each.len()] == [[5, None], [largest, 7]]
    assert [each.dtype for each in found][:2] == [pl.Int64, pl.UInt64 if largest >= 2**63 else pl.Int64]
    assert text.to_list() == ["5", None, str(largest), "7"]


@needs("server")
@each_reader
def test_a_percent_sign_in_sql_is_one(database: ClientDatabase, reader: Reader) -> None:
    numbered(database, 3)
    chosen = (Output("100%s", sql="CASE WHEN v LIKE '%2' THEN '%s %% \\' ELSE v END".replace("\\'", "'")),)
    with opened(database.source, reader) as session:
        found = read(session, Select(T, chosen, order=by("id")))
    assert found["100%s"].to_list() == ["v1", "%s %% ", "v3"]


@needs("server")
def test_a_pull_reads_in_columns_unless_told_otherwise(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(*((i, "v", at(i)) for i in range(1, 31)))

    def refuse(*_: object) -> None:
        raise AssertionError("rows were taken from the driver")

    client.patch.setattr(sessions, "plain_frame", refuse)
    client.succeed()
    client.execute(f"UPDATE t SET updated_at = '{at(100)}'")
    client.configure(source=replace(client.database.source, reader="plain"))
    result = client.pull()
    assert result.state is RunState.FAILED
    assert "AssertionError" in result.error


# -- results that end before their end


@contextlib.contextmanager
def long_rows(database: ClientDatabase, reader: Reader, limits: Limits = LIMITS) -> Iterator[tuple[Session, Select]]:
    """Give a session, and a select whose rows no buffer between here and the server holds."""
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
    database.insert("t", [(i,) for i in range(1, LONG_ROWS + 1)])
    chosen = (Output("id", "id"), Output("v", sql=f"REPEAT('x', {LONG})"))
    with opened(replace(database.source, limits=limits), reader) as session:
        yield session, Select(T, chosen, order=by("id"))


def count(result: Iterator[tuple[pl.DataFrame, bool]], taken: list[int]) -> None:
    """Take a result that must not end."""
    for frame, more in result:
        assert more, "the result counts as whole"
        taken.append(frame.height)


@needs("server")
@each_reader
def test_a_session_that_is_ended_within_a_result_never_ends_the_result(
    database: ClientDatabase, reader: Reader
) -> None:
    with long_rows(database, reader) as (session, select):
        result = session.frames(select, wanted(session, select), 10)
        frame, more = next(result)
        assert (frame.height, more) == (10, True)
        database.end_sessions()
        taken = [10]
        with pytest.raises(SourceUnavailable):
            count(result, taken)
        assert sum(taken) < LONG_ROWS


@needs("server")
@each_reader
def test_a_statement_that_runs_into_its_timeout_within_a_result_is_one(
    database: ClientDatabase, reader: Reader
) -> None:
    slow = database.engine.sleep.format(30)
    limits = replace(LIMITS, statement_timeout_s=1)
    with long_rows(database, reader, limits) as (session, select):
        late = Output("late", sql=f"CASE WHEN s.id = {LONG_ROWS} THEN {slow} END")
        in_the_end = replace(select, outputs=(*select.outputs, late))
        taken: list[int] = []
        with pytest.raises(SourceTimeout):
            count(session.frames(in_the_end, wanted(session, in_the_end), 10), taken)
        assert 0 < sum(taken) < LONG_ROWS


@needs("server")
@each_reader
def test_what_is_asked_after_an_unfinished_result_is_answered_or_refused_but_never_mixed_up(
    database: ClientDatabase, reader: Reader
) -> None:
    with long_rows(database, reader) as (session, select):
        next(session.frames(select, wanted(session, select), 10))
        try:
            session.open_snapshot()
            assert session.rows(Statement("SELECT 'another'")) == [("another",)]
            assert read(session, Select(T, outputs("id"), order=by("id")))["id"].to_list() == [*range(1, LONG_ROWS + 1)]
        except SourceUnavailable:  # the connection was given up: there is no calling off without another one
            assert (database.engine.name, reader) == ("mysql", "columnar")


@needs("server", "infinity")
@each_reader
def test_a_result_is_called_off_as_often_as_asked(database: ClientDatabase, reader: Reader) -> None:
    with long_rows(database, reader) as (session, select):
        described = wanted(session, select)
        for _ in range(10):
            frame, more = next(session.frames(select, described, 1))
            assert (frame.height, more) == (1, True)
            session.open_snapshot()
        assert read(session, select)["id"].to_list() == [*range(1, LONG_ROWS + 1)]
