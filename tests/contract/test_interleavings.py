"""Deterministic interleavings of writers and pulls.

In each of them at least one naive scheme loses a row, or the case is no case; the connector loses none, at the level
that a SELECT-only login has on the engine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from connector.runs.job import Tick
from tests.contract.engines import ENGINES
from tests.contract.naive import SCHEMES, Naive
from tests.contract.pulling import Pulling, ago, text

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"


@dataclass(slots=True)
class World:
    """A client's table, the connector, and the naive schemes; all pull at the same moments."""

    client: Pulling
    naive: list[Naive] = field(default_factory=list)

    def create(self, table: str = TABLE) -> None:
        self.client.execute(table)
        self.client.execute("CREATE INDEX changed ON t (updated_at, id)")
        self.naive = [scheme(self.client.database) for scheme in SCHEMES]

    def insert(self, *rows: tuple[object, ...]) -> None:
        self.client.insert(*rows)

    def execute(self, sql: str) -> None:
        self.client.execute(sql)

    def pull(self, *, between: Callable[[], None] = lambda: None) -> None:
        """Pull with all, the naive ones first; `between` is called once, after the connector's first batch."""
        calls = iter([between])

        def watch(_: Tick) -> None:
            next(calls, lambda: None)()

        for each in self.naive:
            each.pull()  # type: ignore[attr-defined]  # each scheme has its own
        self.client.succeed(watch=watch)
        next(calls, lambda: None)()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Callable[[str], None]]:
        with self.client.database.transaction() as write:
            yield write

    @property
    def postgresql(self) -> bool:
        return self.client.engine.name == "postgresql"


def late_commit(world: World) -> None:
    with world.transaction() as write:
        write(f"INSERT INTO t VALUES (1, 'late', '{ago(9)}')")
        world.insert((2, "in time", ago(5)))
        world.pull()
    world.pull()


def tie_committed_later_at_the_stored_maximum(world: World) -> None:
    same = ago(5)
    with world.transaction() as write:
        write(f"INSERT INTO t VALUES (1, 'tie', '{same}')")
        world.insert((2, "first of the tie", same))
        world.pull()
    world.pull()


def commit_between_bound_and_batch(world: World) -> None:
    world.client.configure(batch_size=3)
    world.insert(*((i, "old", ago(100 - i)) for i in range(10, 20)))
    with world.transaction() as write:
        write(f"INSERT INTO t VALUES (1, 'between', '{ago(99)}')")
        world.pull(between=lambda: write("COMMIT"))
    world.pull()


def savepoint_released_late(world: World) -> None:
    with world.transaction() as write:
        write(f"INSERT INTO t VALUES (1, 'outer', '{ago(9)}')")
        write("SAVEPOINT inner_one")
        write(f"INSERT INTO t VALUES (2, 'inner', '{ago(8)}')")
        write("RELEASE SAVEPOINT inner_one")
        write("SAVEPOINT gone")
        write(f"INSERT INTO t VALUES (3, 'rolled back', '{ago(8)}')")
        write("ROLLBACK TO SAVEPOINT gone")
        world.insert((4, "in time", ago(5)))
        world.pull()
    world.pull()


def prepared_transaction_held_over_several_pulls(world: World) -> None:
    database = world.client.database
    with contextlib.closing(database.admin()) as connection, connection.cursor() as cursor:
        if world.postgresql:
            begin, commit = "BEGIN", "COMMIT PREPARED 'held'"
            end = ["PREPARE TRANSACTION 'held'"]
        else:
            begin, commit = "XA START 'held'", "XA COMMIT 'held'"
            end = ["XA END 'held'", "XA PREPARE 'held'"]
        cursor.execute(begin)
        cursor.execute(f"INSERT INTO t VALUES (1, 'prepared', '{ago(60)}')")
        for statement in end:
            cursor.execute(statement)
        for number in range(2, 5):
            world.insert((number, "in time", ago(20 - number)))
            world.pull()
        cursor.execute(commit)
    world.pull()


def rollback_holes(world: World) -> None:
    with world.transaction() as rolled_back, world.transaction() as late:
        rolled_back(f"INSERT INTO t VALUES (1, 'never', '{ago(9)}')")
        late(f"INSERT INTO t VALUES (2, 'late', '{ago(8)}')")
        world.insert((3, "in time", ago(5)))
        world.pull()
        rolled_back("ROLLBACK")
        world.pull()
    world.pull()


