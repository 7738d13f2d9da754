"""How every store keeps runs, leases, watermarks and open pulls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from connector import clock
from connector.errors import ConfigError, LeaseHeld, LeaseLost, StoreError
from connector.model import Bound, Counters, Level, Marks, OpenPull, Position, RunState, Sighting, StreamId, Watermark
from connector.store import leases
from connector.store.intake import Intake
from connector.store.leases import Claim
from connector.store.processes import this_holder
from connector.store.state import StreamRow
from connector.store.store import Store
from connector.store.tables import DAEMON_LANE, DAEMON_STREAM
from tests.contract.stores import (
    CUSTOMERS,
    all_names,
    begin,
    commit,
    finish,
    names,
    pull_at,
    records,
    refused,
    watermark,
)

pytest_plugins = ["tests.contract.store_fixtures"]

EXPIRED = -1.0


def test_a_stream_is_registered_once(store: Store, row: StreamRow) -> None:
    assert store.stream(CUSTOMERS, "customer") == row
    assert store.find_stream(CUSTOMERS) == row
    assert store.find_stream(StreamId("acme", "nothing")) is None


def test_a_stream_cannot_change_its_entity(store: Store, row: StreamRow) -> None:
    with pytest.raises(ConfigError, match=r"acme/customers: .*'customer'.*new name"):
        store.stream(row.id, "receipt")


def test_a_renamed_stream_keeps_its_state_and_ledger(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "Ann"})
    store.finish_run(run, RunState.SUCCEEDED, Counters(), "exact", watermark=watermark("2024"))
    renamed = store.stream(StreamId("acme", "people"), "customer", renamed_from="customers")
    assert renamed.stream_id == row.stream_id
    assert store.watermark(renamed) == watermark("2024")
    assert commit(store, begin(store, renamed), {"a": "Ann"}).unchanged == 1
    assert [stream.row.id.name for stream in store.overview()] == ["people"]
    # `renamed_from` may stay in the file, and the former name may be used anew.
    assert store.stream(StreamId("acme", "people"), "customer", renamed_from="customers") == renamed
    anew = store.stream(CUSTOMERS, "customer")
    assert anew.stream_id != row.stream_id
    assert store.stream(StreamId("acme", "people"), "customer", renamed_from="customers") == renamed


def test_a_rename_that_was_told_after_a_first_failed_run_is_followed(store: Store, row: StreamRow) -> None:
    commit(store, begin(store, row), {"a": "Ann"})
    people = store.stream(StreamId("acme", "people"), "customer")
    failed = begin(store, people)
    with pytest.raises(ConfigError):
        store.stream(people.id, "customer", renamed_from="customers")  # the run is still going on
    store.finish_run(failed, RunState.FAILED, Counters(), "exact", error="two streams write one identity")
    renamed = store.stream(people.id, "customer", renamed_from="customers")
    assert renamed.stream_id == row.stream_id
    assert failed.run_id in [run.run_id for run in store.runs(renamed, 10)]


def test_a_rename_onto_a_stream_with_state_of_its_own_is_refused(store: Store, row: StreamRow) -> None:
    commit(store, begin(store, row), {"a": "Ann"})
    people = store.stream(StreamId("acme", "people"), "customer")
    run = begin(store, people)
    commit(store, run, {"b": "Bob"})
    finish(store, run)
    with pytest.raises(ConfigError, match="state of their own"):
        store.stream(people.id, "customer", renamed_from="customers")


def test_a_watermark_moves_with_the_end_of_its_run(store: Store, row: StreamRow) -> None:
    assert store.watermark(row) is None
    run = begin(store, row)
    intake = Intake(records({"a": "1"}), open_pull=pull_at("a"), read_order=store.next_read_order(run))
    store.commit_batch(run, intake)
    assert store.open_pull(row, "live") == pull_at("a")
    store.finish_run(
        run, RunState.SUCCEEDED, Counters(read=1), "exact", watermark=watermark("2024"), clear_open_pull=True
    )
    assert store.watermark(row) == watermark("2024")
    assert store.open_pull(row, "live") is None
    (stream,) = store.overview()
    assert (stream.watermark, stream.open_pulls, stream.leases) == (watermark("2024"), {}, {})


def test_a_stopped_run_leaves_its_open_pull(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    store.commit_batch(run, Intake(records({}), open_pull=pull_at("a")))
    store.finish_run(run, RunState.STOPPED, Counters(), "exact")
    assert store.open_pull(row, "live") == pull_at("a")
    run = begin(store, row)
    store.commit_batch(run, Intake(records({}), open_pull=None, watermark=watermark("2025")))
    assert store.open_pull(row, "live") is None
    assert store.watermark(row) == watermark("2025")


def test_only_the_live_lane_moves_the_watermark(store: Store, row: StreamRow) -> None:
    run = begin(store, row, "backfill:1..2")
    with pytest.raises(StoreError, match="lane"):
        store.commit_batch(run, Intake(records({"a": "1"}), watermark=watermark("2024")))
    assert (store.watermark(row), all_names(store, row)) == (None, {})


def test_every_part_of_watermark_and_open_pull_comes_back(store: Store, row: StreamRow) -> None:
    full = Watermark(
        Level.WINDOW,
        Marks("2024-01-01 00:00:00.1234567", "12345678901234567890", "7", "0x00000000000007D1", "99"),
        {"version": "8.0", "uuid": "Їжак"},
        Sighting(1, 2, 3, first=True),
    )
    pull = OpenPull(full, Bound("1"), Bound("2", inclusive=False), Position(None, ("a", "b")), True, 3, 4)
    run = begin(store, row)
    store.commit_batch(run, Intake(records({}), open_pull=pull, watermark=full))
    assert store.watermark(row) == full
    assert store.open_pull(row, "live") == pull


def test_a_lane_belongs_to_one_run_at_a_time_and_the_refusal_names_it(
    store: Store, row: StreamRow, open_store: Callable[..., Store]
) -> None:
    run = begin(store, row)
    holder = store.active_lease(row, "live")
    assert holder is not None
    with open_store() as other:
        for another in (store, other):
            with pytest.raises(LeaseHeld, match=rf"process {holder.pid} on {holder.host} since \d{{4}}"):
                begin(another, row)
        assert begin(other, row, "backfill:1..2").lane == "backfill:1..2"
    finish(store, run)
    assert store.active_lease(row, "live") is None
    assert begin(store, row).fence > run.fence


def test_an_expired_lease_may_be_taken_over_and_its_holder_can_commit_no_more(store: Store, row: StreamRow) -> None:
    late = begin(store, row, lease_s=EXPIRED)
    order = store.next_read_order(late)
    late_before = store.runs(row, 1)[0]
    assert late_before.state is RunState.RUNNING
    taker = begin(store, row)
    with pytest.raises(LeaseLost, match="acme/customers"):
        commit(store, late, {"a": "late"}, order)
    with pytest.raises(LeaseLost):
        store.next_read_order(late)
    with pytest.raises(LeaseLost):
        store.renew(late)
    with pytest.raises(LeaseLost):
        store.finish_run(late, RunState.SUCCEEDED, Counters(), "exact", watermark=watermark("2024"))
    with pytest.raises(LeaseLost):
        store.finish_run(late, RunState.SUCCEEDED, Counters(), "exact", clear_open_pull=True)
    assert store.watermark(row) is None
    assert store.runs(row, 2)[1].state is RunState.INTERRUPTED
    store.finish_run(late, RunState.FAILED, Counters(), "exact", error="lost", error_class="LeaseLost")
    assert store.runs(row, 2)[1].state is RunState.FAILED
    assert commit(store, taker, {"a": "taker"}).created == 1
    assert names(store, row, "a") == {"a": "taker"}
    lease = store.active_lease(row, "live")
    assert lease is not None
    assert lease.fence == taker.fence


def test_an_expired_lease_that_nobody_took_is_still_its_holders(store: Store, row: StreamRow) -> None:
    run = begin(store, row, lease_s=EXPIRED)
    assert commit(store, run, {"a": "1"}).created == 1


def test_snapshots_are_numbered_in_the_order_they_open(store: Store, row: StreamRow) -> None:
    live, backfill = begin(store, row), begin(store, row, "backfill:1..2")
    assert [store.next_read_order(run) for run in (live, backfill, live)] == [1, 2, 3]


def test_a_run_is_remembered_with_what_it_did(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "1"})
    commit(store, run, {"a": "2", "b": "1"})
    so_far = Counters(read=3, created=2, updated=1, batches=2)
    assert store.runs(row, 1)[0].counters == so_far
    store.finish_run(
        run, RunState.FAILED, so_far, "exact", error="the host is unknown", error_class="SourceUnavailable"
    )
    (done,) = store.runs(row, 5)
    assert (done.state, done.counters, done.level, done.kind) == (RunState.FAILED, so_far, "exact", "pull")
    assert (done.error, done.error_class) == ("the host is unknown", "SourceUnavailable")
    assert done.ended_at is not None
    assert done.ended_at >= done.started_at


def test_old_runs_are_forgotten_but_never_the_last_success(open_store: Callable[..., Store]) -> None:
    with open_store(runs_kept=3) as store:
        row = store.stream(CUSTOMERS, "customer")
        success = begin(store, row)
        finish(store, success)
        for _ in range(5):
            store.finish_run(begin(store, row), RunState.FAILED, Counters(), "exact")
        assert [run.run_id for run in store.runs(row, 100)] == [6, 5, 4, success.run_id]
        (stream,) = store.overview()
        assert stream.last_success is not None
        assert stream.last_success.run_id == success.run_id
        assert stream.last_run is not None
        assert stream.last_run.run_id == 6


def test_the_overview_shows_what_is_going_on(store: Store, row: StreamRow) -> None:
    begin(store, row, "backfill:1..2", lease_s=EXPIRED)
    run = begin(store, row)
    store.commit_batch(run, Intake(records({"a": "1"}), refused("b"), read=2, open_pull=pull_at("a")))
    (stream,) = store.overview()
    assert stream.row == row
    assert stream.open_pulls == {"live": pull_at("a")}
    assert list(stream.leases) == ["live"]
    assert (stream.records, stream.quarantined) == (1, 1)
    assert stream.last_run is not None
    assert (stream.last_run.run_id, stream.last_success) == (run.run_id, None)


def test_what_was_committed_is_there_when_the_store_is_opened_again(open_store: Callable[..., Store]) -> None:
    with open_store() as store:
        row = store.stream(CUSTOMERS, "customer")
        run = begin(store, row)
        commit(store, run, {"a": "1"})
        store.finish_run(run, RunState.SUCCEEDED, Counters(), "exact", watermark=watermark("2024"))
    with open_store() as store:
        assert store.find_stream(CUSTOMERS) == row
        assert all_names(store, row) == {"a": "1"}
        assert store.watermark(row) == watermark("2024")


def test_one_daemon_works_on_a_store(store: Store, open_store: Callable[..., Store]) -> None:
    with open_store() as other:
        refused_by_name = pytest.raises(StoreError, match=r"another daemon .* process \d+ on .* since")
        with store.hold_daemon(60.0), refused_by_name, other.hold_daemon(60.0):
            pass
        with other.hold_daemon(60.0) as lease:
            assert not lease.lost.is_set()


def test_a_daemon_whose_lease_was_taken_over_is_told(store: Store, open_store: Callable[..., Store]) -> None:
    with open_store() as other, store.hold_daemon(0.3) as lease:
        thief = Claim(DAEMON_STREAM, DAEMON_LANE, lease.fence + 1, "thief")
        with other._database.write() as conn:
            leases.take(conn, thief, this_holder(), clock.now().timestamp(), 60.0)
        assert lease.lost.wait(10)
    with other._database.read() as conn:  # leaving takes nothing from the new holder
        assert leases.last_fence(conn, DAEMON_STREAM, DAEMON_LANE) == thief.fence


def test_a_daemon_keeps_its_lease_by_renewing_it(store: Store, row: StreamRow) -> None:
    renewed = threading.Event()
    renew = leases.renew

    def told(*given: Any) -> None:
        renew(*given)
        renewed.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "renew", told)
        with store.hold_daemon(0.3) as lease:
            assert renewed.wait(10)
            assert not lease.lost.is_set()
