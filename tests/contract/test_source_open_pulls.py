"""Pulls that are stopped, broken or changed on the way, and go on at their position."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import Any

import pytest

from connector.errors import SourceUnavailable
from connector.model import RunState
from connector.source.session import Session
from tests.contract.conftest import LIMITS
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, ago, at

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp}, other {stamp})"


def filled(client: Pulling, rows: int = 60) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(i // 3), at(1000 - i)) for i in range(1, rows + 1)))


def test_a_stopped_pull_reads_only_the_rest_the_next_time(client: Pulling) -> None:
    filled(client)
    assert client.stop_after(2).counters.read == 20
    assert client.watermark() is None
    assert client.succeed().counters.read == 40
    assert client.final() == client.expected()
    assert client.open_pull() is None


def test_a_pull_stopped_at_every_batch_comes_to_its_end(client: Pulling) -> None:
    filled(client)
    read = sum(client.stop_after(1).counters.read for _ in range(5))
    read += client.succeed().counters.read
    assert read == 60
    assert client.final() == client.expected()


def test_what_changed_behind_the_position_is_read_by_the_pull_after(client: Pulling) -> None:
    """The pull ends with its first snapshot's marks: everything that came since lies above them."""
    filled(client)
    client.stop_after(3)
    client.execute(f"UPDATE t SET v = 'changed', updated_at = '{ago(20)}' WHERE id IN (1, 2, 30)")
    client.execute(f"UPDATE t SET v = 'ahead', updated_at = '{ago(19)}' WHERE id = 60")
    client.insert((61, "new", ago(18), None))
    client.succeed()
    client.succeed()
    assert client.final() == client.expected()


def test_a_back_dated_row_behind_the_position_is_found_by_the_look_back(client: Pulling) -> None:
    client.execute(TABLE)
    client.at_the_window_level()
    client.insert(*((i, f"v{i}", ago(600 - i), None) for i in range(1, 61)))
    client.stop_after(3)
    client.insert((99, "late", ago(580), None))
    client.succeed()
    client.succeed()
    assert client.final() == client.expected()


def test_a_future_row_is_delivered_though_the_pull_was_stopped(client: Pulling) -> None:
    filled(client)
    client.insert((99, "future", "2999-01-01 00:00:00", None))
    client.stop_after(2)
    client.succeed()
    client.succeed()
    assert client.final() == client.expected()


def test_a_failure_keeps_the_position(client: Pulling) -> None:
    filled(client)

    frames, reads = Session.frames, itertools.count(1)

    def lost_with_the_fourth(*arguments: Any) -> Any:
        if next(reads) == 4:
            raise SourceUnavailable("lost")
        return frames(*arguments)

    client.patch.setattr(Session, "frames", lost_with_the_fourth)
    first = client.pull()
    assert (first.state, first.counters.read) == (RunState.FAILED, 30)
    client.patch.undo()
    assert client.succeed().counters.read == 30
    assert client.final() == client.expected()


def test_another_watermark_column_reads_the_stream_from_its_start(client: Pulling) -> None:
    filled(client)
    client.succeed()
    client.configure(watermark_column="other")
    result = client.succeed()
    assert result.counters.read == 60
    assert any("from its start" in warning for warning in result.warnings)


def test_another_watermark_column_with_start_now_loses_nothing(client: Pulling) -> None:
    filled(client)
    client.configure(start="now")
    client.succeed()
    client.insert((61, "new", ago(50), ago(50)))
    client.configure(watermark_column="other")
    client.succeed()
    client.succeed()
    assert "61" in client.final()


def test_another_watermark_column_drops_the_position_of_an_open_pull(client: Pulling) -> None:
    filled(client)
    client.stop_after(2)
    client.configure(watermark_column="other")
    client.succeed()
    assert client.final() == client.expected()