def back_dated_update(world: World) -> None:
    world.insert((1, "old", ago(3600)), (2, "newest", ago(5)))
    world.pull()
    world.execute(f"UPDATE t SET v = 'back-dated', updated_at = '{ago(90)}' WHERE id = 1")
    world.pull()


def update_while_a_pull_reads(world: World) -> None:
    world.client.configure(batch_size=3)
    world.insert(*((i, "old", ago(300 - i)) for i in range(1, 13)))
    with world.transaction() as write:
        write(f"UPDATE t SET v = 'behind the position', updated_at = '{ago(60)}' WHERE id = 1")
        write(f"UPDATE t SET v = 'ahead of it', updated_at = '{ago(59)}' WHERE id = 12")
        world.insert((20, "newest", ago(5)))
        world.pull(between=lambda: write("COMMIT"))
    world.pull()


def null_watermark_set_later(world: World) -> None:
    world.insert((1, "no date yet", None), (2, "newest", ago(5)))
    world.pull()
    world.execute(f"UPDATE t SET v = 'dated', updated_at = '{ago(60)}' WHERE id = 1")
    world.pull()


def key_changed(world: World) -> None:
    world.insert((1, "a", ago(60)), (2, "b", ago(5)))
    world.pull()
    world.execute(f"UPDATE t SET id = 3, v = 'moved', updated_at = '{ago(50)}' WHERE id = 1")
    world.pull()


def first_run_with_1970_and_negative_ids(world: World) -> None:
    world.insert((-5, "negative", "1970-01-01 00:00:01"), (0, "zero", "1970-01-01 00:00:02"), (7, "new", ago(5)))
    world.pull()


def several_long_writers_over_many_pulls(world: World) -> None:
    with world.transaction() as first, world.transaction() as second:
        first(f"INSERT INTO t VALUES (1, 'first', '{ago(30)}')")
        second(f"INSERT INTO t VALUES (2, 'second', '{ago(28)}')")
        for number in range(3, 8):
            world.insert((number, "in time", ago(20 - number)))
            world.pull()
            second(f"UPDATE t SET v = 'second {number}' WHERE id = 2")
        first("COMMIT")
        world.pull()
    world.pull()


CASES = (
    late_commit,
    tie_committed_later_at_the_stored_maximum,
    commit_between_bound_and_batch,
    savepoint_released_late,
    prepared_transaction_held_over_several_pulls,
    rollback_holes,
    back_dated_update,
    update_while_a_pull_reads,
    null_watermark_set_later,
    key_changed,
    first_run_with_1970_and_negative_ids,
    several_long_writers_over_many_pulls,
)


@pytest.mark.parametrize("database", [name for name, each in ENGINES.items() if "server" in each.has], indirect=True)
@pytest.mark.parametrize("case", CASES, ids=[case.__name__ for case in CASES])
def test_the_connector_loses_nothing_where_a_naive_scheme_does(client: Pulling, case: Callable[[World], None]) -> None:
    world = World(client)
    world.create()
    case(world)
    expected = {key: text(value) for key, value in client.expected().items()}
    taken = client.final()
    assert {key: taken.get(key) for key in expected} == expected
    assert any(any(each.taken.get(key) != value for key, value in expected.items()) for each in world.naive), "no case"


@pytest.mark.parametrize("database", [name for name, each in ENGINES.items() if "server" in each.has], indirect=True)
@pytest.mark.parametrize("kind, width", [("{date}", 10), ("{second}", 19)])
def test_more_rows_of_a_coarse_value_are_delivered_where_a_naive_scheme_loses_them(
    client: Pulling, kind: str, width: int
) -> None:
    stamp = ago(3)[:width]
    world = World(client)
    world.create(f"CREATE TABLE t (id BIGINT PRIMARY KEY, v {{text}}, updated_at {kind})")
    for number in (5, 3, 1):
        world.insert((number, "same day or second", stamp))
        world.pull()
    taken = client.final()
    assert taken == client.expected()
    assert any(len(each.taken) < 3 for each in world.naive)
