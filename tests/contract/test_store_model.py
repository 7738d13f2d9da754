"""Hold every store to a dictionary: whatever is merged and compacted, the newest record of every key is there."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.model import StreamId
from connector.store.intake import Intake
from connector.store.store import Store
from tests.contract.stores import all_names, begin, names, records

pytest_plugins = ["tests.contract.store_fixtures"]

NUMBERS = itertools.count()

KEYS = st.sampled_from("abcdefgh")
BATCH = st.dictionaries(KEYS, st.sampled_from(["1", "2", "3", None]), max_size=6)
STEP = st.one_of(
    st.tuples(st.just("merge"), BATCH, st.integers(0, 3), st.sampled_from(["live", "backfill:1..2"])),
    st.tuples(st.just("compact"), st.sampled_from([0.0, 0.5]), st.none(), st.none()),
)


class Model:
    """Merge in the plainest way: key -> (name, read order)."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[str | None, int]] = {}

    def merge(self, batch: dict[str, str | None], order: int) -> tuple[int, int, int, int]:
        created = updated = unchanged = ignored = 0
        for key, name in batch.items():
            stored = self.stored.get(key)
            if stored is None:
                created += 1
            elif stored[1] > order:
                ignored += 1
                continue
            elif stored[0] == name:
                unchanged += 1
            else:
                updated += 1
            self.stored[key] = (name, order)
        return created, updated, unchanged, ignored

    def names(self) -> dict[str, str | None]:
        return {key: name for key, (name, _) in self.stored.items()}


# The store stays for all examples, because making one takes long; each example has a stream and a scope of its own.
@given(steps=st.lists(STEP, max_size=12))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_records_are_the_newest_of_every_live_key_after_any_merges_and_compactions(store: Store, steps: list) -> None:
    number = next(NUMBERS)
    row = store.stream(StreamId("acme", f"stream {number}"), f"entity {number}")
    lanes = {lane: begin(store, row, lane) for lane in ("live", "backfill:1..2")}
    orders = [store.next_read_order(lanes["live"]) for _ in range(4)]
    model = Model()
    for kind, what, order, lane in steps:
        if kind == "compact":
            store.compact(row, min_dead_share=what)
        else:
            batch = Intake(records(what), read=len(what), read_order=orders[order])
            done = store.commit_batch(lanes[lane], batch)
            assert (done.created, done.updated, done.unchanged, done.ignored) == model.merge(what, orders[order])
        assert names(store, row, *"abcdefgh") == model.names() == all_names(store, row)
    (stream,) = (found for found in store.overview() if found.row == row)
    assert stream.records == len(model.stored)
