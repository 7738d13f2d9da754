"""The horizon's common rules, one by one; `tests/property/test_bounded.py` holds their sum against writers."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from connector.model import Bound, Column, Hole, Kind, Level, Marks, Sighting, Sweep, Watermark
from connector.source import horizon
from connector.source.horizon import MOST_LOOK_BACK_US, Opening, Reach, Sight, Survey
from connector.source.layout import Layout
from connector.source.select import Table
from connector.source.window import DAY_US, HOUR_US, SECOND_US, Window, parse_clock

MINUTE_US = 60 * SECOND_US
EXACT = Survey(Level.EXACT, {"system": "7"}, versions="xid")
FLOORED = Survey(Level.EXACT_WITHIN, {"system": "7"}, versions="xid", floored=True)
BOUNDED = Survey(Level.BOUNDED, {"system": "7"}, bounds=True)
WINDOW = Survey(Level.WINDOW, {"system": "7"}, why="nothing is shown")


def window(kind: Kind = Kind.TIMESTAMP, zone: str = "UTC") -> Window:
    return Window(Column("u", kind, kind.value), ZoneInfo(zone), 15 * MINUTE_US, 100, 2 * MINUTE_US)


def layout(kind: Kind = Kind.TIMESTAMP, zone: str = "UTC") -> Layout:
    span = window(kind, zone)
    return Layout(Table(("t",)), (), {}, span.column, (), None, (), span, watermark_nullable=False)


def clock(text: str) -> int:
    return parse_clock(f"2024-{text}")


def stored(mark: str | None = "2024-03-01 11:59:00", at: str = "03-01 12:00:00", low: str | None = None) -> Watermark:
    """Return marks of a pull that opened at a time; `low` is the lowest stamp in flight, None when it was not seen."""
    opened_us = clock(at)
    low_us = None if low is None else clock(low)
    sighting = Sighting(opened_us, opened_us, opened_us, MINUTE_US, first=False, low_us=low_us)
    return Watermark(Level.WINDOW, Marks(time=mark), sighting=sighting, basis=layout().basis)


# -- where a pull in the order of the watermark begins


def test_nothing_known_has_no_lower_bound() -> None:
    assert horizon.lower_bound(None, window(), BOUNDED) is None


def test_a_table_that_was_empty_has_no_lower_bound() -> None:
    assert horizon.lower_bound(stored(None, low="03-01 12:00:00"), window(), BOUNDED) is None


def test_a_window_reaches_back_by_the_look_back() -> None:
    assert horizon.lower_bound(stored(), window(), WINDOW) == Bound("2024-03-01 11:44:00")


def test_a_look_back_that_grew_is_the_one_that_counts() -> None:
    grown = replace(stored(), look_back_us=HOUR_US)
    assert horizon.lower_bound(grown, window(), WINDOW) == Bound("2024-03-01 10:59:00")


def test_a_configured_look_back_that_is_longer_than_the_grown_one_counts() -> None:
    assert horizon.effective(window(), replace(stored(), look_back_us=MINUTE_US)).look_back_us == 15 * MINUTE_US


def test_without_writers_in_flight_a_bounded_pull_reaches_back_by_the_slack() -> None:
    assert horizon.lower_bound(stored(low="03-01 12:00:00"), window(), BOUNDED) == Bound("2024-03-01 11:57:00")


def test_a_writer_in_flight_holds_the_bound_at_its_stamp_less_the_slack() -> None:
    """And less the unit of the stamps: a stamp in whole seconds may have been cut down to its second."""
    found = horizon.lower_bound(stored(low="02-27 09:00:00"), window(), BOUNDED)
    assert found == Bound("2024-02-27 08:57:59")


def test_a_writer_in_flight_holds_even_a_window_that_is_closed() -> None:
    long_ago = stored("2024-01-01 00:00:00", low="01-01 00:00:00")
    assert horizon.lower_bound(long_ago, window(), BOUNDED) == Bound("2023-12-31 23:57:59")


def test_a_quiet_table_is_read_above_its_mark_only() -> None:
    quiet = stored("2024-01-01 00:00:00", low="03-01 12:00:00")
    assert horizon.lower_bound(quiet, window(), BOUNDED) == Bound("2024-01-01 00:00:00", inclusive=False)


def test_a_pull_after_one_that_saw_no_writers_reaches_back_by_the_look_back() -> None:
    assert horizon.lower_bound(stored(low=None), window(), BOUNDED) == Bound("2024-03-01 11:44:00")


def test_a_pull_that_sees_no_writers_still_goes_by_what_the_last_one_saw() -> None:
    assert horizon.lower_bound(stored(low="02-27 09:00:00"), window(), WINDOW) == Bound("2024-02-27 08:57:59")
    assert horizon.lower_bound(stored(low="03-01 12:00:00"), window(), WINDOW) == Bound("2024-03-01 11:44:00")


def test_a_bound_in_local_time_reaches_over_the_hour_that_comes_twice() -> None:
    """27 October 2024, 01:00 UTC: Kyiv's clocks go back from 04:00 to 03:00."""
    known = stored("2024-10-27 03:40:00", "10-27 01:45:00", low="10-27 00:30:00")
    assert horizon.lower_bound(known, window(zone="Europe/Kyiv"), BOUNDED) == Bound("2024-10-27 02:27:59")


