"""The level bounded against a real server: writers in flight, found by two looks at the same range.

Each test holds with a login that may only SELECT, and with the right PROCESS besides. Slack and look-back are nought
unless a test is about them: what comes late comes because it was seen in flight, not because of a look back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from connector.config.resolved import Field
from connector.model import Counters, Level
from connector.runs.job import Tick
from tests.contract.horizon_mysql import TABLE, granted, in_flight, started, until_waiting
from tests.contract.pulling import FIELDS, Pulling, ago, stamp

pytestmark = pytest.mark.parametrize("database", ["mysql"], indirect=True)


@pytest.fixture(params=["select", "process"])
def bounded(client: Pulling, request: pytest.FixtureRequest) -> Iterator[Pulling]:
    """Give a stream without slack or look-back; the test creates its table."""
    with granted(client) if request.param == "process" else contextlib.nullcontext():
        client.configure(slack_s=0.0, look_back_s=0.001)
        yield client


@pytest.fixture
def pulled(bounded: Pulling) -> Pulling:
    """Give the same with a table of three rows that were pulled already."""
    bounded.execute(TABLE)
    bounded.insert((1, "first", ago(3_000)), (2, "second", ago(2_900)), (3, "third", ago(2_800)))
    assert bounded.succeed().level is Level.BOUNDED
    return bounded


def move_on(client: Pulling, number: int) -> None:
    """Let the mark move beyond whatever is in flight: a newer row comes, and two pulls with it."""
    client.insert((number, "newer", ago(0)))
    client.succeed()
    client.insert((number + 1, "newer", ago(0)))
    client.succeed()


# -- what is committed late


def test_a_row_committed_late_is_delivered(pulled: Pulling) -> None:
    with in_flight(pulled, f"INSERT INTO t VALUES (10, 'late', '{ago(0)}')") as write:
        move_on(pulled, 20)
        assert "10" not in pulled.final()
        write("COMMIT")
    pulled.succeed()
    assert pulled.final() == pulled.expected()


def test_an_update_committed_late_is_delivered(pulled: Pulling) -> None:
    with in_flight(pulled, f"UPDATE t SET v = 'late', updated_at = '{ago(0)}' WHERE id = 2") as write:
        move_on(pulled, 20)
        write("COMMIT")
    pulled.succeed()
    assert pulled.final() == pulled.expected()


def test_a_row_in_flight_at_the_first_pull_is_delivered(bounded: Pulling) -> None:
    bounded.execute(TABLE)
    bounded.insert((1, "newest", ago(1)))
    with in_flight(bounded, f"INSERT INTO t VALUES (2, 'late', '{ago(5)}')") as write:
        bounded.succeed()
        write("COMMIT")
    bounded.succeed()
    assert bounded.final() == bounded.expected()


def test_a_tie_committed_later_at_the_stored_maximum_is_delivered(pulled: Pulling) -> None:
    same = ago(1)
    with in_flight(pulled, f"INSERT INTO t VALUES (10, 'late', '{same}')") as write:
        pulled.insert((20, "in time", same))
        pulled.succeed()
        pulled.succeed()
        write("COMMIT")
    pulled.succeed()
    assert pulled.final() == pulled.expected()


def test_what_a_savepoint_kept_is_delivered(pulled: Pulling) -> None:
    kept = (
        f"INSERT INTO t VALUES (10, 'kept', '{ago(0)}')",
        "SAVEPOINT a",
        f"INSERT INTO t VALUES (11, 'taken back', '{ago(0)}')",
        "ROLLBACK TO SAVEPOINT a",
        f"INSERT INTO t VALUES (12, 'kept', '{ago(0)}')",
    )
    with in_flight(pulled, *kept) as write:
        move_on(pulled, 20)
        write("COMMIT")
    pulled.succeed()
    assert pulled.final() == pulled.expected()
    assert set(pulled.final()) >= {"10", "12"}


def test_a_prepared_transaction_held_over_several_pulls_is_delivered(pulled: Pulling) -> None:
    name = pulled.database.source.user
    with pulled.database.raw() as run:
        for statement in (f"XA START '{name}'", f"INSERT INTO t VALUES (10, 'late', '{ago(0)}')"):
            run(statement)
        run(f"XA END '{name}'")
        run(f"XA PREPARE '{name}'")
    for number in (20, 30, 40):
        move_on(pulled, number)
    pulled.execute(f"XA COMMIT '{name}'")
    pulled.succeed()
    assert pulled.final() == pulled.expected()


def test_rows_rolled_back_hold_nothing_once_they_are_gone(pulled: Pulling) -> None:
    with in_flight(pulled, f"INSERT INTO t VALUES (10, 'never', '{ago(5)}')"):
        pulled.insert((20, "newer", ago(2)))
        pulled.succeed()
    pulled.succeed()
    assert pulled.succeed().counters.read == 0
    pulled.insert((10, "its id again", ago(0)))
    pulled.succeed()
    assert pulled.final() == pulled.expected()


def test_a_writer_held_open_far_longer_than_the_slack_is_delivered(pulled: Pulling) -> None:
    """With the slack nought, each of the pulls in between lies far beyond it."""
    with in_flight(pulled, f"INSERT INTO t VALUES (10, 'late', '{ago(2_000)}')") as write:
        for number in (20, 30, 40, 50):
            move_on(pulled, number)
        write("COMMIT")
    pulled.succeed()
    assert pulled.final() == pulled.expected()


def test_many_rows_moved_together_don_t_hide_each_other(bounded: Pulling) -> None:
    """An even number of rows that go from one stamp to another cancel out in a linear checksum."""
    bounded.execute(TABLE)
    old, new = ago(400), ago(399)
    bounded.insert(*((number, "old", old) for number in range(1, 9)), (20, "newest", ago(50)))
    with in_flight(bounded, f"UPDATE t SET v = 'late', updated_at = '{new}' WHERE id < 9") as write:
        bounded.succeed()
        bounded.succeed()
        write("COMMIT")
    bounded.succeed()
    assert bounded.final() == bounded.expected()


# -- stamps


def test_a_back_dated_update_within_the_slack_is_delivered(pulled: Pulling) -> None:
    pulled.configure(slack_s=5.0)
    move_on(pulled, 20)
    pulled.execute(f"UPDATE t SET v = 'back-dated', updated_at = '{ago(3)}' WHERE id = 2")
    pulled.succeed()
    assert pulled.final() == pulled.expected()


def test_what_changes_while_a_pull_reads_is_delivered_by_the_next_one(pulled: Pulling) -> None:
    pulled.insert(*((number, "old", ago(100 - number)) for number in range(10, 60)))

    def change(tick: Tick) -> None:
        if tick.counters.batches == 2:
            pulled.execute("UPDATE t SET v = 'behind', updated_at = UTC_TIMESTAMP(6) WHERE id = 11")
            pulled.execute("UPDATE t SET v = 'ahead', updated_at = UTC_TIMESTAMP(6) WHERE id = 55")
            pulled.execute("INSERT INTO t VALUES (99, 'new', UTC_TIMESTAMP(6))")

    pulled.succeed(watch=change)
    pulled.succeed()
    assert pulled.final() == pulled.expected()


def test_a_null_watermark_set_later_in_a_long_transaction_is_delivered(pulled: Pulling) -> None:
    pulled.insert((10, "no stamp", None))
    pulled.succeed()
    assert pulled.final() == pulled.expected()
    with in_flight(pulled, f"UPDATE t SET v = 'stamped', updated_at = '{ago(0)}' WHERE id = 10") as write:
        move_on(pulled, 20)
        write("COMMIT")
    pulled.succeed()
    assert pulled.final() == pulled.expected()


def test_a_row_whose_key_changes_in_a_long_transaction_comes_under_its_new_key(pulled: Pulling) -> None:
    with in_flight(pulled, f"UPDATE t SET id = 10, updated_at = '{ago(0)}' WHERE id = 2") as write:
        move_on(pulled, 20)
        write("COMMIT")
    pulled.succeed()
    assert pulled.expected().items() <= pulled.final().items()
    assert "10" in pulled.final()


def test_more_rows_in_the_boundary_second_are_delivered(bounded: Pulling) -> None:
    bounded.execute(TABLE.replace("{stamp}", "DATETIME"))
    second = ago(10)[:19]
    bounded.insert((1, "in time", second))
    with in_flight(bounded, f"INSERT INTO t VALUES (2, 'late', '{second}')") as write:
        bounded.succeed()
        bounded.insert((3, "newer", ago(5)[:19]))
        bounded.succeed()
        write("COMMIT")
    bounded.succeed()
    assert bounded.final() == bounded.expected()


def test_an_update_in_flight_that_leaves_the_stamp_as_it_was_is_delivered(bounded: Pulling) -> None:
    """Twice in one second: neither the stamp nor the key shows that the row is being written."""
    bounded.execute(TABLE.replace("{stamp}", "DATETIME"))
    bounded.insert((1, "once", ago(10)[:19]))
    with in_flight(bounded, "UPDATE t SET v = 'twice' WHERE id = 1") as write:
        bounded.succeed()
        bounded.insert((2, "newer", ago(5)[:19]))
        bounded.succeed()
        write("COMMIT")
    bounded.succeed()
    assert bounded.final() == bounded.expected()


def test_an_update_in_flight_of_a_column_that_only_an_expression_reads_is_delivered(bounded: Pulling) -> None:
    bounded.execute(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, first TEXT, v TEXT, updated_at DATETIME, KEY wm (updated_at))"
    )
    bounded.configure(fields={**FIELDS, "v": Field(sql="CONCAT(first, '!')")})
    bounded.insert((1, "once", None, ago(10)[:19]))
    with in_flight(bounded, "UPDATE t SET first = 'twice' WHERE id = 1") as write:
        bounded.succeed()
        bounded.insert((2, "newer", None, ago(5)[:19]))
        bounded.succeed()
        write("COMMIT")
    bounded.succeed()
    assert bounded.final() == {"1": "twice!", "2": "newer!"}


def test_an_expression_that_uses_the_clock_holds_nothing(bounded: Pulling) -> None:
    bounded.execute(TABLE)
    bounded.configure(fields={**FIELDS, "v": Field(sql="UTC_TIMESTAMP(6)")})
    bounded.insert((1, "a", ago(2_000)), (2, "b", ago(1_000)))
    for _ in range(3):  # the first mark of all is read once more
        bounded.succeed()
    assert bounded.succeed().counters.read == 0


def test_zero_and_impossible_dates_in_the_range_hide_no_writer(bounded: Pulling) -> None:
    bounded.execute(TABLE)
    odd = ("0000-00-00 00:00:00", "2024-00-10 00:00:00", "2026-02-31 00:00:00", f"{datetime.now(UTC).year + 1}-02-30")
    for number, value in enumerate(odd, 1):
        words = f"SET SESSION sql_mode = 'ALLOW_INVALID_DATES'; INSERT INTO t VALUES ({number}, 'odd', '{value}')"
        bounded.execute(words)
        bounded.succeed()
    with in_flight(bounded, f"INSERT INTO t VALUES (10, 'late', '{ago(30)}')") as write:
        write("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        write("UPDATE t SET v = 'changed' WHERE id <= 4")
        move_on(bounded, 20)
        write("ROLLBACK")
        write("BEGIN")
        write(f"INSERT INTO t VALUES (11, 'late', '{ago(0)}')")
        move_on(bounded, 30)
        write("COMMIT")
    bounded.succeed()
    assert bounded.final() == bounded.expected()


# -- stamped, and not yet written


def test_a_statement_that_waits_for_a_row_longer_than_a_pull_is_covered_by_the_slack(pulled: Pulling) -> None:
    pulled.configure(slack_s=15.0)
    _waiting_for_a_row(pulled)


def test_a_statement_that_waits_behind_a_global_lock_is_covered_by_the_slack(pulled: Pulling) -> None:
    pulled.configure(slack_s=15.0)
    _waiting_for_the_server(pulled)


def _waiting_for_a_row(client: Pulling) -> None:
    update = "UPDATE t SET v = 'waited', updated_at = UTC_TIMESTAMP(6) WHERE id = 2"
    with in_flight(client, "SELECT * FROM t WHERE id = 2 FOR UPDATE") as holder, started(client, update):
        until_waiting(client, "UPDATE t SET v = 'waited'")
        move_on(client, 20)
        holder("COMMIT")
    client.succeed()
    assert client.final()["2"] == "waited"
    assert client.final() == client.expected()


def _waiting_for_the_server(client: Pulling) -> None:
    """The mark moves past the waiting statement's stamp by a row that is dated shortly after it."""
    client.insert((20, "newer", stamp(datetime.now(UTC) + timedelta(seconds=0.4))))
    with client.database.raw() as locker:
        locker("FLUSH TABLES WITH READ LOCK")
        with started(client, "INSERT INTO t VALUES (10, 'waited', UTC_TIMESTAMP(6))"):
            until_waiting(client, "INSERT INTO t VALUES (10", at_least_ms=400)
            client.succeed()
            client.succeed()
            assert str(client.mark()) > ago(1)
            locker("UNLOCK TABLES")
    client.succeed()
    assert "10" in client.final()
    assert client.final() == client.expected()


@pytest.mark.parametrize("wait", [_waiting_for_a_row, _waiting_for_the_server])
def test_with_process_a_waiting_statement_needs_no_slack(client: Pulling, wait: object) -> None:
    assert callable(wait)
    with granted(client):
        client.configure(slack_s=0.0, look_back_s=0.001)
        client.execute(TABLE)
        client.insert((1, "first", ago(3_000)), (2, "second", ago(2_900)))
        client.succeed()
        wait(client)


# -- what it costs


def test_a_quiet_table_costs_no_row(pulled: Pulling) -> None:
    for _ in range(2):  # the first mark of all is read once more
        pulled.succeed()
    assert pulled.succeed().counters == Counters()
