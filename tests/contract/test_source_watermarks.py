"""Streams by timestamp and by id: every row, once, whatever the batch edges meet."""

from __future__ import annotations

from datetime import datetime

import pytest

from connector.config.resolved import Field
from connector.model import Counters, RunState
from connector.registry import DIALECTS
from tests.contract.engines import ENGINES, needs
from tests.contract.pulling import FIELDS, Pulling, ago, at

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp} NOT NULL)"


def test_every_engine_of_the_registry_is_held_to_this_contract() -> None:
    assert set(ENGINES) == set(DIALECTS)


def test_a_stream_by_timestamp_reads_everything_in_batches(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(i * 7 % 40)) for i in range(1, 36)))
    result = client.succeed()
    assert result.counters == Counters(read=35, created=35, batches=4)
    assert client.final() == client.expected()


def test_a_stream_by_id_reads_everything_in_batches_and_then_new_ids(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(by="id", watermark_column="id")
    client.insert(*((i * 3, f"v{i}", at(0)) for i in range(1, 36)))
    assert client.succeed().counters.created == 35
    client.insert(*((1000 + i, "new", at(0)) for i in range(15)))
    assert client.succeed().counters.created == 15
    assert client.final() == client.expected()
    assert client.mark() == "1014"


@pytest.mark.parametrize("size", [1, 3, 7, 20, 21])
def test_a_batch_may_end_inside_of_a_tie(client: Pulling, size: int) -> None:
    client.execute(TABLE)
    client.configure(batch_size=size)
    client.insert(*((i, f"v{i}", at(i // 8)) for i in range(1, 21)))
    assert client.succeed().counters.created == 20
    assert client.final() == client.expected()


def test_rows_that_all_share_one_value_are_read_by_their_key(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(0)) for i in range(1, 48)))
    assert client.succeed().counters.created == 47
    assert client.final() == client.expected()


def test_updates_are_seen_by_a_stream_by_timestamp(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, 31)))
    client.succeed()
    client.execute(f"UPDATE t SET v = 'changed', updated_at = '{ago(60)}' WHERE id IN (3, 17, 30)")
    client.insert((31, "new", ago(59)))
    counters = client.succeed().counters
    assert (counters.created, counters.updated) == (1, 3)
    assert client.final() == client.expected()


def test_a_version_number_that_rises_on_every_write_shows_updates(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, version BIGINT NOT NULL)")
    client.configure(watermark_column="version", look_back_ids=5)
    client.insert(*((i, f"v{i}", i) for i in range(1, 31)))
    client.succeed()
    client.execute("UPDATE t SET v = 'changed', version = 31 WHERE id = 2")
    assert client.succeed().counters.updated == 1
    assert client.final() == client.expected()


def test_more_ties_than_max_equal_are_a_warning_for_a_stream_with_a_key(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(max_equal=15)
    client.insert(*((i, "v", at(0)) for i in range(1, 17)), (17, "v", at(1)))
    result = client.succeed()
    assert result.counters.created == 17
    assert any("share one value of updated_at" in warning for warning in result.warnings), result.warnings


def test_as_many_ties_as_max_equal_are_no_warning(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(max_equal=15)
    client.insert(*((i, "v", at(0)) for i in range(1, 16)), (17, "v", at(1)))
    assert client.succeed().warnings == ()


def test_microseconds_are_not_sent_again(client: Pulling) -> None:
    """A mark that lost its fraction would read the newest row on every pull."""
    client.execute(TABLE)
    client.insert((1, "a", "2024-03-01 12:00:00.123456"), (2, "b", "2024-03-01 12:00:00.123457"))
    client.succeed()
    assert client.succeed().counters.read == 0


@needs("instant")
def test_a_watermark_with_a_time_zone_is_read_and_resumed(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {instant})")
    client.insert(*((i, f"v{i}", f"2024-03-01 12:00:00.{i // 4:06d}") for i in range(1, 31)))
    client.succeed()
    assert client.succeed().counters.read == 0
    client.insert((31, "new", ago(30)))
    assert client.succeed().counters.created == 1
    assert client.final() == client.expected()


@needs("second")
def test_rows_of_the_boundary_second_that_come_later_are_delivered(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {second})")
    client.configure(look_back_s=0.0)
    client.insert((1, "a", "2024-03-01 12:00:05"))
    client.clock(datetime.fromisoformat("2024-03-01 12:00:05.300000"))
    client.succeed()
    client.insert((2, "b", "2024-03-01 12:00:05"))
    client.clock(datetime.fromisoformat("2024-03-01 12:00:09"))
    client.succeed()
    assert client.final() == client.expected()


def test_a_date_column_delivers_what_is_added_later_the_same_day(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {date})")
    for hour in range(8, 23):
        client.clock(datetime.fromisoformat(f"2024-03-01 {hour:02d}:00:00"))
        client.succeed()
        client.insert((hour, f"v{hour}", "2024-03-01"))
    for day in (2, 3, 4, 5):
        client.clock(datetime.fromisoformat(f"2024-03-{day:02d} 09:00:00"))
        result = client.succeed()
    assert client.final() == client.expected()
    assert result.counters.read == 0


def test_the_first_pull_of_an_empty_table_reads_nothing_and_the_next_one_what_came(client: Pulling) -> None:
    client.execute(TABLE)
    assert client.succeed().counters.read == 0
    client.insert(*((i, "v", at(i)) for i in range(1, 13)))
    assert client.succeed().counters.created == 12
    assert client.final() == client.expected()


def test_a_quiet_table_costs_no_row(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, "v", at(i // 3)) for i in range(1, 26)))
    client.succeed()
    assert client.succeed().counters == Counters()


def test_fields_may_be_expressions(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(fields={**FIELDS, "v": Field(sql="CASE WHEN id % 2 = 0 THEN 'even' ELSE 'odd %s :x' END")})
    client.insert((1, "a", at(1)), (2, "b", at(2)))
    client.succeed()
    assert client.final() == {"1": "odd %s :x", "2": "even"}


def test_an_alias_that_is_another_columns_name_does_not_confuse_the_order(client: Pulling) -> None:
    """ORDER BY and WHERE must mean the table's column, not the output of that name."""
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp}, other {stamp})")
    trap = {"updated_at": Field(column="other"), "id": Field(sql="-id"), "_ignored": Field(column="v")}
    trap.pop("_ignored")
    client.configure(fields={**FIELDS, **trap}, batch_size=4)
    client.insert(*((i, f"v{i}", at(i), at(100 - i)) for i in range(1, 31)))
    assert client.succeed().counters.created == 30
    assert client.final() == client.expected()
    client.execute(f"UPDATE t SET v = 'late', updated_at = '{ago(5)}' WHERE id = 1")
    assert client.succeed().counters.updated == 1


def test_a_run_that_fails_leaves_the_watermark(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert((1, "a", at(1)))
    client.succeed()
    before = client.watermark()
    client.execute("ALTER TABLE t RENAME TO gone")
    assert client.pull().state is RunState.FAILED
    assert client.watermark() == before
