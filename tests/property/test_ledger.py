"""The ledger, of rows and sheets, against a dictionary."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.config.resolved import StoreSettings
from connector.model import Counters, StreamId
from connector.store import sheets
from connector.store.store import Store
from tests.contract.stores import all_names, begin, commit, names

NUMBERS = itertools.count()
FEW = st.integers(0, 40).map(str)
ALIKE = st.integers(0, 40).map(lambda number: f"customer-{number:012}")
DIGITS = st.integers(0, 10**12).map(str)
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
LONG = st.integers(60, 70).map(lambda length: "k" * length)
SAME_HEADS = st.builds("{}-the-same-{}".format, st.sampled_from("xy"), st.integers(0, 20))
KEYS = st.sampled_from([FEW, ALIKE, DIGITS, ANY, LONG, SAME_HEADS]).flatmap(
    lambda kind: st.dictionaries(st.one_of(kind, kind, kind, ANY), st.sampled_from(["Ann", "Bob", "Eve"]), max_size=30)
)


@st.composite
def batches(draw: st.DrawFn) -> list[dict[str, str]]:
    """Draw batches that know each other's keys."""
    found: list[dict[str, str]] = []
    for _ in range(draw(st.integers(1, 6))):
        batch = draw(KEYS)
        known = sorted({key for each in found for key in each})
        if known:
            batch |= draw(st.dictionaries(st.sampled_from(known), st.sampled_from(["Ann", "Bob"]), max_size=20))
        found.append(batch)
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(StoreSettings(tmp_path_factory.mktemp("ledger") / "store.db", min_free_bytes=0)) as store:
        yield store


@pytest.mark.parametrize("fewest, overlapping", [(1, 32), (3, 1), (10_000, 32)])
@settings(max_examples=60)
@given(batches())
@example([{"k" * 64: "Ann", "z": "Ann"}, {"k" * 65: "Ann"}])
def test_every_batch_is_told_what_a_dictionary_would_say(
    store: Store, fewest: int, overlapping: int, drawn: list[dict[str, str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sheets, "FEWEST", fewest)
        patch.setattr(sheets, "MOST_OVERLAPPING", overlapping)
        run = begin(store, store.stream(StreamId(f"client-{next(NUMBERS)}", "customers"), "customer"))
        known: dict[str, str] = {}
        for batch in drawn:
            assert commit(store, run, batch) == expected(known, batch)
            known |= batch
            assert names(store, run.row, *known, "nobody", "a\0b") == all_names(store, run.row) == known
        store.compact(run.row, min_dead_share=0)
        assert names(store, run.row, *known) == all_names(store, run.row) == known
        assert commit(store, run, known).unchanged == len(known)


def expected(known: dict[str, str], batch: dict[str, str]) -> Counters:
    created = len(batch.keys() - known.keys())
    unchanged = len(batch.items() & known.items())
    return Counters(
        read=len(batch),
        created=created,
        unchanged=unchanged,
        updated=len(batch) - created - unchanged,
        batches=1,
    )