def test_a_bound_of_a_date_column_is_a_day_lower_than_the_writer() -> None:
    known = stored("2024-03-01", low="02-27 09:00:00")
    assert horizon.lower_bound(known, window(Kind.DATE), BOUNDED) == Bound("2024-02-26")


def test_a_mark_that_no_calendar_holds_is_read_from_as_it_stands() -> None:
    for mark in ("0000-00-00 00:00:00", "-infinity"):
        known = stored(mark, low="02-27 09:00:00")
        assert horizon.lower_bound(known, window(), BOUNDED) == Bound(mark)


# -- what a pull reads


def reached(
    known: Watermark | None,
    survey: Survey = EXACT,
    *,
    ceiling: str | None = "900",
    lower: Bound | None = None,
    at: str = "03-01 13:00:00",
    spans: bool = True,
) -> Reach:
    sight = Sight("800", ceiling)
    return horizon.reach(
        known, lower, survey, sight, window(), clock_us=clock(at), sweep_us=DAY_US, spans=lambda *_: spans
    )


def versioned(xid: str | None = "500", swept: str | None = "500", at: str = "03-01 12:00:00") -> Watermark:
    known = stored(at=at)
    sweep = None if swept is None else Sweep(swept, clock("03-01 12:00:00"))
    return replace(known, marks=replace(known.marks, xid=xid), swept=sweep)


def test_a_first_pull_reads_from_its_lower_bound() -> None:
    assert reached(None, lower=Bound("2020-01-01")) == Reach(Bound("2020-01-01"))


def test_an_exact_pull_reads_the_versions_since_its_mark_whatever_their_stamps() -> None:
    assert reached(versioned(), lower=Bound("2024-03-01 11:57:00")) == Reach(None, "500", everything=True)


def test_an_exact_pull_goes_on_from_the_last_look_at_every_row() -> None:
    """Between them lay pulls at lower levels, which may have missed what this one can tell."""
    assert reached(versioned("500", swept="300")).since == "300"


def test_a_pull_without_a_version_mark_reads_by_time() -> None:
    assert reached(versioned(xid=None), lower=Bound("2024-03-01 11:44:00")) == Reach(Bound("2024-03-01 11:44:00"))


@pytest.mark.parametrize("survey", [BOUNDED, WINDOW])
def test_a_lower_level_reads_by_time_whatever_version_marks_there_are(survey: Survey) -> None:
    survey = replace(survey, versions="xid")
    assert reached(versioned(), survey, lower=Bound("2024-03-01 11:44:00")) == Reach(Bound("2024-03-01 11:44:00"))


def test_a_snapshot_without_an_edge_reads_by_time() -> None:
    assert reached(versioned(), ceiling=None, lower=Bound("2024-03-01")) == Reach(Bound("2024-03-01"))


def test_versions_too_far_apart_to_be_told_are_all_read() -> None:
    assert reached(versioned(), spans=False) == Reach(None, None, everything=True)


def test_a_stream_with_a_start_leaves_out_what_lies_below_it() -> None:
    known = replace(versioned(), start="2024-01-01 00:00:00")
    assert reached(known) == Reach(Bound("2024-01-01 00:00:00"), "500", everything=True)


def test_a_large_table_is_looked_at_above_a_floor_between_sweeps() -> None:
    """A day and two hours below the last pull's newest value, and a unit for stamps cut to their second."""
    assert reached(versioned("600", "500"), FLOORED) == Reach(Bound("2024-02-29 09:58:59"), "600")


def test_a_floor_is_never_above_the_last_pull() -> None:
    """A mark above the clock, as after a correction of the clock, would lift the floor over rows."""
    ahead = replace(versioned("600", "500"), marks=Marks(time="2024-03-02 12:00:00", xid="600"))
    assert reached(ahead, FLOORED).lower == Bound("2024-02-29 09:59:59")


