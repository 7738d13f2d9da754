"""The window level's promise, held against simulated writers, clocks and pulls.

A row is owed when it becomes visible within the look-back of when it was written, or before any that was written then
or later. Whatever the column's clock is off by, whenever pulls come, each row that is owed must be read in the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.model import Bound, Column, Kind, Watermark
from connector.source import window
from connector.source.window import Window

LOOK_BACK_S = 900
KYIV = ZoneInfo("Europe/Kyiv")
BEGINNINGS = (
    datetime(2026, 6, 1, 9, 0, tzinfo=UTC),
    datetime(2026, 10, 24, 23, 30, tzinfo=UTC),  # an hour and a half before Kyiv's clocks go back
    datetime(2026, 3, 28, 23, 30, tzinfo=UTC),  # the same before they go forward
)


@dataclass(frozen=True)
class Row:
    stamp: str
    written_s: int
    visible_s: int


@st.composite
def histories(draw: st.DrawFn) -> tuple[datetime, Kind, list[Row], list[int]]:
    """Return a beginning, the column's kind, rows, and the seconds at which pulls open."""
    beginning = draw(st.sampled_from(BEGINNINGS))
    kind = draw(st.sampled_from((Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.DATE)))
    skew_s = draw(st.sampled_from((0, 0, -3 * 3600, -10 * 3600, 2 * 3600, -600, 45)))
    rows = []
    writes = draw(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 1_000)), min_size=1, max_size=12))
    for written_s, held_s in writes:
        rows.append(Row(stamp(beginning + timedelta(seconds=written_s + skew_s), kind), written_s, written_s + held_s))
    gaps = draw(st.lists(st.sampled_from((1, 60, 400, 1_000, 5_000, 21_600)), min_size=1, max_size=14))
    pulls, now_s = [], draw(st.integers(0, 5_000))
    for gap_s in gaps:
        pulls.append(now_s)
        now_s += gap_s
    return beginning, kind, rows, pulls


def stamp(moment: datetime, kind: Kind) -> str:
    if kind is Kind.TIMESTAMPTZ:
        return moment.strftime("%Y-%m-%d %H:%M:%S+00")
    local = moment.astimezone(KYIV)
    return local.strftime("%Y-%m-%d" if kind is Kind.DATE else "%Y-%m-%d %H:%M:%S")


def owed(row: Row, rows: list[Row]) -> bool:
    """Say whether the promise covers a row: visible in time, or before any that was written then or later."""
    others = [other.visible_s for other in rows if other is not row and other.written_s >= row.written_s]
    return row.visible_s <= row.written_s + LOOK_BACK_S or row.visible_s <= min(others, default=row.visible_s)


def simulate(beginning: datetime, kind: Kind, rows: list[Row], pulls: list[int]) -> tuple[set[int], list[int]]:
    """Pull at each time, then until two days have passed; return the rows read, and how many each pull read."""
    span = Window(Column("u", kind, kind.value), KYIV, LOOK_BACK_S * 1_000_000, 0)
    watermark: Watermark | None = None
    taken: set[int] = set()
    read: list[int] = []
    last_s = max([*pulls, *(row.visible_s for row in rows)])
    for now_s in (*pulls, *(last_s + hours * 3_600 for hours in (1, 2, 3, 30, 60, 90, 91, 92))):
        clock = beginning + timedelta(seconds=now_s)
        clock_us = window.micros(clock)
        visible = [index for index, row in enumerate(rows) if row.visible_s <= now_s]
        lower = window.lower_bound(watermark, span)
        found = [index for index in visible if reaches(rows[index].stamp, lower)]
        below = [rows[index].stamp for index in visible if rows[index].stamp <= stamp(clock, kind)]
        watermark = window.conclude(
            watermark, max(below, default=None), clock_us, span, lower=lower, basis="t", by="timestamp"
        )
        taken.update(found)
        read.append(len(found))
    return taken, read


def reaches(value: str, lower: Bound | None) -> bool:
    return lower is None or value > lower.value or (lower.inclusive and value == lower.value)


@given(histories())
@settings(max_examples=1_500, deadline=None)
def test_every_row_that_is_owed_is_read(history: tuple[datetime, Kind, list[Row], list[int]]) -> None:
    beginning, kind, rows, pulls = history
    taken, _ = simulate(beginning, kind, rows, pulls)
    lost = [row for index, row in enumerate(rows) if index not in taken and owed(row, rows)]
    assert not lost


@given(histories())
@settings(max_examples=500, deadline=None)
def test_a_quiet_table_is_read_no_more(history: tuple[datetime, Kind, list[Row], list[int]]) -> None:
    beginning, kind, rows, pulls = history
    _, read = simulate(beginning, kind, rows, pulls)
    assert read[-1] == 0
