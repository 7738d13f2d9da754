"""How late rows came: what is kept of it, how a look-back grows by it, and nights in which local clocks change."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connector.cli import show
from connector.cli.shared import Installation
from connector.model import LIVE, Counters, Level, RunResult, RunState, Watermark
from connector.runs.promise import label, sentence
from connector.source import horizon
from connector.source.horizon import Opening
from connector.store.lateness import Lateness
from tests.contract.engines import needs
from tests.contract.pulling import NAME, Pulling, stamp

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"
NOON = datetime.fromisoformat("2024-06-01 12:00:00")
MINUTE_US = 60_000_000
DAY_S = 86_400


@pytest.fixture
def windowed(client: Pulling) -> Pulling:
    """Give a stream at the window level that has read one row of noon."""
    client.execute(TABLE)
    client.at_the_window_level()
    client.clock(NOON)
    client.insert((1, "in time", stamp(NOON)))
    client.succeed()
    return client


def late(client: Pulling, number: int, minutes: float, mark: datetime = NOON) -> RunResult:
    """Pull a row that is stamped so many minutes below the mark."""
    client.insert((number, "late", stamp(mark - timedelta(minutes=minutes))))
    return client.succeed()


def known(client: Pulling) -> Lateness | None:
    row = client.app.store.find_stream(NAME)
    assert row is not None
    return client.app.store.lateness(row)


def look_back_min(client: Pulling) -> float:
    found = client.watermark()
    assert found is not None
    return found.look_back_us / MINUTE_US


def promised(client: Pulling) -> str:
    found = client.watermark()
    assert found is not None
    return label(client.stream, found.level, found)


def status(client: Pulling, *options: str) -> str:
    """Return what `connector status` prints of this installation."""
    installation = Installation(Path("connector.yaml"))
    installation._app = client.app
    found = CliRunner().invoke(show.status, options, obj=installation, catch_exceptions=False)
    return found.output


def test_a_first_pull_tells_nothing_of_lateness(windowed: Pulling) -> None:
    assert known(windowed) is None


def test_a_row_within_half_of_the_look_back_is_counted_and_not_worth_a_word(windowed: Pulling) -> None:
    assert late(windowed, 2, 7).warnings == ()
    assert known(windowed) == Lateness(1, 1, 7 * MINUTE_US, 7 * MINUTE_US, 7 * MINUTE_US)
    assert look_back_min(windowed) == 0


def test_a_row_later_than_half_of_the_look_back_is_a_warning(windowed: Pulling) -> None:
    result = late(windowed, 2, 8)
    assert result.warnings == ("a row became visible 8 min late, and look_back is 15 min",)
    assert result.counters.late_us == 8 * MINUTE_US
    assert look_back_min(windowed) == 0


def test_a_row_later_than_four_fifths_of_the_look_back_doubles_it(windowed: Pulling) -> None:
    result = late(windowed, 2, 13)
    assert len(result.warnings) == 1
    assert "a row became visible 13 min late, and look_back is 15 min: it is 30 min from now on" in result.warnings[0]
    assert look_back_min(windowed) == 30
    assert promised(windowed) == "window of 30 min"


def test_rows_that_are_known_are_not_late_again(windowed: Pulling) -> None:
    late(windowed, 2, 13)
    result = windowed.succeed()
    assert (result.counters.unchanged, result.warnings) == (2, ())
    assert look_back_min(windowed) == 30
    assert known(windowed) == Lateness(1, 1, 13 * MINUTE_US, 13 * MINUTE_US, 13 * MINUTE_US)


def test_the_next_pull_goes_by_the_longer_look_back(windowed: Pulling) -> None:
    """Without it a row 20 minutes below the mark would never be read."""
    late(windowed, 2, 13)
    late(windowed, 3, 20)
    assert windowed.final() == windowed.expected()
    late(windowed, 4, 40)
    assert set(windowed.expected()) - set(windowed.final()) == {"4"}


def test_a_longer_look_back_lasts_over_restarts_of_the_program(windowed: Pulling) -> None:
    late(windowed, 2, 13)
    windowed.configure()
    assert promised(windowed) == "window of 30 min"
    windowed.succeed()
    windowed.configure()
    late(windowed, 3, 20)
    assert windowed.final() == windowed.expected()
    assert promised(windowed) == "window of 30 min"


def test_a_longer_look_back_lasts_over_a_pull_that_is_stopped(windowed: Pulling) -> None:
    late(windowed, 2, 13)
    windowed.insert(*((number, "v", stamp(NOON)) for number in range(10, 40)))
    windowed.stop_after(1)
    windowed.configure()
    windowed.succeed()
    late(windowed, 3, 20)
    assert windowed.final() == windowed.expected()


def test_a_late_row_of_a_batch_before_the_last_one_counts_as_well(windowed: Pulling) -> None:
    windowed.insert(*((number, "v", stamp(NOON)) for number in range(10, 40)))
    assert late(windowed, 2, 13).counters.batches > 1
    assert look_back_min(windowed) == 30


def test_a_look_back_goes_on_growing_up_to_a_week(windowed: Pulling) -> None:
    windowed.configure(look_back_s=3.0 * DAY_S)
    late(windowed, 2, 2.9 * 24 * 60)
    assert promised(windowed) == "window of 6 d"
    late(windowed, 3, 5.9 * 24 * 60)
    assert promised(windowed) == "window of 7 d"
    result = late(windowed, 4, 6.9 * 24 * 60)
    assert promised(windowed) == "window of 7 d"
    assert len(result.warnings) == 1
    assert "from now on" not in result.warnings[0]
    assert windowed.final() == windowed.expected()


def test_a_look_back_configured_longer_than_a_week_stays_what_it_is(windowed: Pulling) -> None:
    windowed.configure(look_back_s=10.0 * DAY_S)
    result = late(windowed, 2, 9.9 * 24 * 60)
    assert len(result.warnings) == 1
    assert "from now on" not in result.warnings[0]
    assert (look_back_min(windowed), promised(windowed)) == (0, "window of 10 d")


def test_a_look_back_that_is_configured_longer_later_counts(windowed: Pulling) -> None:
    late(windowed, 2, 13)
    windowed.configure(look_back_s=3600.0)
    windowed.succeed()
    assert promised(windowed) == "window of 1 h"
    late(windowed, 3, 50)
    assert windowed.final() == windowed.expected()


def test_an_update_with_an_older_stamp_is_as_late_as_a_new_row(windowed: Pulling) -> None:
    windowed.execute(f"UPDATE t SET v = 'changed', updated_at = '{stamp(NOON - timedelta(minutes=9))}' WHERE id = 1")
    assert windowed.succeed().counters.late_us == 9 * MINUTE_US


def test_a_stream_read_again_from_its_start_is_not_late(windowed: Pulling) -> None:
    """What changed below another server's marks says nothing of how late rows become visible here."""
    row = windowed.app.store.find_stream(NAME)
    marks = windowed.watermark()
    assert row is not None
    assert marks is not None
    run = windowed.app.store.begin_run(row, LIVE, "pull", 60)
    elsewhere = replace(marks, server=dict.fromkeys(marks.server, "elsewhere"))
    windowed.app.store.finish_run(run, RunState.SUCCEEDED, Counters(), marks.level, watermark=elsewhere)
    result = late(windowed, 2, 3 * 24 * 60)
    assert windowed.final() == windowed.expected()
    assert (result.counters.late_us, known(windowed), look_back_min(windowed)) == (0, None, 0)


