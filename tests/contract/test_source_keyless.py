"""Streams without a key: whole groups of equal watermarks, equal rows counted."""

from __future__ import annotations

from typing import Any

import pytest

from connector.config.resolved import Field
from connector.model import RunState
from tests.contract.pulling import Pulling, ago, at

TABLE = "CREATE TABLE t (id BIGINT, v {text}, updated_at {stamp})"
EVENTS = {"customer_local_id": Field(column="v"), "date": Field(column="updated_at"), "local_id": Field(column="id")}


def keyless(client: Pulling, **changes: Any) -> None:
    client.execute(TABLE)
    client.configure(**{"key": (), "batch_size": 5, **changes})


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12, 13])
def test_groups_at_batch_edges_are_read_whole(client: Pulling, size: int) -> None:
    keyless(client, batch_size=size)
    client.insert(*((i, f"v{i}", at(i // 3)) for i in range(1, 13)))
    assert client.succeed().counters.created == 12
    assert client.final() == client.expected()


def test_a_group_larger_than_a_batch_is_read_by_itself(client: Pulling) -> None:
    keyless(client)
    client.insert(*((i, f"v{i}", at(0)) for i in range(3)))
    client.insert(*((i, f"v{i}", at(1)) for i in range(3, 20)))
    client.insert(*((i, f"v{i}", at(2)) for i in range(20, 22)))
    assert client.succeed().counters.created == 22
    assert client.final() == client.expected()


def test_a_group_larger_than_max_equal_stops_the_stream_and_the_watermark_stays(client: Pulling) -> None:
    keyless(client, max_equal=10)
    client.insert((1, "a", at(0)))
    client.succeed()
    before = client.watermark()
    client.insert(*((i, f"v{i}", at(5)) for i in range(3, 20)))
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "updated_at" in result.error
    assert client.watermark() == before
    client.configure(max_equal=17)
    client.succeed()
    assert client.final() == client.expected()


def test_equal_rows_are_one_record_of_an_entity_with_identity(client: Pulling) -> None:
    keyless(client)
    client.insert((1, "a", at(0)), (1, "a", at(0)), (2, "b", at(0)))
    client.succeed()
    assert client.final() == {"1": "a", "2": "b"}


def test_a_group_that_grows_within_the_look_back_is_read_again_whole(client: Pulling) -> None:
    keyless(client, batch_size=2)
    late = ago(60)
    client.insert(*((i, f"v{i}", late) for i in range(1, 6)))
    client.succeed()
    client.insert(*((i, f"v{i}", late) for i in range(6, 9)))
    counters = client.succeed().counters
    assert (counters.created, counters.unchanged) == (3, 5)
    assert client.final() == client.expected()


def test_a_keyless_stream_by_id_reads_groups_of_equal_numbers(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT, v {text}, n BIGINT)")
    client.configure(key=(), by="id", watermark_column="n", batch_size=4)
    client.insert(*((i, f"v{i}", i // 3) for i in range(1, 30)))
    assert client.succeed().counters.created == 29
    assert client.final() == client.expected()


def test_a_stopped_keyless_pull_goes_on_between_groups(client: Pulling) -> None:
    keyless(client, batch_size=4)
    client.insert(*((i, f"v{i}", at(i // 3)) for i in range(1, 31)))
    first = client.stop_after(2)
    rest = client.succeed()
    assert first.counters.read + rest.counters.read == 30
    assert client.final() == client.expected()


def test_rows_without_key_and_watermark_are_read_together(client: Pulling) -> None:
    keyless(client, batch_size=3)
    client.insert(*((i, f"v{i}", None) for i in range(1, 12)), (20, "dated", at(0)))
    client.succeed()
    assert client.final() == client.expected()
    assert client.succeed().counters.created == 0
