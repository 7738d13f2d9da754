"""The hole list's promise, held against simulated writers of ids and the rules that pulls really go by.

A row is owed when it becomes visible within the look-back after the first snapshot of a pull saw a higher id: that one
was taken later, so the row is later still, however long the pull was held up before it read either. Ids come from a
sequence, in ranges that allocators reserved, below zero or beyond 64 bits; they are rolled back and deleted; and pulls
are killed between batches and go on later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.config.resolved import Stream
from connector.model import Batch, Bound, Column, Kind, Level, OpenPull, Position, StreamId, Watermark
from connector.runs import lanes
from connector.source import horizon
from connector.source.dialect import TableFacts
from connector.source.holes import LIMIT, alive
from connector.source.horizon import Opening, Survey
from connector.source.layout import WATERMARK, Layout
from connector.source.select import Table
from connector.source.window import SECOND_US, Window

LOOK_BACK_S, LOOK_BACK_IDS = 900, 1_000
ID = Column("id", Kind.INTEGER, "bigint", nullable=False)
FACTS = TableFacts({"id": False}, (("id",),), (("id",),), view=False)
LAYOUT = Layout(
    Table(("t",)),
    (),
    {},
    ID,
    (ID,),
    None,
    (),
    Window(ID, ZoneInfo("UTC"), LOOK_BACK_S * SECOND_US, LOOK_BACK_IDS),
    watermark_nullable=False,
    facts=FACTS,
)
STREAM = Stream(StreamId("acme", "customers"), "customer", "id", "id", key=("id",))
READER: Any = SimpleNamespace(layout=LAYOUT)
SURVEY = Survey(Level.WINDOW)


@dataclass(frozen=True)
class Row:
    id: int
    visible_s: int
    gone_s: int = 2**40

    def visible(self, now_s: int) -> bool:
        return self.visible_s <= now_s < self.gone_s


@dataclass(frozen=True)
class Pull:
    """When a pull opens, its batches' size, and after how many of them it is killed, to go on at the next time."""

    at_s: int
    size: int
    killed_after: int | None


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    origin = draw(st.sampled_from((1, -30, -(2**63), 2**63 - 20, 2**64 - 2_000, 1_000_000)))
    found: dict[int, Row] = {}
    number, now_s = 0, 0
    for kind in draw(st.lists(st.sampled_from("sequence range jump rolled-back".split()), min_size=1, max_size=30)):
        now_s += draw(st.sampled_from((0, 1, 30, 300)))
        late_s = draw(st.sampled_from((0, 0, 5, 200, 800, 2_000)))
        if kind == "jump":
            number += draw(st.integers(1, 400))
            continue
        number += 1
        if kind == "rolled-back":
            continue
        gone_s = draw(st.sampled_from((2**40, 2**40, now_s + late_s + 100)))
        found[number] = Row(origin + number, now_s + late_s, gone_s)
        if kind == "range":  # an allocator hands out the rest of its range when it likes
            for offset in draw(st.sets(st.integers(1, 9), max_size=5)):
                later_s = now_s + draw(st.integers(0, 1_500))
                found[number + offset] = Row(origin + number + offset, later_s)
            number += 10
    return list(found.values())


@st.composite
def pulls(draw: st.DrawFn) -> list[Pull]:
    now_s, found = draw(st.integers(0, 500)), []
    for gap_s in draw(st.lists(st.sampled_from((1, 60, 400, 800, 1_500, 5_000)), min_size=1, max_size=12)):
        found.append(Pull(now_s, draw(st.integers(1, 6)), draw(st.sampled_from((None, None, 0, 1, 2)))))
        now_s += gap_s
    return found


