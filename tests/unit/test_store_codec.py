"""JSON of what the store keeps as text."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.model import Counters, Level, Marks, OpenPull, Watermark
from connector.store import codec


@settings(deadline=None)  # building the strategies counts, and takes long on a busy machine
@given(st.builds(Watermark))
def test_watermarks_come_back(watermark: Watermark) -> None:
    assert codec.load_watermark(codec.dump(watermark)) == watermark


@settings(deadline=None)  # building the strategies counts, and takes long on a busy machine
@given(st.builds(OpenPull))
def test_open_pulls_come_back(open_pull: OpenPull) -> None:
    assert codec.load_open_pull(codec.dump(open_pull)) == open_pull


@settings(deadline=None)  # building the strategies counts, and takes long on a busy machine
@given(st.builds(Counters))
def test_counters_come_back(counters: Counters) -> None:
    assert codec.load_counters(codec.dump(counters)) == counters


def test_keys_of_a_newer_program_are_skipped() -> None:
    watermark = Watermark(Level.EXACT, Marks(time="2024"))
    newer = json.loads(codec.dump(watermark))
    newer |= {"hint": "x"}
    newer["marks"] |= {"lsn": "0/16B3748"}
    assert codec.load_watermark(json.dumps(newer)) == watermark


def test_keys_that_an_older_program_did_not_write_have_their_defaults() -> None:
    assert codec.load_watermark('{"level": "exact", "marks": {}}') == Watermark(Level.EXACT, Marks())
    assert codec.load_counters('{"read": 3}') == Counters(read=3)
