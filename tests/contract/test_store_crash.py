"""What every store keeps when a batch fails half-way, when processes die, and when several write at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import event

from connector.errors import LeaseHeld
from connector.model import Counters, RunState
from connector.store.intake import LATE, Intake
from connector.store.state import StreamRow
from connector.store.store import Store
from tests.contract.stores import (
    CUSTOMERS,
    STORES,
    all_names,
    begin,
    commit,
    finish,
    pull_at,
    records,
    refused,
    watermark,
)

pytest_plugins = ["tests.contract.store_fixtures"]

# A forked child would inherit the store's open files and their locks.
SPAWN = multiprocessing.get_context("spawn")
DEADLINE_S = 60


class Cut(Exception):
    """Stand for whatever ends a batch between two statements."""


def _state(store: Store, row: StreamRow) -> tuple[Any, ...]:
    segments = [(segment.segment_id, segment.frame.rows()) for segment in store.changes(0)]
    entries = [(entry.row_key, entry.rule, entry.times) for entry in store.quarantine_entries(row, 100)]
    run = store.runs(row, 1)[0]
    reached = (store.watermark(row), store.open_pull(row, "live"), run.counters, store.lateness(row))
    return (segments, all_names(store, row), entries, *reached)


def test_a_batch_is_whole_or_absent_wherever_it_is_cut(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    first = Intake(records({"a": "1", "b": "1", "c": "1"}), refused("x", "y"), read=5, read_order=1)
    store.commit_batch(run, first)
    before = _state(store, row)
    batch = Intake(
        records({"a": "2", "b": "1", "x": "1"}).with_columns(pl.Series(LATE, [8, 9, 7])),
        refused("y", "z", rule="required"),
        read=5,
        read_order=2,
        open_pull=pull_at("x"),
        watermark=watermark("2024"),
    )
    statements = 0
    limit = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1
        if statements > limit:
            raise Cut

    writer = store._database._writer  # type: ignore[attr-defined]  # every store that has a writing engine names it so
    event.listen(writer, "before_cursor_execute", count)
    while True:
        statements = 0
        try:
            done = store.commit_batch(run, batch)
        except Cut:
            assert _state(store, row) == before, f"cut after statement {limit}"
            limit += 1
        else:
            break
    assert limit > 12
    assert done == Counters(read=5, created=1, updated=1, unchanged=1, refused=2, batches=1, late_us=8)
    assert all_names(store, row) == {"a": "2", "b": "1", "c": "1", "x": "1"}
    assert {entry.row_key: entry.times for entry in store.quarantine_entries(row, 9)} == {"row y": 2, "row z": 1}


def _take_and_die(kind: str, directory: Path, committed: bool) -> None:
    store = STORES[kind](directory)
    row = store.stream(CUSTOMERS, "customer")
    run = begin(store, row, lease_s=3600)
    if committed:
        commit(store, run, {"a": "1"})
    with store.hold_daemon(3600):
        os.kill(os.getpid(), signal.SIGKILL)


def _run(target: Callable[..., None], *args: object) -> int | None:
    process = SPAWN.Process(target=target, args=args)
    process.start()
    process.join(DEADLINE_S)
    return process.exitcode


@pytest.mark.parametrize("kind", sorted(STORES))
@pytest.mark.parametrize("committed", [False, True])
def test_the_lane_of_a_killed_process_is_free_at_once(kind: str, committed: bool, tmp_path: Path) -> None:
    assert _run(_take_and_die, kind, tmp_path, committed) == -signal.SIGKILL
    with STORES[kind](tmp_path) as store:
        row = store.stream(CUSTOMERS, "customer")
        assert store.active_lease(row, "live") is None
        run = begin(store, row)
        _, dead = store.runs(row, 2)
        assert dead.state is RunState.INTERRUPTED
        assert dead.counters.created == int(committed)
        assert all_names(store, row) == ({"a": "1"} if committed else {})
        assert commit(store, run, {"a": "1"}).created == int(not committed)
        with store.hold_daemon(60.0):
            pass


def _hold(kind: str, directory: Path, held: Event, leave: Event) -> None:
    with STORES[kind](directory) as store:
        run = begin(store, store.stream(CUSTOMERS, "customer"), lease_s=3600)
        held.set()
        leave.wait(DEADLINE_S)
        finish(store, run)


@pytest.mark.parametrize("kind", sorted(STORES))
def test_the_lane_of_a_living_process_is_refused_to_others(kind: str, tmp_path: Path) -> None:
    held, leave = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=_hold, args=(kind, tmp_path, held, leave))
    process.start()
    try:
        assert held.wait(DEADLINE_S)
        with STORES[kind](tmp_path) as store:
            row = store.stream(CUSTOMERS, "customer")
            with pytest.raises(LeaseHeld, match=f"process {process.pid} "):
                begin(store, row)
            leave.set()
            process.join(DEADLINE_S)
            assert begin(store, row).lane == "live"
    finally:
        leave.set()
        process.join(DEADLINE_S)


def _write_many(kind: str, directory: Path, lane: str, batches: int, start: Barrier) -> None:
    start.wait(DEADLINE_S)
    with STORES[kind](directory) as store:  # all of them find no file, and create it
        run = begin(store, store.stream(CUSTOMERS, "customer"), lane)
        done = Counters()
        for number in range(batches):
            own = {f"{lane} {number} {nth}": "x" for nth in range(20)}
            done += commit(store, run, own | {"shared": f"{lane} {number}"})
        store.finish_run(run, RunState.SUCCEEDED, done, "exact")


@pytest.mark.parametrize("kind", sorted(STORES))
def test_several_processes_may_create_and_write_one_store(kind: str, tmp_path: Path) -> None:
    lanes, batches = ["live", "backfill:1..2", "backfill:2..3"], 15
    start = SPAWN.Barrier(len(lanes))
    processes = [SPAWN.Process(target=_write_many, args=(kind, tmp_path, lane, batches, start)) for lane in lanes]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE_S)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with STORES[kind](tmp_path) as store:
        row = store.stream(CUSTOMERS, "customer")
        found = all_names(store, row)
        assert len(found) == len(lanes) * batches * 20 + 1
        assert {run.counters.batches for run in store.runs(row, 10)} == {batches}
        changed = [key for segment in store.changes(0, 1000) for key in segment.frame["_key"]]
        assert len(changed) == len(set(changed)) - 1 + changed.count("shared")
        store.compact(row, min_dead_share=0)
        assert all_names(store, row) == found


def test_threads_share_a_store(store: Store, row: StreamRow) -> None:
    failures: list[Exception] = []

    def work(lane: str) -> None:
        try:
            run = begin(store, row, lane)
            for number in range(10):
                commit(store, run, {f"{lane} {number}": "x"})
                assert len(all_names(store, row)) > number
            finish(store, run)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"backfill:{number}..",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert failures == []
    assert len(all_names(store, row)) == 60
