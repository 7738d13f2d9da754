"""Where a stream begins, and rows that have no watermark."""

from __future__ import annotations

import pytest

from connector.model import RunState
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, ago, at

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"


def test_null_watermarks_are_read_in_batches_of_their_own(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, 11)), *((i, f"v{i}", None) for i in range(11, 46)))
    assert client.succeed().counters.created == 45
    assert client.final() == client.expected()
    client.insert((0, "another", None))
    assert client.succeed().counters.created == 1
    assert client.final() == client.expected()


def test_only_null_watermarks_are_read_and_the_first_date_after_them(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", None) for i in range(1, 24)))
    assert client.succeed().counters.created == 23
    client.execute(f"UPDATE t SET v = 'dated', updated_at = '{at(0)}' WHERE id = 5")
    assert client.succeed().counters.updated == 1
    assert client.final() == client.expected()


def test_a_pull_stopped_among_null_watermarks_goes_on_there(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(batch_size=4)
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, 7)), *((i, f"v{i}", None) for i in range(7, 31)))
    first = client.stop_after(4)
    rest = client.succeed()
    assert first.counters.read + rest.counters.read == 30
    assert client.final() == client.expected()


def test_null_watermarks_of_a_composite_key_are_resumed(client: Pulling) -> None:
    client.execute(
        "CREATE TABLE t (a INT NOT NULL, id INT NOT NULL, v {text}, updated_at {stamp}, PRIMARY KEY (a, id))"
    )
    client.configure(key=("a", "id"), batch_size=3)
    client.insert(*((i % 4, i, f"v{i}", None) for i in range(1, 24)))
    assert client.succeed().counters.created == 23
    assert client.final() == client.expected()


def test_null_watermarks_may_be_skipped(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(null_watermarks="skip")
    client.insert((1, "a", at(1)), (2, "b", None))
    client.succeed()
    assert client.final() == {"1": "a"}


def test_null_watermarks_may_stop_the_stream_before_anything_is_committed(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(null_watermarks="refuse")
    client.insert((1, "a", at(1)), (2, "b", None))
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "updated_at" in result.error
    assert client.final() == {}
    client.execute(f"UPDATE t SET updated_at = '{at(2)}' WHERE id = 2")
    client.succeed()
    assert client.final() == client.expected()


def test_a_start_value_leaves_out_what_lies_below_it(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, 31)))
    client.configure(start=at(11))
    assert client.succeed().counters.created == 20
    assert client.final() == client.expected(f"WHERE updated_at >= '{at(11)}'")
    client.insert((31, "new", ago(1)))
    assert client.succeed().counters.created == 1


def test_a_start_value_of_a_number_leaves_out_what_lies_below_it(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, 31)))
    client.configure(start=11, by="id", watermark_column="id")
    assert client.succeed().counters.created == 20
    assert client.final() == client.expected("WHERE id >= 11")


def test_a_start_value_holds_while_nothing_has_come_yet(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(start="2024-01-01")
    client.succeed()
    client.insert((1, "old", "2023-12-31 23:59:59.000000"), (2, "new", "2024-01-01 00:00:00.000000"))
    client.succeed()
    assert client.final() == {"2": "new"}


def test_start_now_reads_only_what_comes(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, 31)))
    client.configure(start="now")
    assert client.succeed().counters.read == 0
    client.insert((31, "new", ago(1)))
    client.succeed()
    assert client.final() == {"31": "new"}


def test_start_now_on_an_empty_table_reads_what_comes(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(start="now")
    client.succeed()
    client.insert((1, "new", ago(1)))
    client.succeed()
    assert client.final() == {"1": "new"}


def test_start_at_the_beginning_reads_everything(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(start="beginning")
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, 31)))
    assert client.succeed().counters.created == 30


@pytest.mark.parametrize("start", ["soon", "10.5", "1e3", "2024-01-01", "NaN"])
def test_a_start_that_is_no_whole_number_is_a_mistake_of_the_configuration(client: Pulling, start: str) -> None:
    client.execute(TABLE)
    client.insert((1, "a", at(1)))
    client.configure(start=start, by="id", watermark_column="id")
    result = client.pull()
    assert result.exit_code == 2, result.error
    assert "id" in result.error


@pytest.mark.parametrize("start", ["soon", "17", "2024-13-01", "2024-01-01 10 pm"])
def test_a_start_that_is_no_time_is_a_mistake_of_the_configuration(client: Pulling, start: str) -> None:
    client.execute(TABLE)
    client.configure(start=start)
    result = client.pull()
    assert result.exit_code == 2, result.error
    assert "updated_at" in result.error


@needs("typed")
@pytest.mark.parametrize("zone", ["Z", "+00:00", "+02:00"])
def test_a_start_with_an_offset_means_that_instant_or_is_refused(client: Pulling, zone: str) -> None:
    """A naive column must not silently drop the offset."""
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", f"2024-03-01 {i:02d}:00:00") for i in range(8, 16)))
    client.configure(start=f"2024-03-01T12:00:00{zone}")
    result = client.pull()
    first = 10 if zone == "+02:00" else 12
    if result.exit_code != 2:
        assert client.final() == client.expected(f"WHERE id >= {first}")


def test_a_watermark_column_of_text_is_refused_where_the_engine_has_types(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {text})")
    client.insert((1, "a", at(1)))
    result = client.pull()
    if "typed" in client.has:
        assert result.exit_code == 2
        assert "updated_at" in result.error
    else:
        assert client.final() == client.expected()
