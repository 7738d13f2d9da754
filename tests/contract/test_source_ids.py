"""Streams by id: numbers that come late, never, twice, in great numbers, below zero or beyond 64 bits."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connector.model import Hole
from connector.runs.job import Tick
from connector.runs.promise import sentence
from connector.store import codec
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, at

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"
NOON = datetime.fromisoformat("2024-06-01 12:00:00")
ROWS = 500_000
STATE_BYTES = 2_000


@pytest.fixture(params=["keyed", "keyless"])
def by_id(request: pytest.FixtureRequest, client: Pulling) -> Pulling:
    """Give a stream by unique id; its ids are followed where its level is not exact, so on every engine if keyless."""
    client.execute(TABLE)
    client.configure(by="id", watermark_column="id", key=("id",) if request.param == "keyed" else ())
    client.clock(NOON)
    return client


def insert(client: Pulling, *ids: int) -> None:
    client.insert(*((number, f"v{number}", None) for number in ids))


def ranges(client: Pulling) -> list[tuple[int, int]] | None:
    """Return the holes that the stream goes by, None at an exact level."""
    found = client.watermark()
    assert found is not None
    assert (found.holes is None) == found.level.exact
    return None if found.holes is None else [(hole.first, hole.last) for hole in found.holes]


def test_an_id_below_the_mark_is_read_and_nothing_beside_it(by_id: Pulling) -> None:
    insert(by_id, *(n for n in range(1, 30) if n not in (7, 20)))
    by_id.succeed()
    insert(by_id, 7)
    counters = by_id.succeed().counters
    assert (counters.read, counters.created) == (1, 1)
    insert(by_id, 20)
    assert by_id.succeed().counters.read == 1
    assert by_id.final() == by_id.expected()


def test_an_id_far_below_the_mark_is_read_however_small_the_look_back_in_ids(by_id: Pulling) -> None:
    """A range that an allocator reserved early is used up late."""
    by_id.configure(look_back_ids=5)
    insert(by_id, 1)
    by_id.succeed()
    insert(by_id, 5_000)
    by_id.succeed()
    insert(by_id, 2, 3, 4_000)
    assert by_id.succeed().counters.created == 3
    assert by_id.final() == by_id.expected()


@needs("transactions")
def test_an_id_taken_early_and_committed_late_is_read(by_id: Pulling) -> None:
    insert(by_id, 1)
    by_id.succeed()
    with by_id.database.transaction() as write:
        write("INSERT INTO t VALUES (2, 'late', NULL)")
        insert(by_id, 3, 4)
        by_id.succeed()
        by_id.clock(NOON + timedelta(minutes=14))
        by_id.succeed()
    by_id.clock(NOON + timedelta(hours=6))
    by_id.succeed()
    assert by_id.final() == by_id.expected()


def test_ids_that_were_rolled_back_cost_nothing_after_the_look_back(by_id: Pulling) -> None:
    insert(by_id, 1, 2, 9, 10)
    for minutes in (0, 10, 20):
        by_id.clock(NOON + timedelta(minutes=minutes))
        by_id.succeed()
    assert ranges(by_id) in (None, [(-9_990, 0), (3, 8)])
    by_id.clock(NOON + timedelta(minutes=40))
    assert by_id.succeed().counters.read == 0
    assert ranges(by_id) in (None, [])


def test_a_hole_that_was_given_up_does_not_come_back_with_newer_ids(by_id: Pulling) -> None:
    insert(by_id, 1, 3)
    by_id.succeed()
    for minutes in (20, 40, 60):
        by_id.clock(NOON + timedelta(minutes=minutes))
        insert(by_id, 10 * minutes)
        by_id.succeed()
    assert ranges(by_id) in (None, [(401, 599), (601, 1_199)], [(201, 399), (401, 599)])


def test_an_id_that_was_read_leaves_no_hole_when_it_is_deleted(by_id: Pulling) -> None:
    insert(by_id, 1, 2, 3)
    by_id.succeed()
    by_id.execute("DELETE FROM t WHERE id IN (2, 3)")
    insert(by_id, 4)
    by_id.succeed()
    assert ranges(by_id) in (None, [(-9_997, 0)])


@pytest.mark.parametrize("stops", [1, 4])
def test_a_pull_that_is_stopped_among_its_holes_goes_on_and_keeps_them(by_id: Pulling, stops: int) -> None:
    """Rows come behind the position and before it, while a pull of seven batches is not running."""
    absent = (5, 17, 18, 33, 49, 64)
    insert(by_id, *(n for n in range(1, 71) if n not in absent))
    by_id.stop_after(stops)
    insert(by_id, 5, 64)
    by_id.succeed()
    insert(by_id, 17, 49)
    by_id.succeed()
    insert(by_id, 18, *(n for n in range(75, 130) if n % 7))
    by_id.stop_after(stops)
    insert(by_id, 33, 77, 126)
    by_id.succeed()
    insert(by_id, 84)
    by_id.succeed()
    assert by_id.final() == by_id.expected()


def test_a_pull_whose_newest_row_is_deleted_before_its_end_still_looks_below_it(by_id: Pulling) -> None:
    insert(by_id, *range(1, 26), 28)
    by_id.stop_after(2)
    by_id.execute("DELETE FROM t WHERE id = 28")
    by_id.succeed()
    insert(by_id, 27)
    by_id.succeed()
    assert set(by_id.expected()) <= set(by_id.final())


def test_holes_beside_each_other_may_fill_a_batch_of_their_own(by_id: Pulling) -> None:
    insert(by_id, *range(1, 100, 2))
    by_id.succeed()
    insert(by_id, *range(2, 100, 2))
    stopped = by_id.stop_after(2).counters
    assert stopped.created + by_id.succeed().counters.created == 49
    assert by_id.final() == by_id.expected()


@pytest.mark.parametrize("first", [-40, -(2**63), 2**63 - 41])
def test_ids_at_any_end_of_the_range_are_followed(by_id: Pulling, first: int) -> None:
    insert(by_id, *(first + n for n in range(1, 40) if n % 6))
    by_id.succeed()
    insert(by_id, first, first + 6, first + 18)
    by_id.succeed()
    insert(by_id, first + 12, first + 40)
    by_id.succeed()
    assert by_id.final() == by_id.expected()
    assert by_id.succeed().counters.read == 0


@pytest.mark.parametrize("key", [("id",), ()])
@needs("server")
def test_ids_at_the_lower_end_of_a_small_type_are_followed(client: Pulling, key: tuple[str, ...]) -> None:
    """A look-back would reach below what the column's type holds."""
    client.execute("CREATE TABLE t (id SMALLINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.configure(by="id", watermark_column="id", key=key)
    insert(client, -32768, -32766)
    client.succeed()
    insert(client, -32767, -32760)
    client.succeed()
    assert client.final() == client.expected()


@needs("unsigned")
def test_ids_beyond_63_bits_are_followed(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id {unsigned} PRIMARY KEY, v {text}, updated_at {stamp})")
    client.configure(by="id", watermark_column="id")
    insert(client, 2**63 + 1, 2**64 - 3, 2**64 - 1)
    client.succeed()
    insert(client, 2**64 - 2)
    assert client.succeed().counters.read == 1
    assert client.final() == client.expected()


def test_an_id_that_is_not_unique_is_read_back_by_the_look_back_in_ids(client: Pulling) -> None:
    """A number that was seen may come again, so no list of missing ones could tell."""
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, number BIGINT NOT NULL)")
    client.configure(by="id", watermark_column="number", look_back_ids=3)
    client.insert(*((n, "v", n) for n in range(1, 21)))
    client.succeed()
    client.insert((101, "equal", 20), (102, "equal to an earlier one", 18))
    client.succeed()
    assert client.final() == client.expected()
    found = client.watermark()
    assert found is not None
    assert found.holes is None