def test_status_shows_the_worst_lateness_and_the_look_back_as_it_is(windowed: Pulling) -> None:
    late(windowed, 2, 13)
    late(windowed, 3, 1)
    late(windowed, 4, 25)
    plain = status(windowed)
    assert "worst lateness seen: 25 min" in plain
    assert "window of 1 h" in plain
    found = json.loads(status(windowed, "--json"))["streams"][0]
    assert (found["lateness"]["rows"], found["lateness"]["late"]) == (3, 3)
    assert found["lateness"]["max_us"] == 25 * MINUTE_US
    assert found["level"] == "window of 1 h"


def test_the_sentence_for_the_client_tells_of_the_longer_look_back(windowed: Pulling) -> None:
    late(windowed, 2, 13)
    found = windowed.watermark()
    assert found is not None
    assert "rows that become visible more than 30 min late" in sentence(windowed.stream, found.level, found)


@needs("server")
def test_a_stream_that_sees_its_writers_has_no_look_back_to_grow(client: Pulling) -> None:
    """Exact by row versions, or bounded by the writers in flight: how late a row comes costs nothing there."""
    client.execute(TABLE)
    client.insert((1, "newest", stamp(NOON)))
    client.succeed()
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (2, 'late', '{stamp(NOON - timedelta(minutes=14))}')")
        client.succeed()
    result = client.succeed()
    assert result.level in (Level.EXACT, Level.BOUNDED)
    assert (look_back_min(client), promised(client)) == (0, label(client.stream, result.level))
    assert not [warning for warning in result.warnings if "look_back" in warning]


