"""The promise of the level bounded, alone and mixed with others, held against simulated writers, clocks and pulls.

A writer takes a stamp, writes its row within the slack, and stays open for as long as it likes. A pull sees what is
visible, and a bounded one also the lowest stamp of what is written and not yet visible, as far down as it has to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.model import Bound, Column, Kind, Level, Watermark
from connector.source import horizon, window
from connector.source.horizon import FIRST_LOOK_BACK_US, Opening, Reach, Sight, Survey
from connector.source.layout import Layout
from connector.source.select import Table
from connector.source.window import SECOND_US, Window

LOOK_BACK_S, SLACK_S, DAY_S = 900, 120, 86_400
KYIV = ZoneInfo("Europe/Kyiv")
BEGINNINGS = (
    datetime(2026, 6, 1, 9, 0, tzinfo=UTC),
    datetime(2026, 10, 24, 23, 30, tzinfo=UTC),  # an hour and a half before Kyiv's clocks go back
    datetime(2026, 3, 28, 23, 30, tzinfo=UTC),  # the same before they go forward
)
KINDS = (Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.DATE)
SURVEYS = {
    "bounded": Survey(Level.BOUNDED, versions="xid", bounds=True),
    "window": Survey(Level.WINDOW, versions="xid"),
    "exact": Survey(Level.EXACT, versions="xid"),
    "exact, bounds seen": Survey(Level.EXACT, versions="xid", bounds=True),
}


@dataclass(frozen=True)
class Row:
    """One transaction's row."""

    stamp: str
    stamped_s: int
    written_s: int
    visible_s: int


@dataclass(frozen=True)
class History:
    beginning: datetime
    kind: Kind
    rows: tuple[Row, ...]
    pulls: tuple[tuple[int, str], ...]  # when, and the level


def text(moment: datetime, kind: Kind) -> str:
    if kind is Kind.TIMESTAMPTZ:
        return moment.strftime("%Y-%m-%d %H:%M:%S+00")
    return moment.astimezone(KYIV).strftime("%Y-%m-%d" if kind is Kind.DATE else "%Y-%m-%d %H:%M:%S")


@st.composite
def histories(draw: st.DrawFn, *levels: str) -> History:
    beginning, kind = draw(st.sampled_from(BEGINNINGS)), draw(st.sampled_from(KINDS))
    skew_s = draw(st.sampled_from((0, 0, 0, -3 * 3600, -10 * 3600, 2 * 3600, -600, 45)))
    holds = st.one_of(st.integers(0, SLACK_S), st.integers(0, 2_000), st.integers(0, 2 * DAY_S))
    written = st.tuples(st.integers(0, 20_000), st.integers(0, SLACK_S), holds)
    rows = tuple(
        Row(text(beginning + timedelta(seconds=at_s + skew_s), kind), at_s, at_s + wait_s, at_s + wait_s + hold_s)
        for at_s, wait_s, hold_s in draw(st.lists(written, min_size=1, max_size=10))
    )
    now_s, pulls = draw(st.integers(0, 5_000)), []
    gaps = st.tuples(st.sampled_from((1, 60, 130, 400, 1_000, 5_000, 21_600)), st.sampled_from(levels))
    for gap_s, level in draw(st.lists(gaps, min_size=1, max_size=14)):
        pulls.append((now_s, level))
        now_s += gap_s
    last_s, ending = max([now_s, *(row.visible_s for row in rows)]), draw(st.sampled_from(levels))
    pulls += [(last_s + hours * 3_600, ending) for hours in (1, 2, 3, 30, 60, 90, 91, 92)]
    return History(beginning, kind, rows, tuple(pulls))