def test_a_floor_is_never_below_the_start() -> None:
    known = replace(versioned("600", "500"), start="2024-02-29 20:00:00")
    assert reached(known, FLOORED) == Reach(Bound("2024-02-29 20:00:00"), "600")


@pytest.mark.parametrize("at, everything", [("03-02 11:59:59", False), ("03-02 12:00:00", True)])
def test_a_sweep_is_due_after_its_interval(at: str, everything: bool) -> None:
    assert reached(versioned("600", "500"), FLOORED, at=at).everything is everything


def test_a_sweep_reads_all_versions_since_the_last_one() -> None:
    assert reached(versioned("600", "500"), FLOORED, at="03-03 12:00:00") == Reach(None, "500", everything=True)


def test_a_large_table_that_was_never_swept_is_swept_at_once() -> None:
    assert reached(versioned("600", swept=None), FLOORED) == Reach(None, "600", everything=True)


# -- how a look-back grows


@pytest.mark.parametrize(
    "late_min, minutes", [(0, 0), (7.5, 0), (12, 0), (12.001, 30), (14.9, 30), (15, 30)], ids=lambda value: f"{value}"
)
def test_a_row_later_than_four_fifths_of_the_look_back_doubles_it(late_min: float, minutes: int) -> None:
    assert horizon.grown(window(), None, round(late_min * MINUTE_US)) == minutes * MINUTE_US


def test_a_look_back_that_grew_stays_when_nothing_is_late_and_grows_on_from_there() -> None:
    known = replace(stored(), look_back_us=HOUR_US)
    assert horizon.grown(window(), known, 14 * MINUTE_US) == HOUR_US
    assert horizon.grown(window(), known, 50 * MINUTE_US) == 2 * HOUR_US


def test_a_look_back_never_grows_beyond_a_week() -> None:
    for days in (4, 7):
        known = replace(stored(), look_back_us=days * DAY_US)
        assert horizon.grown(window(), known, days * DAY_US) == MOST_LOOK_BACK_US == 7 * DAY_US


@pytest.mark.parametrize("days", [7, 10])
def test_a_look_back_that_is_configured_longer_than_a_week_is_left_as_it_is(days: int) -> None:
    wide = replace(window(), look_back_us=days * DAY_US)
    assert horizon.grown(wide, None, days * DAY_US) == 0
    assert horizon.effective(wide, None).look_back_us == days * DAY_US


# -- whose marks


def test_another_value_of_what_names_a_server_is_another_server() -> None:
    known = replace(stored(), server={"system": "7", "timeline": "1"})
    assert horizon.other_server(known, Survey(Level.WINDOW, {"system": "8", "timeline": "1"})) == "system"
    assert horizon.other_server(known, Survey(Level.WINDOW, {"system": "7", "timeline": "2"})) == "timeline"
    assert horizon.other_server(known, Survey(Level.WINDOW, {"system": "7", "timeline": "1"})) is None


def test_what_only_one_side_knows_of_a_server_shows_nothing() -> None:
    """A right that was granted or taken away hides or shows a name."""
    known = replace(stored(), server={"system": "7", "timeline": "1"})
    assert horizon.other_server(known, Survey(Level.WINDOW, {"system": "7"})) is None
    assert horizon.other_server(replace(known, server={}), Survey(Level.WINDOW, {"system": "7"})) is None


@pytest.mark.parametrize(
    "newest, started, anew",
    [
        ("2024-02-01 00:00:00", "9000", True),  # the newest value went back, and the server was started since
        (None, "9000", True),  # it is empty now
        ("2024-02-01 00:00:00", "1000", False),  # rows were deleted
        ("2024-02-01 00:00:00", "1050", False),  # the same start, read off a clock that is rounded
        ("2024-03-01 11:59:00", "9000", False),  # started since, and nothing is missing
        ("2024-03-02 00:00:00", "9000", False),
    ],
)
def test_a_server_was_set_up_anew_when_it_lost_values_and_shows_traces(
    newest: str | None, started: str, anew: bool
) -> None:
    known = replace(stored(), traces={"started": "1000"})
    survey = Survey(Level.WINDOW, traces={"started": started})
    assert horizon.set_up_anew(known, newest, survey, window()) is anew


def test_a_table_made_anew_is_a_trace_by_any_name() -> None:
    known = replace(stored(), traces={"table": "2024-01-01 10:00:00"})
    survey = Survey(Level.WINDOW, traces={"table": "2024-03-01 10:00:00"})
    assert horizon.set_up_anew(known, None, survey, window())