class Simulation:
    """Pulls by the rules as they are, over rows as they stand at the time of each batch.

    `taken` are the ids read, `read` how many rows each pull read, `newest` when a first snapshot saw which newest id.
    """

    def __init__(self, rows: list[Row], pulls: list[Pull]) -> None:
        self.rows = sorted(rows, key=lambda row: row.id)
        self.stored: Watermark | None = None
        self.open: OpenPull | None = None
        self.taken: set[int] = set()
        self.newest: list[tuple[int, int]] = []
        self.read: list[int] = []
        self.most_holes = 0
        last_s = max([0, *(pull.at_s for pull in pulls), *(row.visible_s for row in rows)])
        ending = [Pull(last_s + minutes * 60, 5, None) for minutes in (1, 10, 20, 40, 60, 61, 62)]
        for pull in (*pulls, *ending):
            self.pull(pull)

    def pull(self, pull: Pull) -> None:
        at = self.open or self.begin(pull.at_s)
        self.read.append(0)
        batches = 0
        while pull.killed_after is None or batches < pull.killed_after:
            batch = self.batch(at, pull)
            at = lanes.advanced(at, batch)
            self.most_holes = max(self.most_holes, len(at.opened.holes or ()))
            if batch.last:
                self.stored, self.open = at.opened, None
                return
            self.open = at  # committed with its batch
            batches += 1

    def begin(self, now_s: int) -> OpenPull:
        """Go through the steps of `runs.lanes.begin_live`."""
        known = self.stored
        visible = [row.id for row in self.rows if row.visible(now_s)]
        newest = str(max(visible)) if visible else None
        self.newest += [(now_s, max(visible))] if visible else []
        lower = horizon.lower_bound(known, LAYOUT.window, SURVEY)
        opening = Opening(now_s * SECOND_US, newest)
        opened = horizon.conclude(known, opening, LAYOUT, SURVEY, by_id=True, lower=lower)
        upper = None if newest is None else Bound(newest)
        return lanes._by_ids(OpenPull(opened, lower, upper), known, READER, STREAM)

    def batch(self, at: OpenPull, pull: Pull) -> Batch:
        ids = [row.id for row in self.rows if row.visible(pull.at_s) and self.reaches(row.id, at)][: pull.size]
        self.read[-1] += len(ids)
        self.taken.update(ids)
        position = Position(str(ids[-1])) if ids else at.position
        frame = pl.DataFrame({WATERMARK: [str(id_) for id_ in ids]}, schema={WATERMARK: pl.String})
        return Batch(frame, {}, position, last=len(ids) < pull.size)

    def reaches(self, id_: int, at: OpenPull) -> bool:
        lower, upper, position = at.lower, at.upper, at.position
        if position is not None and position.watermark is not None and id_ <= int(position.watermark):
            return False
        if upper is not None and id_ > int(upper.value):
            return False
        above = lower is None or id_ > int(lower.value) or (lower.inclusive and id_ == int(lower.value))
        return above or any(hole.first <= id_ <= hole.last for hole in at.holes)

    def owed(self, row: Row) -> bool:
        """Say whether a row is promised: it stayed, and became visible in time after a higher one was seen."""
        above = [(now_s, newest) for now_s, newest in self.newest if newest > row.id]
        if row.gone_s < 2**40 or not above:
            return row.gone_s == 2**40
        seen_s, newest = above[0]
        too_low = above[0] == self.newest[0] and row.id < newest - LOOK_BACK_IDS
        return row.visible_s <= seen_s + LOOK_BACK_S and not too_low


@given(rows(), pulls())
@settings(max_examples=700, deadline=None)
def test_every_id_that_becomes_visible_within_the_look_back_is_read(rows: list[Row], pulls: list[Pull]) -> None:
    simulation = Simulation(rows, pulls)
    assert not [row for row in rows if row.id not in simulation.taken and simulation.owed(row)]


@given(rows(), pulls())
@settings(max_examples=300, deadline=None)
def test_a_quiet_table_costs_nothing_after_the_look_back(rows: list[Row], pulls: list[Pull]) -> None:
    simulation = Simulation(rows, pulls)
    assert simulation.read[-1] == 0
    assert simulation.stored is not None
    assert simulation.stored.sighting is not None
    read_us = simulation.stored.sighting.clock_us
    assert alive(simulation.stored.holes or (), read_us, LOOK_BACK_S * SECOND_US) == ()


@given(st.integers(-(2**63), 2**64), st.integers(2, 4), pulls())
@settings(max_examples=30, deadline=None)
def test_no_more_holes_are_kept_than_the_limit_and_none_is_lost_by_it(
    origin: int, every: int, pulls: list[Pull]
) -> None:
    """One row of a few comes late, or never: a joined hole must still hold those that do."""
    late = {number: 2**30 if number % 5 else 800 for number in range(every, 1_000, every)}
    rows = [Row(origin + number, 0) for number in range(1_000) if number not in late]
    rows += [Row(origin + number, late_s) for number, late_s in late.items() if late_s == 800]
    simulation = Simulation(rows, [Pull(0, 300, None), *(replace(pull, size=pull.size * 100) for pull in pulls)])
    assert len(late) > LIMIT
    assert simulation.most_holes <= LIMIT
    assert not [row for row in rows if row.id not in simulation.taken and simulation.owed(row)]
