"""What every store makes of refused rows."""

from __future__ import annotations

import polars as pl

from connector.model import StreamId
from connector.store.intake import Intake
from connector.store.runs import Run
from connector.store.state import StreamRow
from connector.store.store import Store
from tests.contract.stores import begin, commit, records, refused

pytest_plugins = ["tests.contract.store_fixtures"]


def _refuse(store: Store, run: Run, *keys: str, rule: str = "not_an_email", read_order: int | None = None) -> int:
    order = store.next_read_order(run) if read_order is None else read_order
    intake = Intake(records({}), refused(*keys, rule=rule), read=len(keys), read_order=order)
    return store.commit_batch(run, intake).refused


def test_a_refused_row_is_kept_with_its_reason(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    assert _refuse(store, run, "a", "b") == 2
    assert store.quarantine_count(row) == 2
    entry, _ = store.quarantine_entries(row, 10)
    assert (entry.row_key, entry.field, entry.rule, entry.row) == ("row a", "email", "not_an_email", '{"id":"a"}')
    assert (entry.times, entry.run_id) == (1, run.run_id)


def test_a_row_refused_again_renews_its_entry(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    _refuse(store, run, "a")
    first = store.quarantine_entries(row, 1)[0]
    _refuse(store, run, "a", rule="required")
    (again,) = store.quarantine_entries(row, 10)
    assert (again.times, again.rule, again.first_at) == (2, "required", first.first_at)
    assert again.last_at >= first.last_at


def test_an_accepted_row_closes_its_entry_even_when_its_record_is_unchanged(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "Ann"})
    _refuse(store, run, "a", "b", "c")
    assert commit(store, run, {"a": "Ann", "b": "Bob"}).unchanged == 1
    assert [entry.row_key for entry in store.quarantine_entries(row, 10)] == ["row c"]


def test_what_an_earlier_snapshot_saw_neither_closes_nor_replaces_an_entry(store: Store, row: StreamRow) -> None:
    live, backfill = begin(store, row), begin(store, row, "backfill:1..2")
    early = store.next_read_order(backfill)
    _refuse(store, live, "a", rule="required")
    commit(store, backfill, {"a": "Ann"}, early)
    _refuse(store, backfill, "a", read_order=early)
    (entry,) = store.quarantine_entries(row, 10)
    assert (entry.rule, entry.times) == ("required", 1)


def test_entries_of_row_keys_with_nul_characters_are_kept_apart(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    _refuse(store, run, "a", "a\0b")
    frame = records({"z": "x"}).with_columns(_row_key=pl.lit("row a\0b"))
    store.commit_batch(run, Intake(frame, read_order=store.next_read_order(run)))
    assert [entry.row_key for entry in store.quarantine_entries(row, 10)] == ["row a"]


def test_streams_have_quarantines_of_their_own(store: Store, row: StreamRow) -> None:
    _refuse(store, begin(store, row), "a")
    other = store.stream(StreamId("acme", "receipts"), "receipt")
    commit(store, begin(store, other), {"a": "x"})
    assert (store.quarantine_count(row), store.quarantine_count(other)) == (1, 0)
    assert [stream.quarantined for stream in store.overview()] == [1, 0]