def test_a_trace_that_was_not_known_before_shows_nothing() -> None:
    survey = Survey(Level.WINDOW, traces={"started": "9000"})
    assert not horizon.set_up_anew(stored(), None, survey, window())


def test_a_stream_that_never_had_a_value_lost_none() -> None:
    known = replace(stored(None), traces={"started": "1000"})
    assert not horizon.set_up_anew(known, None, Survey(Level.WINDOW, traces={"started": "9000"}), window())


@pytest.mark.parametrize("ceiling, found", [("99", True), ("100", False), ("1000", False), (None, False)])
def test_a_snapshot_with_a_lower_edge_lies_behind(ceiling: str | None, found: bool) -> None:
    assert horizon.behind(replace(stored(), ceiling="100"), ceiling) is found


def test_without_an_edge_nothing_lies_behind() -> None:
    assert not horizon.behind(stored(), "1")


# -- what a pull stores


def concluded(known: Watermark | None, survey: Survey, sight: Sight, lower: Bound | None = None) -> Watermark:
    opening = Opening(clock("03-01 12:10:00"), "2024-03-01 12:09:00", None, sight)
    return horizon.conclude(known, opening, layout(), survey, by_id=False, lower=lower)


def test_every_mark_that_can_be_had_is_stored_whatever_the_level() -> None:
    survey = replace(BOUNDED, versions="xid", traces={"started": "1"}, why="a view")
    sight = Sight("800", "900", clock("03-01 12:00:00"), {"77": clock("03-01 11:00:00")})
    found = concluded(None, survey, sight)
    assert found.marks == Marks(time="2024-03-01 12:09:00", xid="800")
    assert found.sighting is not None
    assert found.sighting.low_us == clock("03-01 12:00:00")
    assert (found.level, found.ceiling, found.held) == (Level.BOUNDED, "900", {"77": clock("03-01 11:00:00")})
    assert (found.server, found.traces, found.why) == ({"system": "7"}, {"started": "1"}, "a view")


def test_what_does_not_belong_to_one_pull_is_kept() -> None:
    known = replace(
        stored(), swept=Sweep("5", 6), holes=(Hole(1, 2, 3),), start="2020-01-01", look_back_us=HOUR_US, why="once"
    )
    found = concluded(known, WINDOW, Sight())
    assert (found.swept, found.holes, found.start) == (known.swept, known.holes, known.start)
    assert (found.look_back_us, found.why) == (HOUR_US, "nothing is shown")


def test_what_belongs_to_one_pull_is_not_kept() -> None:
    known = replace(stored(low="02-01 00:00:00"), ceiling="9", held={"77": 1}, marks=Marks(time="2024-03-01", xid="5"))
    found = concluded(known, WINDOW, Sight())
    assert (found.ceiling, found.held, found.marks.xid) == (None, {}, None)
    assert found.sighting is not None
    assert found.sighting.low_us is None


def test_a_first_mark_that_looked_old_is_held_when_newer_values_come() -> None:
    """By the slack the window was closed for now, so the next pull must begin below the mark, not at the newest."""
    first = horizon.conclude(
        None,
        Opening(clock("03-01 12:00:00"), "2024-03-01 11:50:00", None, Sight(low_us=clock("03-01 12:00:00"))),
        layout(),
        BOUNDED,
        by_id=False,
        lower=None,
    )
    lower = horizon.lower_bound(first, window(), BOUNDED)
    assert lower == Bound("2024-03-01 11:50:00", inclusive=False)
    opening = Opening(clock("03-01 12:01:00"), "2024-03-01 11:51:00", None, Sight(low_us=clock("03-01 12:01:00")))
    second = horizon.conclude(first, opening, layout(), BOUNDED, by_id=False, lower=lower)
    assert second.marks.time == "2024-03-01 11:50:00"


def test_a_pull_that_looked_at_every_row_says_so_with_its_own_mark() -> None:
    opened = versioned("800", swept="300")
    assert horizon.swept(opened, EXACT, 42).swept == Sweep("800", 42)


def test_a_pull_that_can_tell_no_versions_swept_nothing() -> None:
    assert horizon.swept(stored(), WINDOW, 42).swept is None


def test_marks_of_later_snapshots_know_nothing_of_versions() -> None:
    opened = replace(versioned("800", "300"), marks=Marks("2024-03-01", None, "800", "0x1", "9"), ceiling="900")
    found = horizon.without_versions(opened)
    assert (found.marks, found.swept) == (Marks(time="2024-03-01"), None)
    assert replace(found, marks=opened.marks, swept=opened.swept) == opened
