"""The keyset predicates, held against plain tuple comparison."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from connector.model import Bound, Column, Kind, Position
from connector.source.keyset import after, after_key, key_columns, within
from connector.source.select import All, Any, Compare, IsNull, Predicate

U, A, B = (Column(name, Kind.INTEGER, "integer") for name in "uab")
OPS = {">": int.__gt__, ">=": int.__ge__, "<": int.__lt__, "<=": int.__le__, "=": int.__eq__}


def holds(predicate: Predicate, row: Mapping[str, int | None]) -> bool:
    match predicate:
        case Compare(column, op, value):
            found = row[column.name]
            return found is not None and OPS[op](found, int(value))
        case IsNull(column, negated):
            return (row[column.name] is None) != negated
        case All(parts):
            return all(holds(part, row) for part in parts)
        case Any(parts):
            return any(holds(part, row) for part in parts)
    raise AssertionError(predicate)


ROWS = [dict(zip("uab", values, strict=True)) for values in itertools.product(range(3), repeat=3)]


@pytest.mark.parametrize("position", list(itertools.product("012", repeat=3)))
def test_what_lies_behind_a_position_is_what_tuples_say(position: tuple[str, str, str]) -> None:
    predicate = after(U, (A, B), Position(position[0], position[1:]))
    wanted = tuple(int(value) for value in position)
    assert [row for row in ROWS if holds(predicate, row)] == [row for row in ROWS if tuple(row.values()) > wanted]


@pytest.mark.parametrize("position", list(itertools.product("012", repeat=2)))
def test_nulls_are_ordered_by_their_key_alone(position: tuple[str, str]) -> None:
    (predicate,) = after_key((A, B), Position(None, position))
    rows = [{**row, "u": None} for row in ROWS]
    wanted = tuple(int(value) for value in position)
    assert [row for row in rows if holds(predicate, row)] == [row for row in rows if (row["a"], row["b"]) > wanted]


def test_the_pass_over_nulls_begins_without_a_predicate() -> None:
    assert after_key((A,), None) == ()


def test_the_predicate_begins_with_a_range_that_an_index_can_serve() -> None:
    predicate = after(U, (A,), Position("5", ("7",)))
    assert isinstance(predicate, All)
    assert predicate.parts[0] == Compare(U, ">=", "5")


def test_a_keyless_stream_goes_on_above_its_value() -> None:
    assert after(U, (), Position("5")) == Compare(U, ">", "5")


def test_a_watermark_that_is_part_of_the_key_is_ordered_once() -> None:
    assert key_columns(U, (A, U, B)) == (A, B)
    assert after(U, (U,), Position("5")) == Compare(U, ">", "5")


@pytest.mark.parametrize("lower, op", [(Bound("1"), ">="), (Bound("1", inclusive=False), ">")])
def test_a_lower_bound_is_inclusive_or_not(lower: Bound, op: str) -> None:
    assert within(U, lower, None) == (Compare(U, op, "1"),)


def test_without_bounds_only_nulls_are_left_out() -> None:
    (predicate,) = within(U, None, None)
    assert not holds(predicate, {"u": None})
    assert holds(predicate, {"u": 0})


def test_a_position_with_too_few_values_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="every key column"):
        after(U, (A, B), Position("1", ("2",)))
    with pytest.raises(ValueError, match="NULL"):
        after(U, (A,), Position(None, ("2",)))