def test_a_query_is_read_back_by_the_look_back_in_ids(client: Pulling) -> None:
    """No catalogue says that a query's ids are unique."""
    client.execute(TABLE)
    client.at_the_window_level()
    client.configure(by="id", watermark_column="id", look_back_ids=5)
    insert(client, *range(1, 18), 20)
    client.succeed()
    insert(client, 18)
    assert client.succeed().counters.read == 6 - 1
    assert client.final() == client.expected()
    assert client.watermark().holes is None  # type: ignore[union-attr]  # not None: it fails then


def test_a_first_pull_begins_at_1970(client: Pulling) -> None:
    client.execute(TABLE)
    client.insert((1, "zero", "1970-01-01 00:00:00"), (2, "a moment later", "1970-01-01 00:00:00.000001"))
    client.succeed()
    assert client.final() == client.expected()
    client.insert((3, "later", "1970-01-01 00:00:01"))
    client.succeed()
    assert client.final() == client.expected()
    assert client.succeed().counters.read == 0


def test_holes_are_kept_over_a_restart_of_the_program(by_id: Pulling) -> None:
    insert(by_id, 1, 5)
    by_id.succeed()
    before = by_id.watermark()
    by_id.configure()
    assert by_id.watermark() == before
    if before is not None and before.holes is not None:
        assert before.holes[-1] == Hole(2, 4, before.holes[-1].seen_us)
    insert(by_id, 3)
    by_id.succeed()
    assert by_id.final() == by_id.expected()


def test_the_promise_says_that_updates_are_not_seen_unless_they_are(by_id: Pulling) -> None:
    insert(by_id, 1)
    by_id.succeed()
    found = by_id.watermark()
    assert found is not None
    by_id.execute("UPDATE t SET v = 'changed' WHERE id = 1")
    seen = by_id.succeed().counters.updated == 1
    assert ("updates are not seen" in sentence(by_id.stream, found.level, found)) is not seen


@pytest.mark.full  # 6 to 13 seconds an engine
def test_as_many_rows_as_you_like_on_one_value_need_no_more_state(client: Pulling) -> None:
    client.execute(TABLE)
    client.configure(batch_size=50_000)
    client.execute(
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999) "
        f"SELECT a.i * 1000 + b.i, 'v', '{at(0)}' FROM n a, n b WHERE a.i < {ROWS // 1000}"
    )
    sizes: list[int] = []

    def watch(tick: Tick) -> None:
        found = client.open_pull()
        sizes.append(0 if found is None else len(codec.dump(found)))

    assert client.succeed(watch=watch).counters.created == ROWS
    marks = client.watermark()
    assert marks is not None
    assert len(sizes) >= ROWS // 50_000
    assert 0 < max(sizes) + len(codec.dump(marks)) < STATE_BYTES
    assert client.succeed().counters.read == 0
