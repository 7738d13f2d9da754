"""PostgreSQL's levels as rights come and go: nothing is lost at a change, little is read again, and it is said."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from connector.model import Counters, Level, RunResult
from connector.registry import ENTITIES
from connector.runs.check import check_stream
from connector.runs.promise import sentence
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, ago, at

pytestmark = needs("infinity")

OLD_ROWS, RECENT_ROWS = 50, 5
"""Rows of two hours ago, outside of every window, and rows inside of the look-back."""


def begin(client: Pulling, *rights: Callable[[Pulling], None]) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(*((i, "old", ago(7200 + i)) for i in range(1, OLD_ROWS + 1)))
    client.insert(*((i, "recent", ago(500 - i)) for i in range(51, 51 + RECENT_ROWS)))
    for change in rights:
        change(client)
    client.configure(slack_s=0.0)
    client.succeed()
    client.succeed()  # a first mark's window is closed only for now


def table(client: Pulling) -> None:
    client.execute(f"GRANT SELECT ON t TO {client.database.source.user}")


def columns(client: Pulling) -> None:
    login = client.database.source.user
    client.execute(f"REVOKE SELECT ON t FROM {login}; GRANT SELECT (id, v, updated_at) ON t TO {login}")


def stats(client: Pulling) -> None:
    client.execute(f"GRANT pg_read_all_stats TO {client.database.source.user}")


def no_stats(client: Pulling) -> None:
    client.execute(f"REVOKE pg_read_all_stats FROM {client.database.source.user}")


RIGHTS = {Level.EXACT: (table, no_stats), Level.BOUNDED: (columns, stats), Level.WINDOW: (columns, no_stats)}
CHANGES = [(old, new) for old in RIGHTS for new in RIGHTS if old is not new]


def give(client: Pulling, level: Level) -> None:
    for change in RIGHTS[level]:
        change(client)


def said(result: RunResult, old: Level, new: Level) -> bool:
    verb = "fell" if new.weaker_than(old) else "rose"
    return any(f"the level {verb} from {old} to {new}" in warning for warning in result.warnings)


@pytest.mark.parametrize("old, new", CHANGES)
def test_what_is_in_flight_over_a_change_of_level_is_delivered_and_the_change_is_said(
    client: Pulling, old: Level, new: Level
) -> None:
    begin(client, *RIGHTS[old])
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (100, 'late', '{ago(0)}')")
        write(f"UPDATE t SET v = 'late', updated_at = '{ago(0)}' WHERE id = 1")
        client.insert((101, "newest", ago(0)))
        assert client.succeed().level is old
    give(client, new)
    result = client.succeed()
    assert said(result, old, new)
    assert client.final() == client.expected()
    window = Level.WINDOW in (old, new) or (old, new) == (Level.EXACT, Level.BOUNDED)
    assert result.counters.read == 3 + (RECENT_ROWS if window and new is not Level.EXACT else 0)
    assert client.succeed().warnings == ()


@pytest.mark.parametrize("old, new", CHANGES)
def test_what_is_in_flight_over_the_first_pull_of_a_new_level_is_delivered(
    client: Pulling, old: Level, new: Level
) -> None:
    begin(client, *RIGHTS[old])
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (100, 'late', '{ago(0)}')")
        client.insert((101, "newest", ago(0)))
        client.succeed()
        give(client, new)
        client.insert((102, "newer", ago(0)))
        client.succeed()
    assert client.succeed().level is new
    assert client.final() == client.expected()


def test_what_was_dated_back_at_a_weaker_level_is_found_when_the_exact_one_returns(client: Pulling) -> None:
    begin(client)
    columns(client)
    client.succeed()
    client.execute(f"UPDATE t SET v = 'back', updated_at = '{ago(5 * 86_400)}' WHERE id = 2")
    client.succeed()
    assert client.final()["2"] == "old"
    table(client)
    assert client.succeed().counters.read == 1
    assert client.final() == client.expected()


@pytest.mark.parametrize("new", [Level.BOUNDED, Level.WINDOW])
def test_a_first_pull_that_is_resumed_at_a_weaker_level_loses_nothing_and_says_so(client: Pulling, new: Level) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(*((i, "early", ago(600 - i)) for i in range(1, 61)))
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (100, 'late', '{ago(599.5)}')")
        assert client.stop_after(2).level is Level.EXACT
    client.execute(f"UPDATE t SET v = 'behind', updated_at = '{ago(0)}' WHERE id = 1")
    give(client, new)
    results = [client.succeed(), client.succeed()]
    assert any(said(result, Level.EXACT, new) for result in results)
    assert client.final() == client.expected()


def test_an_increment_that_is_resumed_at_a_weaker_level_loses_nothing_and_says_so(client: Pulling) -> None:
    begin(client)
    client.execute(f"UPDATE t SET v = 'changed', updated_at = '{ago(1)}'")
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (100, 'late', '{ago(100)}')")
        client.insert((101, "newest", ago(0)))
        client.stop_after(1)
        opened = client.open_pull()
        assert opened is not None
        assert opened.since is not None
    give(client, Level.WINDOW)
    assert said(client.succeed(), Level.EXACT, Level.WINDOW)
    client.succeed()
    assert client.final() == client.expected()


def test_an_increment_that_is_resumed_at_its_level_reads_only_the_rest(client: Pulling) -> None:
    begin(client)
    client.execute("UPDATE t SET v = 'changed' WHERE id <= 30")
    client.stop_after(1)
    client.execute("UPDATE t SET v = 'behind' WHERE id = 2")
    assert client.succeed().counters.read == 20
    assert client.succeed().counters.updated == 1
    assert client.final() == client.expected()


# -- tables that are too large to be looked at on every pull


def large(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.execute("CREATE INDEX changed ON t (updated_at)")
    client.insert(*((i, "old", at(i)) for i in range(1, 21)), (30, "newest", ago(5)))
    client.execute("ANALYZE t")
    client.configure(scan_below_bytes=0)
    assert client.succeed().level is Level.EXACT_WITHIN


def in_a_day(client: Pulling) -> None:
    client.clock(datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=24, minutes=1))


def test_what_is_dated_back_by_days_in_a_large_table_comes_at_the_sweep_and_not_before(client: Pulling) -> None:
    large(client)
    client.execute(f"UPDATE t SET v = 'back', updated_at = '{ago(2 * 86_400)}' WHERE id = 1")
    client.execute(f"UPDATE t SET v = 'within', updated_at = '{ago(20 * 3600)}' WHERE id = 2")
    assert client.succeed().counters.read == 1
    assert (client.final()["1"], client.final()["2"]) == ("old", "within")
    in_a_day(client)
    client.succeed()
    assert client.final() == client.expected()


def test_a_late_commit_in_a_large_table_is_delivered(client: Pulling) -> None:
    large(client)
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (100, 'late', '{ago(20 * 3600)}')")
        write("INSERT INTO t VALUES (102, 'without', NULL)")
        client.insert((101, "newest", ago(0)))
        client.succeed()
    client.succeed()
    assert client.final() == client.expected()


def test_a_dated_back_row_in_flight_over_a_sweep_comes_at_the_next(client: Pulling) -> None:
    large(client)
    with client.database.transaction() as write:
        write(f"UPDATE t SET v = 'back', updated_at = '{ago(2 * 86_400)}' WHERE id = 1")
        client.configure(sweep_every_s=0.0)
        client.succeed()
        client.configure(sweep_every_s=86_400.0)
        client.insert((101, "newest", ago(0)))
    client.succeed()
    assert client.final()["1"] == "old"
    in_a_day(client)
    client.succeed()
    assert client.final() == client.expected()


@pytest.mark.parametrize("rewrite", ["ALTER TABLE t ALTER id TYPE numeric", "VACUUM (FULL, FREEZE) t", "CLUSTER t"])
def test_a_rewritten_table_is_read_again_at_most_and_nothing_changes_twice(client: Pulling, rewrite: str) -> None:
    begin(client)
    client.execute("ALTER TABLE t CLUSTER ON t_pkey")
    client.execute(rewrite)
    counters = client.succeed().counters
    assert counters.unchanged == counters.read
    assert client.final() == client.expected()
    assert client.succeed().counters == Counters()


# -- tables that take their rows along


def test_a_partition_that_is_attached_with_its_rows_is_delivered(client: Pulling) -> None:
    """They were written before the last pull, which could not see them in this table."""
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp}) PARTITION BY RANGE (id)")
    client.execute("CREATE TABLE t0 PARTITION OF t FOR VALUES FROM (0) TO (100)")
    client.execute("CREATE TABLE t100 (LIKE t INCLUDING ALL)")
    client.insert(*((i, "attached", at(i)) for i in range(100, 110)), table="t100")
    client.insert((1, "early", ago(5)))
    client.succeed()
    client.execute("ALTER TABLE t ATTACH PARTITION t100 FOR VALUES FROM (100) TO (200)")
    client.succeed()
    assert client.final() == client.expected()
    client.execute("CREATE TABLE t200 PARTITION OF t FOR VALUES FROM (200) TO (300)")
    client.insert((200, "new", at(1)))
    assert client.succeed().counters.read == 1


def test_a_table_that_takes_another_ones_place_is_delivered(client: Pulling) -> None:
    """It was filled beside the old one, before the last pull, and renamed after it."""
    begin(client)
    client.execute("CREATE TABLE filled (LIKE t INCLUDING ALL)")
    client.insert(*((i, "filled", at(i)) for i in range(1, 51 + RECENT_ROWS)), table="filled")
    client.succeed()
    client.execute("DROP TABLE t; ALTER TABLE filled RENAME TO t")
    result = client.succeed()
    assert any("read in full" in warning for warning in result.warnings)
    assert client.final() == client.expected()
    assert client.succeed().counters == Counters()


# -- what is said


@pytest.mark.parametrize(
    "level, promise, reason, remedy",
    [
        (Level.EXACT, "exact: every committed insert and update is delivered, however long", "", ""),
        (Level.EXACT_WITHIN, "exact within 24 h: every committed insert and update is delivered", "", ""),
        (Level.BOUNDED, "bounded by 2 min: complete if clocks agree", "single columns", "GRANT SELECT on the whole"),
        (Level.WINDOW, "window of 15 min: rows that become visible more than 15 min late", "single columns", "GRANT"),
    ],
)
def test_check_says_the_level_and_why_it_is_no_better(
    client: Pulling, level: Level, promise: str, reason: str, remedy: str
) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.execute("CREATE INDEX changed ON t (updated_at)")
    client.insert((1, "a", ago(5)))
    client.execute("ANALYZE t")
    give(client, Level.EXACT if level is Level.EXACT_WITHIN else level)
    client.configure(scan_below_bytes=0 if level is Level.EXACT_WITHIN else 2**31)
    findings = check_stream(client.stream, ENTITIES["customer"], client.session)
    whats = [finding.what for finding in findings]
    assert f"level {sentence(client.stream, level)}" in whats
    assert any(what.startswith(f"level {promise}") for what in whats)
    reasons = [finding for finding in findings if finding.what.startswith("no better level")]
    assert [(reason in each.what, each.remedy.startswith(remedy)) for each in reasons] == [(True, True)] * bool(reason)
    assert client.succeed().level is level


def test_check_says_how_a_query_could_do_better(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.configure(table=None, query="SELECT * FROM t")
    with contextlib.closing(client.app):
        findings = check_stream(client.stream, ENTITIES["customer"], client.session)
    reason = next(finding for finding in findings if finding.what.startswith("no better level"))
    assert "a query's rows show no version" in reason.what
    assert reason.remedy == "A stream on the table itself would be exact"