class Simulation:
    """Pulls of a history by the rules as they are; `taken` are the rows read, `read` how many each pull read.

    `unseen` are those in flight below what a first look for writers reaches back to.
    """

    def __init__(self, history: History) -> None:
        column = Column("u", history.kind, history.kind.value)
        span = Window(column, KYIV, LOOK_BACK_S * SECOND_US, 0, SLACK_S * SECOND_US)
        self.layout = Layout(Table(("t",)), (), {}, column, (), None, (), span, watermark_nullable=False)
        self.history = history
        self.rows = tuple(sorted(history.rows, key=lambda row: row.written_s))  # numbered by their first writes
        self.taken: set[Row] = set()
        self.unseen: set[Row] = set()
        self.read: list[int] = []
        self.stored: Watermark | None = None
        for now_s, level in history.pulls:
            self.pull(now_s, SURVEYS[level])

    def pull(self, now_s: int, survey: Survey) -> None:
        """Go through the steps of `runs.lanes.begin_live`, and read to the end."""
        known, span = self.stored, self.layout.window
        clock = self.history.beginning + timedelta(seconds=now_s)
        clock_us = window.micros(clock)
        lower = horizon.lower_bound(known, span, survey)
        visible = [row for row in self.rows if row.visible_s <= now_s]
        newest = max((row.stamp for row in visible if row.stamp <= text(clock, self.history.kind)), default=None)
        sight = self.sight(now_s, survey, self.looked_from(clock_us, lower))
        opening = Opening(clock_us, newest, None, sight)
        reach = horizon.reach(
            known, lower, survey, sight, span, clock_us=clock_us, sweep_us=0, spans=lambda _since, _ceiling: True
        )
        by_time = reach.since is None and not reach.everything
        begun = reach.lower if by_time else None
        opened = horizon.conclude(known, opening, self.layout, survey, by_id=False, lower=begun)
        if known is None or reach.everything:
            opened = horizon.swept(opened, survey, clock_us)
        found = [row for row in visible if self.reaches(row, reach)]
        self.taken.update(found)
        self.read.append(len(found))
        self.stored = opened

    def sight(self, now_s: int, survey: Survey, looked_from: str) -> Sight:
        """Return what a snapshot at this time shows of writers in flight."""
        begun = sum(row.written_s <= now_s for row in self.rows)
        in_flight = [i for i, row in enumerate(self.rows[:begun]) if row.visible_s > now_s]
        version, ceiling = str(min([begun, *in_flight])), str(begun)
        if not survey.bounds:
            return Sight(version, ceiling)
        now_us = window.micros(self.history.beginning + timedelta(seconds=now_s))
        texts = [self.rows[i].stamp for i in in_flight if self.rows[i].stamp >= looked_from]
        if not self.followed:
            self.unseen.update(self.rows[i] for i in in_flight if self.rows[i].stamp < looked_from)
        stamps = [window.read_stamp(each, self.layout.window) for each in texts]
        lows = [stamp.instant_us - stamp.ambiguous_us for stamp in stamps if stamp is not None]
        return Sight(version, ceiling, min([now_us, *lows]))

    @property
    def followed(self) -> bool:
        """Whether the last pull looked for writers in flight, so that this one looks from where it reads."""
        return self.stored is not None and self.stored.sighting is not None and self.stored.sighting.low_us is not None

    def looked_from(self, clock_us: int, lower: Bound | None) -> str:
        """Return from which stamp on a reader looks for writers in flight."""
        if self.followed and lower is not None:
            return lower.value
        like = window.read_stamp(text(self.history.beginning, self.history.kind), self.layout.window)
        return window.write_stamp(clock_us - FIRST_LOOK_BACK_US, self.layout.window, like)

    def reaches(self, row: Row, reach: Reach) -> bool:
        if reach.since is not None:
            return self.rows.index(row) >= int(reach.since)
        lower = reach.lower
        return lower is None or row.stamp > lower.value or (lower.inclusive and row.stamp == lower.value)


def lost(history: History) -> list[Row]:
    """Return the rows that were promised and not read.

    A pull that saw the writers in flight, or that can tell row versions, leaves nothing to time. After one that saw
    neither, a row is owed if the window's promise covers it: visible within the look-back, or before any that is
    stamped then or later, by the clock or by the column, whose local hour may come twice.
    """
    found = Simulation(history)

    def owed(row: Row) -> bool:
        first = next(i for i, (now_s, _) in enumerate(history.pulls) if now_s >= row.visible_s)
        seen = first > 0 and SURVEYS[history.pulls[first - 1][1]].bounds and row not in found.unseen
        if first == 0 or SURVEYS[history.pulls[first][1]].level.exact or seen:
            return True
        later = [other for other in history.rows if other.stamped_s >= row.stamped_s or other.stamp >= row.stamp]
        others = [other.visible_s for other in later if other is not row]
        in_time = row.visible_s <= row.stamped_s + LOOK_BACK_S
        return in_time or row.visible_s <= min(others, default=row.visible_s)

    return [row for row in history.rows if row not in found.taken and owed(row)]


def history(skew_s: int, rows: list[tuple[int, int, int]], *pulls: tuple[int, str]) -> History:
    """Write a history down: each row by when it is stamped, written and visible, each pull by when and how."""
    beginning, kind = BEGINNINGS[0], Kind.TIMESTAMP
    found = (Row(text(beginning + timedelta(seconds=row[0] + skew_s), kind), *row) for row in rows)
    return History(beginning, kind, tuple(found), pulls)


OLD_MARK_OF_A_SLOW_CLOCK = history(
    -600, [(30, 30, 30), (0, 100, 100), (150, 150, 150)], *((at_s, "bounded") for at_s in (40, 160, 400, 1_000, 9_000))
)
"""A first mark that looks old, a row written below it, and a newer one, all between two pulls."""
RIGHT_TAKEN_AWAY = history(
    0, [(0, 0, 0), (0, 0, 1_001)], (0, "bounded"), (1_000, "bounded"), *((at_s, "window") for at_s in (5_000, 9_000))
)
"""A writer that was seen in flight commits before a pull that can see none."""

RIGHT_GRANTED_EARLY = history(
    -10_800, [(0, 0, 0), (0, 0, 131)], (0, "bounded"), (130, "window"), *((at_s, "bounded") for at_s in (3_731, 9_000))
)
"""A first mark that looks old, and a window below it that was closed for now when writers came in sight."""


@given(histories("bounded"))
@example(OLD_MARK_OF_A_SLOW_CLOCK)
@settings(max_examples=1_000, deadline=None)
def test_no_row_is_lost_however_long_its_writer_stays_open(history: History) -> None:
    assert Simulation(history).taken == set(history.rows)


@given(histories(*SURVEYS))
@example(RIGHT_GRANTED_EARLY)
@settings(max_examples=1_000, deadline=None)
def test_every_row_that_is_owed_is_read_when_the_level_changes_from_pull_to_pull(history: History) -> None:
    assert not lost(history)


@given(histories("bounded", "window"))
@example(RIGHT_TAKEN_AWAY)
@settings(max_examples=1_000, deadline=None)
def test_every_row_that_is_owed_is_read_when_the_right_comes_and_goes(history: History) -> None:
    assert not lost(history)


@given(histories("bounded"))
@settings(max_examples=300, deadline=None)
def test_a_quiet_table_is_read_no_more(history: History) -> None:
    assert Simulation(history).read[-1] == 0