def test_another_key_drops_the_position_of_an_open_pull(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT NOT NULL UNIQUE, k BIGINT NOT NULL UNIQUE, v {text}, updated_at {stamp})")
    client.database.insert("t", [(i, 1000 - i, f"v{i}", at(i // 7)) for i in range(1, 61)])
    client.stop_after(2)
    client.configure(key=("k",))
    client.succeed()
    assert client.final() == client.expected()


def test_another_table_reads_the_stream_from_its_start(client: Pulling) -> None:
    filled(client)
    client.succeed()
    client.execute("CREATE TABLE t2 (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert((500, "moved", at(1)), table="t2")
    client.configure(table="t2")
    assert client.succeed().counters.created == 1


def test_a_changed_filter_drops_the_position_of_an_open_pull(client: Pulling) -> None:
    filled(client)
    client.configure(table=None, query="SELECT id, v, updated_at FROM t WHERE id > 30")
    client.stop_after(2)
    client.configure(query="SELECT id, v, updated_at FROM t")
    client.succeed()
    assert client.final() == client.expected()


@needs("server")
def test_a_connection_killed_between_batches_is_made_again_and_the_pull_goes_on(client: Pulling) -> None:
    filled(client)
    client.configure(retries=3)
    killed: list[int] = []

    def kill(tick: object) -> None:
        if len(killed) < 2:
            killed.append(1)
            client.database.end_sessions()

    result = client.succeed(watch=kill)
    assert result.counters.read == 60
    assert client.final() == client.expected()
    assert client.watermark() is not None


@needs("server")
def test_a_connection_killed_before_the_last_empty_batch_loses_nothing(client: Pulling) -> None:
    filled(client, 20)
    first = client.pull(watch=lambda _: client.database.end_sessions())
    assert first.state is RunState.FAILED
    assert first.exit_code == 4
    client.succeed()
    assert client.final() == client.expected()


def test_a_pull_that_changes_its_snapshot_with_every_batch_ends_and_loses_nothing(client: Pulling) -> None:
    """A writer goes on and on: the pull must neither chase it nor skip what it writes."""
    filled(client, 100)
    client.configure(limits=replace(LIMITS, snapshot_cap_s=0))
    number = [1000]

    def write(tick: object) -> None:
        """Between any two batches come more rows than a batch holds, and updates behind the position and ahead."""
        first = number[0]
        number[0] += 12
        client.insert(*((first + i, "new", ago(0), None) for i in range(12)))
        client.execute(f"UPDATE t SET v = 'u{first}', updated_at = '{ago(0)}' WHERE id IN ({first % 100}, 3, 97)")
        assert number[0] < 3000, "the pull chases the writer"

    client.succeed(watch=write)
    client.succeed()
    client.succeed()
    assert client.final() == client.expected()


@needs("transactions")
@pytest.mark.parametrize("cap_s", [0.0, 60.0])
def test_writers_at_work_all_the_time_lose_nothing(client: Pulling, cap_s: float) -> None:
    filled(client, 30)
    client.configure(limits=replace(LIMITS, snapshot_cap_s=cap_s), batch_size=40)
    ended = threading.Event()
    problems: list[BaseException] = []

    def work(first: int) -> None:
        number = first
        try:
            while not ended.is_set():
                with client.database.transaction() as write:
                    write(f"INSERT INTO t VALUES ({number}, 'w', '{ago(0)}', NULL)")
                    write(f"INSERT INTO t VALUES ({number + 1}, 'w', '{ago(0)}', NULL)")
                    ended.wait(0.03)  # what another writer stamps meanwhile is committed first
                    write(f"UPDATE t SET v = 'w{number}', updated_at = '{ago(0)}' WHERE id = {number}")
                number += 2
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            problems.append(error)

    writers = [threading.Thread(target=work, args=(start,)) for start in (10_000, 20_000, 30_000)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(5):
            client.succeed()
    finally:
        ended.set()
        for writer in writers:
            writer.join(30)
    assert not problems
    client.succeed()
    assert len(client.expected()) > 40
    assert client.final() == client.expected()
