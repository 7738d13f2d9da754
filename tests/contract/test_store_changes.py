"""What every store makes of batches: ledger, change log, compaction."""

from __future__ import annotations

import polars as pl
import pytest

from connector.errors import KeyViolation
from connector.model import Counters, StreamId
from connector.store.intake import Intake
from connector.store.state import StreamRow
from connector.store.store import Store
from tests.contract.stores import all_names, begin, commit, finish, names, records

pytest_plugins = ["tests.contract.store_fixtures"]


def test_unseen_changed_and_equal_records_are_told_apart(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    assert commit(store, run, {"a": "Ann", "b": "Bob", "c": "Cid"}) == Counters(read=3, created=3, batches=1)
    done = commit(store, run, {"a": "Ann", "b": "Rob", "d": "Dan"})
    assert done == Counters(read=3, created=1, updated=1, unchanged=1, batches=1)
    assert all_names(store, row) == {"a": "Ann", "b": "Rob", "c": "Cid", "d": "Dan"}


def test_changes_come_in_the_order_of_commits_and_rows_in_the_order_of_the_batch(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"z": "1", "a": "2"})
    commit(store, run, {"y": "3", "z": "4", "a": "2", "b": "5"})
    first, second = store.changes(0)
    assert first.frame.rows() == [("create", "z", 0, "1"), ("create", "a", 1, "2")]
    assert second.frame.rows() == [("create", "y", 0, "3"), ("update", "z", 1, "4"), ("create", "b", 2, "5")]
    assert second.frame.columns == ["_op", "_key", "_row_no", "name"]
    assert (second.lane, second.run_id, second.stream_id) == ("live", run.run_id, row.stream_id)
    assert [segment.segment_id for segment in store.changes(first.segment_id)] == [second.segment_id]
    assert [segment.segment_id for segment in store.changes(0, limit_segments=1)] == [first.segment_id]


def test_a_batch_without_changes_leaves_no_segment(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "Ann"})
    commit(store, run, {"a": "Ann"})
    commit(store, run, {})
    assert len(list(store.changes(0))) == 1


def test_records_are_answered_in_the_order_of_the_question(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "Ann", "b": "Bob"})
    commit(store, run, {"c": "Cid", "a": "Eve"})
    assert store.records(row.scope_id, ["c", "nobody", "b", "a", "b"]).rows() == [
        ("c", "Cid"),
        ("b", "Bob"),
        ("a", "Eve"),
    ]
    assert store.records(row.scope_id, ["nobody"]).height == 0


def test_records_of_different_times_stand_side_by_side_though_their_fields_changed(
    store: Store, row: StreamRow
) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "Ann"})
    other = records({"b": "Bob"}).with_columns(pl.lit(7).alias("custom.points"))
    third = records({"c": "Cid"}).with_columns(pl.lit("many").alias("custom.points"))
    for frame in (other, third):
        store.commit_batch(run, Intake(frame, read_order=store.next_read_order(run)))
    found = store.records(row.scope_id, ["a", "b", "c"])
    assert found.rows() == [("a", "Ann", None), ("b", "Bob", "7"), ("c", "Cid", "many")]


@pytest.mark.parametrize(
    "key", ["o'brien", 'say "no"', "back\\slash", "\\u0000", "\t\x01\x1f", "", "1e3", "Київ 🙂", " "]
)
def test_identities_may_be_any_text(store: Store, row: StreamRow, key: str) -> None:
    run = begin(store, row)
    commit(store, run, {key: "Ann", f"{key}!": "other"})
    assert commit(store, run, {key: "Ann"}).unchanged == 1
    assert commit(store, run, {key: "Eve"}).updated == 1
    assert names(store, row, key) == {key: "Eve"}


