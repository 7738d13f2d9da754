"""A batch costs the same statements however many records it brings and however many are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from connector.model import Counters
from connector.store.intake import Intake
from connector.store.runs import Run
from connector.store.state import StreamRow
from connector.store.store import Store
from tests.contract.stores import begin, commit, pull_at, records

pytest_plugins = ["tests.contract.store_fixtures"]

MOST = 14
"""Statements that a batch may take, its BEGIN included; two of them for up to thirty-two sheets."""


def people(first: int, count: int, name: str = "Ann") -> dict[str, str | None]:
    return {f"{number:08}": name for number in range(first, first + count)}


@contextmanager
def counted(store: Store) -> Iterator[list[int]]:
    """Count the rows of values that each statement is run with."""
    runs: list[int] = []

    def count(_: Any, __: Any, ___: str, values: Any, ____: Any, many: bool) -> None:
        runs.append(len(values) if many else 1)

    writer = store._database._writer  # type: ignore[attr-defined]  # every store that has a writing engine names it so
    event.listen(writer, "before_cursor_execute", count)
    try:
        yield runs
    finally:
        event.remove(writer, "before_cursor_execute", count)


def statements(store: Store, run: Run, batch: Mapping[str, str | None]) -> tuple[Counters, int]:
    intake = Intake(records(batch), read=len(batch), read_order=store.next_read_order(run), open_pull=pull_at("k"))
    with counted(store) as runs:
        done = store.commit_batch(run, intake)
    return done, sum(runs)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_batch_takes_as_many_statements_whatever_its_size_and_the_ledgers(
    store: Store, row: StreamRow, shuffled: bool
) -> None:
    run = begin(store, row)
    found: dict[str, set[int]] = {"created": set(), "unchanged": set(), "updated": set()}
    first = 0
    for count in (2, 50, 3000):  # each one finds more in the ledger as well
        for kind, name in (("created", "Ann"), ("unchanged", "Ann"), ("updated", "Bob")):
            batch = people(first, count, name)
            if shuffled:
                batch = dict(reversed(batch.items()))
            done, taken = statements(store, run, batch)
            assert getattr(done, kind) == count
            found[kind].add(taken)
        first += count
    assert all(len(taken) == 1 for taken in found.values()), found
    assert max(max(taken) for taken in found.values()) <= MOST
    assert max(found["unchanged"]) < min(found["created"])


def test_records_of_many_segments_are_superseded_by_one_statement(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    for number in range(30):
        commit(store, run, people(number * 2, 2))
    intake = Intake(records(people(0, 60, "Bob")), read=60, read_order=store.next_read_order(run))
    with counted(store) as runs:
        assert store.commit_batch(run, intake).updated == 60
    assert len(runs) <= MOST
    assert [many for many in runs if many > 1] == [30], "one row of values per segment, none per record"


@pytest.mark.parametrize(
    "stored, batch",
    [
        (["b"], ["a", "c"]),
        (["\uffff"], ["\U0001f600", "z"]),  # as UTF-16 they would stand the other way about
        (["é"], ["z", "ü"]),
        (["10", "9"], ["10", "9"]),
        (["9"], ["10", "9"]),
    ],
)
def test_what_is_stored_is_found_wherever_it_lies_in_the_batchs_range(
    store: Store, row: StreamRow, stored: list[str], batch: list[str]
) -> None:
    run = begin(store, row)
    commit(store, run, dict.fromkeys(stored, "Ann"))
    known = len(set(stored) & set(batch))
    for order in (batch, batch[::-1]):
        done = commit(store, run, dict.fromkeys(order, "Ann"))
        assert (done.created, done.unchanged) == (len(batch) - known, known)
        known = len(batch)