def at_their_clock(patch: pytest.MonkeyPatch) -> None:
    """Let writers in flight be seen no later than the clock that a test has set, as on a server whose clock it is."""
    conclude = horizon.conclude

    def clipped(known: Watermark | None, opening: Opening, *rest: Any, **named: Any) -> Watermark:
        low_us = opening.sight.low_us
        if low_us is not None:
            sight = replace(opening.sight, low_us=min(low_us, opening.clock_us))
            opening = replace(opening, sight=sight)
        return conclude(known, opening, *rest, **named)

    patch.setattr(horizon, "conclude", clipped)


@pytest.mark.parametrize(
    "night, change, before_h",
    [("2024-10-26 23:30:00", "2024-10-27 01:00:00", 3), ("2024-03-30 23:30:00", "2024-03-31 01:00:00", 2)],
    ids=["autumn", "spring"],
)
def test_a_night_in_which_local_clocks_change_loses_nothing_at_the_engines_own_level(
    client: Pulling, monkeypatch: pytest.MonkeyPatch, night: str, change: str, before_h: int
) -> None:
    """In Kyiv; the column holds wall time only. Each pull is followed by a row stamped just before it."""
    at_their_clock(monkeypatch)
    client.execute(TABLE)
    client.configure(time_zone="Europe/Kyiv", look_back_s=300.0, slack_s=300.0)
    after_h = 5 - before_h

    def local(moment: datetime) -> str:
        early = moment < datetime.fromisoformat(change)
        return stamp(moment + timedelta(hours=before_h if early else after_h))

    for minute in range(0, 300, 11):
        now = datetime.fromisoformat(night) + timedelta(minutes=minute)
        client.insert((minute, "v", local(now - timedelta(seconds=5))))
        client.clock(now)
        client.succeed()
        client.insert((minute + 1, "late", local(now - timedelta(seconds=60))))
    client.succeed()
    assert client.final() == client.expected()


@needs("server")
@pytest.mark.parametrize("first_min", [40, 100, 160])
def test_a_writer_that_stays_open_while_summer_time_ends_is_not_lost(
    client: Pulling, monkeypatch: pytest.MonkeyPatch, first_min: int
) -> None:
    """It writes before the hour that comes twice, in it the first time or the second, and commits hours later."""
    at_their_clock(monkeypatch)
    client.execute(TABLE)
    client.configure(time_zone="Europe/Kyiv", look_back_s=300.0, slack_s=60.0)
    night, change = datetime.fromisoformat("2024-10-26 23:00:00"), datetime.fromisoformat("2024-10-27 01:00:00")

    def local(moment: datetime) -> str:
        return stamp(moment + timedelta(hours=3 if moment < change else 2))

    client.insert((0, "before", local(night)))
    client.clock(night + timedelta(seconds=5))
    client.succeed()
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (1, 'in flight', '{local(night + timedelta(minutes=first_min))}')")
        for minute in range(first_min, 360, 40):
            now = night + timedelta(minutes=minute)
            client.insert((minute, "v", local(now)))
            client.clock(now + timedelta(seconds=5))
            client.succeed()
    client.clock(night + timedelta(hours=6))
    client.succeed()
    client.succeed()
    assert client.final() == client.expected()
