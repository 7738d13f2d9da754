"""How every store counts the lateness of new versions."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from connector.model import Counters, StreamId
from connector.store.intake import LATE, Intake
from connector.store.lateness import Lateness
from connector.store.runs import Run
from connector.store.state import StreamRow
from connector.store.store import Store
from tests.contract.stores import all_names, begin, commit, finish, records

pytest_plugins = ["tests.contract.store_fixtures"]

HOUR_US = 3_600_000_000
LONGEST_US = 2**63 - 1


def late(store: Store, run: Run, times_us: Mapping[str, int | None], name: str = "1") -> Counters:
    """Commit a record for each key, that late."""
    frame = records(dict.fromkeys(times_us, name)).with_columns(pl.Series(LATE, [*times_us.values()], dtype=pl.Int64))
    return store.commit_batch(run, Intake(frame, read=frame.height, read_order=store.next_read_order(run)))


def test_new_versions_are_counted_with_the_greatest_and_the_percentiles(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    on_time = {f"on time {number}": -number for number in range(97)}
    done = late(store, run, {**on_time, "a": 1, "b": 3_000_000, "c": HOUR_US, "unknown": None})
    assert done.late_us == HOUR_US
    assert store.lateness(row) == Lateness(rows=100, late=3, p50_us=0, p99_us=3_000_000, max_us=HOUR_US)
    assert late(store, run, {"d": 2_900_000}).late_us == 2_900_000
    assert store.lateness(row) == Lateness(rows=101, late=4, p50_us=0, p99_us=3_000_000, max_us=HOUR_US)


def test_only_what_is_created_or_updated_counts(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    late(store, run, {"a": 0, "b": 0})
    assert late(store, run, {"a": 7, "b": 9}).late_us == 0
    assert store.lateness(row) == Lateness(2, 0, 0, 0, 0)
    assert late(store, run, {"a": 7, "c": 4}, name="2").late_us == 7
    frame = records({"a": "2", "b": "3", "c": "2"}).with_columns(pl.Series(LATE, [500, 5, 500]))
    assert store.commit_batch(run, Intake(frame, read_order=store.next_read_order(run))).late_us == 5
    found = store.lateness(row)
    assert found is not None
    assert (found.rows, found.late, found.max_us) == (5, 3, 7)


def test_what_is_not_known_is_not_counted(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    commit(store, run, {"a": "1"})
    assert late(store, run, {"b": None, "c": None}).late_us == 0
    assert store.lateness(row) is None
    assert store.overview()[0].lateness is None


def test_a_backfill_finds_nothing_late(store: Store, row: StreamRow) -> None:
    assert late(store, begin(store, row, "backfill:1..2"), {"a": HOUR_US}).late_us == 0
    assert store.lateness(row) is None


def test_lateness_is_part_of_no_record_and_no_change(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    late(store, run, {"a": 5, "b": None})
    (segment,) = store.changes(0)
    assert segment.frame.columns == ["_op", "_key", "_row_no", "name"]
    assert store.records(row.scope_id, ["a"]).columns == ["_key", "name"]
    assert all_names(store, row) == {"a": "1", "b": "1"}


def test_each_stream_has_its_own_and_keeps_it_under_a_new_name(store: Store, row: StreamRow) -> None:
    other = store.stream(StreamId("acme", "receipts"), "receipt")
    run = begin(store, row)
    late(store, run, {"a": 5})
    late(store, begin(store, other), {"a": 0})
    assert [each.lateness for each in store.overview()] == [Lateness(1, 1, 5, 5, 5), Lateness(1, 0, 0, 0, 0)]
    finish(store, run)
    renamed = store.stream(StreamId("acme", "people"), "customer", renamed_from="customers")
    assert store.lateness(renamed) == Lateness(1, 1, 5, 5, 5)


def test_a_run_shows_the_greatest_lateness_of_its_batches(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    done = Counters()
    for key, time_us in {"a": 5, "b": 9, "c": -3}.items():
        done += late(store, run, {key: time_us})
    assert done.late_us == 9
    assert store.runs(row, 1)[0].counters == done


def test_a_batch_on_time_costs_one_statement_and_one_without_knowledge_none(store: Store, row: StreamRow) -> None:
    run = begin(store, row)
    writer = store._database._writer  # type: ignore[attr-defined]  # every store that has a writing engine names it so
    seen: list[str] = []
    event.listen(writer, "before_cursor_execute", lambda *given: seen.append(given[2]))
    commit(store, run, {"a": "1"})
    late(store, run, {"a": 1, "b": None})
    late(store, run, {})
    assert not [text for text in seen if "lateness" in text]
    late(store, run, {str(number): -number for number in range(1000)})
    assert len([text for text in seen if "lateness" in text]) == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, LONGEST_US) | st.integers(0, 10**8) | st.just(0), min_size=1, max_size=150))
def test_a_percentile_is_never_too_low_nor_twice_too_high(store: Store, times_us: list[int]) -> None:
    row = store.stream(StreamId("acme", f"stream {len(store.overview())}"), "customer")
    run = begin(store, row)
    late(store, run, {f"{row.stream_id} {number}": time_us for number, time_us in enumerate(times_us)})
    found = store.lateness(row)
    assert found is not None
    assert (found.rows, found.max_us) == (len(times_us), max(times_us))
    assert found.late == sum(time_us > 0 for time_us in times_us)
    for answer, percent in ((found.p50_us, 50), (found.p99_us, 99)):
        true = sorted(times_us)[-(-len(times_us) * percent // 100) - 1]
        assert true <= answer <= max(0, 2 * true - 1)
        assert answer in times_us