def test_an_identity_with_a_nul_character_is_refused_rather_than_cut(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    with pytest.raises(KeyViolation, match="NUL"):
        commit(store, run, {"a\0b": "Ann"})
    assert all_names(store, row) == {}


@pytest.mark.parametrize("keys", [["a", "a"], ["a", None]])
def test_a_batch_whose_keys_are_no_keys_is_refused(store: Store, row: StreamRow, keys: list[str | None]) -> None:
    run = begin(store, row)
    frame = records({"a": "Ann", "b": "Bob"}).with_columns(pl.Series("_key", keys))
    with pytest.raises(KeyViolation):
        store.commit_batch(run, Intake(frame, read_order=1))


def test_two_streams_that_write_one_identity_stop_and_nothing_of_the_batch_is_kept(
    store: Store, row: StreamRow
) -> None:
    commit(store, begin(store, row), {"a": "Ann"})
    other = store.stream(StreamId("acme", "web_customers"), "customer")
    assert other.scope_id == row.scope_id
    run = begin(store, other)
    with pytest.raises(KeyViolation, match=r"acme/web_customers: .*'customers'.*renamed_from"):
        commit(store, run, {"x": "new", "a": "Ann"})
    assert names(store, row, "a", "x") == {"a": "Ann"}
    assert store.overview()[1].records == 0


def test_streams_of_different_entities_or_clients_may_share_identities(store: Store, row: StreamRow) -> None:
    commit(store, begin(store, row), {"a": "Ann"})
    for stream, entity in ((StreamId("acme", "receipts"), "receipt"), (StreamId("other", "customers"), "customer")):
        another = store.stream(stream, entity)
        assert commit(store, begin(store, another), {"a": "x"}).created == 1
    assert names(store, row, "a") == {"a": "Ann"}


def test_a_record_read_in_an_earlier_snapshot_is_ignored(store: Store, row: StreamRow) -> None:
    live, backfill = begin(store, row), begin(store, row, "backfill:1..2")
    early, late = store.next_read_order(backfill), store.next_read_order(live)
    commit(store, live, {"a": "new"}, late)
    done = commit(store, backfill, {"a": "old", "b": "Bob"}, early)
    assert (done.ignored, done.created) == (1, 1)
    assert names(store, row, "a", "b") == {"a": "new", "b": "Bob"}
    assert store.records(row.scope_id, ["a"]).height == 1


def test_a_record_seen_unchanged_is_not_replaced_by_what_an_earlier_snapshot_of_another_lane_saw(
    store: Store, row: StreamRow
) -> None:
    """The row went new -> old -> new; the backfill saw the middle, and commits last."""
    live = begin(store, row)
    commit(store, live, {"a": "new"})
    backfill = begin(store, row, "backfill:1..2")
    middle = store.next_read_order(backfill)
    assert commit(store, live, {"a": "new"}).unchanged == 1
    assert commit(store, backfill, {"a": "old"}, middle).ignored == 1
    assert names(store, row, "a") == {"a": "new"}


def test_compaction_keeps_the_newest_record_of_every_key(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "1", "b": "1", "c": "1"})
    commit(store, run, {"a": "2", "b": "2"})
    commit(store, run, {"a": "3"})
    before = all_names(store, row)
    report = store.compact(row, min_dead_share=0)
    assert (report.segments, report.rows) == (2, 3)
    assert all_names(store, row) == before == names(store, row, "a", "b", "c") == {"a": "3", "b": "2", "c": "1"}
    assert [segment.frame["_key"].to_list() for segment in store.changes(0)] == [["c"], ["b"], ["a"]]
    assert store.compact(None, min_dead_share=0).segments == 0


def test_a_segment_without_live_records_is_emptied(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "1"})
    commit(store, run, {"a": "2"})
    assert store.compact(row).rows == 1
    assert [segment.frame["name"].to_list() for segment in store.changes(0)] == [["2"]]


def test_compaction_leaves_other_streams_alone_when_one_is_named(store: Store, row: StreamRow) -> None:
    other = store.stream(StreamId("acme", "receipts"), "receipt")
    run = begin(store, other)
    commit(store, run, {"a": "1"})
    commit(store, run, {"a": "2"})
    assert store.compact(row).segments == 0
    assert store.compact(other).segments == 1


def test_iteration_sees_one_state_of_the_store_though_others_write(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "1", "b": "1"})
    commit(store, run, {"c": "1"})
    frames = store.iter_records(row)
    seen = next(frames).rows()
    commit(store, run, {"a": "2"})
    store.compact(row, min_dead_share=0)
    seen += [record for frame in frames for record in frame.rows()]
    assert sorted(seen) == [("a", "1"), ("b", "1"), ("c", "1")]


def test_iteration_stops_at_its_limit(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "1", "b": "1", "c": "1"})
    commit(store, run, {"d": "1", "e": "1"})
    found = [key for frame in store.iter_records(row, limit=3) for key in frame["_key"]]
    assert found == ["d", "e", "a"]


def test_the_overview_counts_live_records(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "1", "b": "1"})
    commit(store, run, {"a": "2", "c": "1"})
    assert store.overview()[0].records == 3
    store.compact(row, min_dead_share=0)
    assert store.overview()[0].records == 3
    finish(store, run)
