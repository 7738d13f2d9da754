"""The rules of the hole list, one by one. `tests/property/test_holes.py` holds their sum against simulated writers."""

from __future__ import annotations

import polars as pl
import pytest

from connector.model import Hole
from connector.source import holes
from connector.source.holes import LIMIT, after, alive, closed

MINUTE_US = 60_000_000
NOW_US = 1_000 * MINUTE_US


def ids(*values: int) -> pl.Series:
    return pl.Series(values, dtype=pl.Int128)


def ranges(found: tuple[Hole, ...]) -> list[tuple[int, int]]:
    return [(hole.first, hole.last) for hole in found]


def test_what_is_missing_between_two_ids_is_a_hole() -> None:
    assert after((), 10, ids(11, 14, 15, 20), NOW_US) == (Hole(12, 13, NOW_US), Hole(16, 19, NOW_US))


def test_what_is_missing_right_above_the_edge_is_a_hole() -> None:
    assert ranges(after((), 10, ids(13), NOW_US)) == [(11, 12)]


def test_ids_without_a_gap_leave_no_hole() -> None:
    assert after((), 10, ids(11, 12, 13), NOW_US) == ()


def test_a_batch_without_ids_changes_nothing() -> None:
    before = (Hole(3, 4, 1),)
    assert after(before, 10, ids(), NOW_US) == before


@pytest.mark.parametrize(
    "filled, left",
    [
        ((3,), [(4, 9)]),
        ((9,), [(3, 8)]),
        ((5,), [(3, 4), (6, 9)]),
        ((4, 6, 7), [(3, 3), (5, 5), (8, 9)]),
        ((3, 4, 5, 6, 7, 8, 9), []),
        ((1, 2), [(3, 9)]),
        ((10,), [(3, 9)]),
        ((2, 3, 9, 10), [(4, 8)]),
    ],
)
def test_an_id_that_came_late_is_cut_out_of_its_hole(filled: tuple[int, ...], left: list[tuple[int, int]]) -> None:
    assert ranges(after((Hole(3, 9, 1),), 10, ids(*filled), NOW_US)) == left


def test_what_is_left_of_a_hole_is_as_old_as_the_hole() -> None:
    assert after((Hole(3, 9, 1),), 10, ids(5, 12), NOW_US) == (Hole(3, 4, 1), Hole(6, 9, 1), Hole(11, 11, NOW_US))


def test_each_hole_is_cut_by_what_lies_in_it() -> None:
    before = (Hole(3, 5, 1), Hole(8, 8, 2), Hole(20, 29, 3))
    assert ranges(after(before, 40, ids(4, 8, 12, 20, 29, 40), NOW_US)) == [(3, 3), (5, 5), (21, 28)]


def test_an_id_that_comes_twice_is_one_id() -> None:
    assert ranges(after((Hole(3, 5, 1),), 10, ids(4, 4, 12, 12), NOW_US)) == [(3, 3), (5, 5), (11, 11)]


def test_negative_ids_leave_holes_over_zero() -> None:
    assert ranges(after((), -10, ids(-8, 3), NOW_US)) == [(-9, -9), (-7, 2)]


def test_ids_beyond_64_bits_stay_exact() -> None:
    top = 2**64 - 1
    assert ranges(after((), 2**63 - 2, ids(2**63 + 1, top), NOW_US)) == [(2**63 - 1, 2**63), (2**63 + 2, top - 1)]


def test_a_hole_is_read_again_until_it_was_found_empty_a_look_back_later() -> None:
    """The time is that of the last reading: one that was read a moment earlier has to be read once more."""
    found = (Hole(1, 1, NOW_US),)
    assert alive(found, NOW_US + 15 * MINUTE_US - 1, 15 * MINUTE_US) == found
    assert alive(found, NOW_US + 15 * MINUTE_US, 15 * MINUTE_US) == ()


def test_holes_are_given_up_one_by_one() -> None:
    old, young = Hole(1, 1, NOW_US - MINUTE_US), Hole(3, 3, NOW_US)
    assert alive((old, young), NOW_US + 14 * MINUTE_US, 15 * MINUTE_US) == (young,)


def test_the_end_of_a_pull_is_a_hole_up_to_the_newest_id_that_it_saw() -> None:
    """The newest row itself may have been deleted before its batch was read."""
    assert closed((), 10, 13, NOW_US) == (Hole(11, 13, NOW_US),)


@pytest.mark.parametrize("top", [9, 10])
def test_a_pull_that_came_to_its_newest_id_leaves_nothing_at_its_end(top: int) -> None:
    assert closed((Hole(1, 2, 1),), 10, top, NOW_US) == (Hole(1, 2, 1),)


def test_no_more_holes_are_kept_than_the_limit() -> None:
    found = after((), 0, ids(*range(2, 4 * LIMIT, 2)), NOW_US)
    assert len(found) == LIMIT


def test_as_many_holes_as_the_limit_are_kept_as_they_are() -> None:
    found = after((), 0, ids(*range(2, 2 * LIMIT + 1, 2)), NOW_US)
    assert ranges(found) == [(odd, odd) for odd in range(1, 2 * LIMIT, 2)]


def test_the_nearest_neighbours_are_joined_and_nothing_is_left_out() -> None:
    far = [Hole(1_000 * index, 1_000 * index + 10, index) for index in range(1, LIMIT - 1)]
    near = (Hole(1, 3, 7), Hole(5, 6, 9))
    found = closed((*near, *far), 1_000 * LIMIT - 1, 1_000 * LIMIT, NOW_US)
    assert len(found) == LIMIT
    assert found[0] == Hole(1, 6, 9)
    assert found[1:-1] == tuple(far)


def test_a_joined_hole_is_as_young_as_its_youngest_part() -> None:
    """An older time would give up the younger part before its look-back is over."""
    parts = [Hole(2 * index, 2 * index, NOW_US - index) for index in range(3 * LIMIT)]
    found = holes._fewer(parts)
    for part in parts:
        whole = next(hole for hole in found if hole.first <= part.first and part.last <= hole.last)
        assert whole.seen_us >= part.seen_us
