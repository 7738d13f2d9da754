"""Different records have different fingerprints, whatever their texts hold."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from connector.core.fingerprint import fingerprint

TEXTS = st.one_of(st.none(), st.text(alphabet="a:n1\x1e\x1f\x00é", max_size=4), st.text(max_size=8))
ROWS = st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=30)


@given(ROWS)
def test_two_records_share_a_fingerprint_only_if_they_are_equal(rows: list[tuple[str | None, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys("abc", pl.String), orient="row")
    assert len(set(fingerprint(frame).to_list())) == len(set(rows))


@given(ROWS, st.permutations("abc"))
def test_a_fingerprint_depends_on_nothing_but_the_record(rows: list[tuple[str | None, ...]], order: list[str]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys("abc", pl.String), orient="row")
    together = fingerprint(frame).to_list()
    alone = [fingerprint(frame[n].select(order))[0] for n in range(frame.height)]
    assert alone == together


@given(st.lists(st.one_of(st.none(), st.floats()), min_size=1))
def test_floats_are_told_apart_to_the_last_bit(values: list[float | None]) -> None:
    prints = fingerprint(pl.DataFrame({"f": pl.Series(values, dtype=pl.Float64)})).to_list()
    assert len(set(prints)) == len({repr(value) for value in values})
