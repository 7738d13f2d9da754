"""Backfills: one range, both ends included, beside the live lane and never in its way."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime
from typing import Any, Self

import pytest

from connector.model import LIVE, RunResult, RunState
from connector.runs.lanes import Range
from tests.contract.conftest import LIMITS
from tests.contract.engines import needs
from tests.contract.pulling import NAME, Pulling, ago, at

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"
EVERYTHING = Range().lane
WAIT_S = 30.0


def filled(client: Pulling, rows: int = 60, **changes: Any) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, rows + 1)))
    client.configure(**{"start": "now", **changes})


class Backfill:
    """A backfill in a thread of its own, held after its first batch until it may go on."""

    def __init__(self, client: Pulling, lane: str) -> None:
        self._client, self._lane = client, lane
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.results: list[RunResult] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.results.append(self._client.pull(lane=self._lane, watch=self._hold))

    def _hold(self, tick: object) -> None:
        self.begun.set()
        assert self.go_on.wait(WAIT_S)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.begun.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


def test_a_range_of_times_is_read_with_both_ends(client: Pulling) -> None:
    filled(client)
    client.succeed(lane=Range(at(11), at(40)).lane)
    assert client.final() == client.expected(f"WHERE updated_at BETWEEN '{at(11)}' AND '{at(40)}'")
    assert len(client.final()) == 30


def test_a_range_of_ids_is_read_with_both_ends(client: Pulling) -> None:
    filled(client, by="id", watermark_column="id")
    client.succeed(lane=Range("11", "40").lane)
    assert client.final() == client.expected("WHERE id BETWEEN 11 AND 40")


def test_a_range_that_ends_with_a_day_holds_the_whole_day(client: Pulling) -> None:
    filled(client)
    client.insert(
        (90, "before", "2024-02-29 23:59:59.999999"),
        (91, "evening", "2024-03-01 23:59:59.999999"),
        (92, "after", "2024-03-02 00:00:00"),
    )
    client.succeed(lane=Range("2024-03-01", "2024-03-01").lane)
    assert client.final() == client.expected("WHERE id NOT IN (90, 92)")


@pytest.mark.parametrize("range_", [Range(), Range(at(1), None), Range(None, at(60))])
def test_an_open_end_reaches_as_far_as_there_are_rows(client: Pulling, range_: Range) -> None:
    filled(client)
    client.succeed(lane=range_.lane)
    assert client.final() == client.expected()


def test_a_backfill_never_moves_the_watermark(client: Pulling) -> None:
    filled(client)
    client.succeed()
    before = client.watermark()
    client.insert((99, "new", ago(1)))
    client.succeed(lane=EVERYTHING)
    assert client.watermark() == before
    client.succeed()
    assert client.final() == client.expected()


def test_a_backfill_before_the_first_pull_leaves_the_stream_without_a_watermark(client: Pulling) -> None:
    filled(client, start=None)
    client.succeed(lane=Range(None, at(30)).lane)
    assert client.watermark() is None
    counters = client.succeed().counters
    assert (counters.created, counters.unchanged) == (30, 30)


def test_a_stopped_backfill_goes_on_at_its_position(client: Pulling) -> None:
    filled(client)
    lane = Range(at(1), at(50)).lane
    assert client.stop_after(2, lane=lane).counters.read == 20
    assert client.succeed(lane=lane).counters.read == 30
    assert client.final() == client.expected("WHERE id <= 50")
    assert client.open_pull(lane) is None


def test_null_watermarks_belong_to_an_unbounded_backfill(client: Pulling) -> None:
    filled(client, 10)
    client.insert(*((i, "undated", None) for i in range(100, 125)))
    client.succeed(lane=Range(at(1), at(99)).lane)
    assert len(client.final()) == 10
    client.succeed(lane=EVERYTHING)
    assert client.final() == client.expected()


@pytest.mark.parametrize("first, last", [("yesterday", None), (None, "2024-13-01"), ("17", "18")])
def test_a_range_that_is_none_is_a_mistake_of_the_caller(client: Pulling, first: str | None, last: str | None) -> None:
    filled(client)
    assert client.pull(lane=Range(first, last).lane).exit_code == 2


def test_a_backfill_of_an_older_snapshot_does_not_overwrite_what_a_pull_has_read_since(client: Pulling) -> None:
    filled(client, batch_size=20)
    client.succeed()
    with Backfill(client, EVERYTHING) as backfill:
        client.execute(f"UPDATE t SET v = 'newer', updated_at = '{ago(5)}' WHERE id IN (3, 30, 55)")
        client.succeed()
        assert client.final()["55"] == "newer"
    assert backfill.results[0].state is RunState.SUCCEEDED, backfill.results[0].error
    client.succeed()
    assert client.final() == client.expected()


def test_a_backfill_after_an_update_behind_the_watermark_brings_it(client: Pulling) -> None:
    filled(client, start=None)
    client.at_the_window_level()
    client.succeed()
    client.execute("UPDATE t SET v = 'silent' WHERE id = 7")
    client.succeed()
    assert client.final()["7"] == "v7"
    assert client.succeed(lane=EVERYTHING).counters.updated == 1
    assert client.final() == client.expected()


def test_a_backfill_gives_way_to_a_pull(client: Pulling) -> None:
    filled(client)
    client.succeed()
    client.insert(*((100 + i, "new", ago(50 - i)) for i in range(30)))
    order: list[str] = []
    live_begun, live_go_on = threading.Event(), threading.Event()

    def hold_live(tick: object) -> None:
        order.append("live")
        live_begun.set()
        assert live_go_on.wait(WAIT_S)

    with Backfill(client, EVERYTHING) as backfill:
        live = threading.Thread(target=lambda: client.pull(watch=hold_live))
        live.start()
        assert live_begun.wait(WAIT_S)
        backfill.go_on.set()
        waited = threading.Event()
        row = client.app.store.find_stream(NAME)
        assert row is not None
        waited.wait(0.5)  # long enough for several batches, were it not to wait
        assert client.app.store.active_lease(row, LIVE) is not None
        read_meanwhile = client.app.store.runs(row, 10)
        counts = {run.lane: run.counters.read for run in read_meanwhile if run.state is RunState.RUNNING}
        assert counts[EVERYTHING] == 10
        live_go_on.set()
        live.join(WAIT_S)
    assert backfill.results[0].state is RunState.SUCCEEDED, backfill.results[0].error
    assert client.final() == client.expected()


@needs("server")
def test_a_pull_is_not_starved_by_a_backfill_that_has_the_only_connection(client: Pulling) -> None:
    filled(client, limits=replace(LIMITS, connections=1, statement_timeout_s=5))
    client.succeed()
    client.insert((100, "new", ago(5)))
    results: list[RunResult] = []
    with Backfill(client, EVERYTHING) as backfill:
        live = threading.Thread(target=lambda: results.append(client.pull()))
        live.start()
        backfill.go_on.set()
        live.join(WAIT_S)
    assert results[0].state is RunState.SUCCEEDED, results[0].error
    assert backfill.results[0].state is RunState.SUCCEEDED, backfill.results[0].error
    assert client.final() == client.expected()


def test_two_backfills_of_one_range_don_t_run_at_once(client: Pulling) -> None:
    filled(client)
    with Backfill(client, EVERYTHING) as backfill:
        second = client.pull(lane=EVERYTHING)
        assert (second.state, second.exit_code) == (RunState.FAILED, 4)
    assert backfill.results[0].state is RunState.SUCCEEDED
    assert client.final() == client.expected()


def test_backfills_of_two_ranges_run_at_once(client: Pulling) -> None:
    filled(client)
    with Backfill(client, Range(at(1), at(30)).lane) as one:
        client.succeed(lane=Range(at(20), at(60)).lane)
    assert one.results[0].state is RunState.SUCCEEDED
    assert client.final() == client.expected()


def test_a_backfill_that_ends_with_now_leaves_out_what_comes_meanwhile(client: Pulling) -> None:
    filled(client, 30)
    client.clock(datetime.fromisoformat("2024-03-01 12:00:20"))
    client.succeed(lane=EVERYTHING)
    assert client.final() == client.expected("WHERE id <= 20")
