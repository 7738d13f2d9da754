"""PostgreSQL's horizon against writers of every kind: what commits late or moves back is delivered, and little else.

At the level exact the stamps lie in the old days, where no look-back reaches. At bounded the slack is nothing, so
that only what is known of writers at work finds their rows. Most tests say how many rows a pull may read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connector.model import Counters, Level
from connector.runs.job import Tick
from connector.source.dialects.postgresql import horizon
from connector.source.session import Session
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, ago, at

pytestmark = needs("infinity")

ALL = pytest.mark.parametrize("level", [Level.EXACT, Level.BOUNDED, Level.WINDOW])
SURE = pytest.mark.parametrize("level", [Level.EXACT, Level.BOUNDED])
EARLIER = 20
"""Rows of some minutes ago, inside of the look-back: only the level window may read them again."""


def begin(client: Pulling, level: Level) -> None:
    """Give the stream a level, and the table its earlier rows."""
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.configure(slack_s=0.0)
    if level is not Level.EXACT:
        client.configure(table=None, query="SELECT * FROM t")
    if level is Level.BOUNDED:
        client.execute(f"GRANT pg_read_all_stats TO {client.database.source.user}")
    client.insert(*((i, "early", ago(600 - i)) for i in range(1, EARLIER + 1)))
    pulled(client, level)


def pulled(client: Pulling, level: Level) -> Counters:
    result = client.succeed()
    assert result.level is level
    assert result.warnings == ()
    return result.counters


def done(client: Pulling) -> tuple[int, int, int]:
    """Pull at the level exact, and return the rows read, and the records created and updated."""
    counters = pulled(client, Level.EXACT)
    return counters.read, counters.created, counters.updated


def stamps(level: Level) -> str:
    """Write the stamp of a row that is just being written; where stamps don't matter, an old one."""
    return at(1) if level is Level.EXACT else ago(0)


@contextlib.contextmanager
def committing(client: Pulling, moment: str, commit: Callable[[], None]) -> Iterator[None]:
    """Let a transaction commit between the question who is writing and the snapshot, or between it and the batches."""
    with pytest.MonkeyPatch.context() as patch:
        opening, edges = Session.open_snapshot, horizon.PostgresqlHorizon.within

        def open_snapshot(session: Session) -> None:
            commit()
            opening(session)

        def within(*arguments: Any) -> Any:
            sight = edges(*arguments)
            commit()
            return sight

        if moment == "before the snapshot":
            patch.setattr(Session, "open_snapshot", open_snapshot)
        else:
            patch.setattr(horizon.PostgresqlHorizon, "within", within)
        yield


# -- late commits


@ALL
def test_a_row_committed_late_is_delivered_and_little_besides(client: Pulling, level: Level) -> None:
    begin(client, level)
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (100, 'late', '{stamps(level)}')")
        client.insert((101, "newest", ago(0)))
        pulled(client, level)
        assert "100" not in client.final()
    late = {Level.EXACT: 2, Level.BOUNDED: 2, Level.WINDOW: EARLIER + 2}[level]
    assert pulled(client, level).read == late
    assert client.final() == client.expected()
    assert pulled(client, level).read == (EARLIER + 2 if level is Level.WINDOW else 0)


@ALL
def test_a_tie_committed_late_at_the_stored_maximum_is_delivered(client: Pulling, level: Level) -> None:
    begin(client, level)
    with client.database.transaction() as write:
        newest = ago(0)
        write(f"INSERT INTO t VALUES (100, 'late', '{newest}')")
        client.insert((101, "first", newest))
        pulled(client, level)
        assert client.mark() == newest.rstrip("0")
    pulled(client, level)
    assert client.final() == client.expected()


@ALL
@pytest.mark.parametrize("moment", ["before the snapshot", "after the snapshot"])
def test_a_commit_while_the_pull_opens_is_delivered(client: Pulling, level: Level, moment: str) -> None:
    begin(client, level)
    with contextlib.ExitStack() as open_:
        write = open_.enter_context(client.database.transaction())
        write(f"INSERT INTO t VALUES (100, 'late', '{stamps(level)}')")
        client.insert((101, "newest", ago(0)))
        pulled(client, level)
        with committing(client, moment, open_.close):
            pulled(client, level)
    assert ("100" in client.final()) == (moment == "before the snapshot")
    pulled(client, level)
    assert client.final() == client.expected()


@SURE
def test_a_transaction_that_writes_after_the_pull_what_it_stamped_before_is_delivered(
    client: Pulling, level: Level
) -> None:
    """It has no number yet when the pull looks, and now() is when it began."""
    begin(client, level)
    with client.database.transaction() as write:
        write("SELECT 1")
        client.insert((101, "newest", ago(0)))
        pulled(client, level)
        write("INSERT INTO t VALUES (100, 'late', now())")
        client.insert((102, "newer", ago(0)))
        pulled(client, level)
    pulled(client, level)
    assert client.final() == client.expected()


@SURE
def test_rows_of_savepoints_are_delivered_and_those_rolled_back_are_not(client: Pulling, level: Level) -> None:
    begin(client, level)
    with client.database.transaction() as write:
        old = stamps(level)
        write("SAVEPOINT one")
        write(f"INSERT INTO t VALUES (100, 'released', '{old}')")
        write("RELEASE one")
        write("SAVEPOINT two")
        write(f"INSERT INTO t VALUES (102, 'undone', '{old}')")
        write("ROLLBACK TO two")
        client.insert((101, "newest", ago(0)))
        pulled(client, level)
        write("SAVEPOINT three")
        write(f"UPDATE t SET v = 'changed', updated_at = '{old}' WHERE id = 1")
        client.insert((103, "newer", ago(0)))
        pulled(client, level)
    pulled(client, level)
    assert client.final() == client.expected()
    assert "102" not in client.final()


@SURE
@pytest.mark.parametrize("seen", [True, False], ids=["seen at work", "prepared between two pulls"])
def test_a_prepared_transaction_held_over_several_pulls_is_delivered(
    client: Pulling, level: Level, *, seen: bool
) -> None:
    begin(client, level)
    name = f"held_{client.database.source.user}"
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (100, 'held', '{stamps(level)}')")
        write(f"UPDATE t SET v = 'held', updated_at = '{stamps(level)}' WHERE id = 7")
        if seen:
            client.insert((101, "newer", ago(0)))
            pulled(client, level)
        write(f"PREPARE TRANSACTION '{name}'")
    try:
        for number in range(102, 105):
            client.insert((number, "newer", ago(0)))
            pulled(client, level)
        assert "100" not in client.final()
    finally:
        client.execute(f"COMMIT PREPARED '{name}'")
    pulled(client, level)
    assert client.final() == client.expected()
    assert pulled(client, level) == Counters()


@SURE
def test_rolled_back_rows_are_never_delivered_and_soon_cost_nothing(client: Pulling, level: Level) -> None:
    begin(client, level)
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (100, 'undone', '{ago(0)}')")
        pulled(client, level)
        write("ROLLBACK")
    counters = pulled(client, level)
    assert (counters.created, counters.updated) == (0, 0)
    assert pulled(client, level) == Counters()
    assert client.final() == client.expected()


# -- what changes in other ways


def test_an_update_dated_back_by_days_is_delivered(client: Pulling) -> None:
    begin(client, Level.EXACT)
    client.execute(f"UPDATE t SET v = 'back', updated_at = '{ago(5 * 86_400)}' WHERE id = 20")
    assert done(client) == (1, 0, 1)
    assert client.final() == client.expected()


def test_an_update_that_leaves_the_watermark_alone_is_delivered(client: Pulling) -> None:
    begin(client, Level.EXACT)
    client.execute("UPDATE t SET v = 'silent' WHERE id = 3")
    assert done(client) == (1, 0, 1)
    assert client.final() == client.expected()


def test_a_watermark_that_is_set_later_is_delivered(client: Pulling) -> None:
    begin(client, Level.EXACT)
    client.configure(null_watermarks="skip")
    client.insert((100, "without", None))
    pulled(client, Level.EXACT)
    assert "100" not in client.final()
    client.execute(f"UPDATE t SET updated_at = '{at(1)}' WHERE id = 100")
    assert pulled(client, Level.EXACT).created == 1
    assert client.final() == client.expected()


def test_rows_without_a_watermark_are_read_again_only_when_they_change(client: Pulling) -> None:
    begin(client, Level.EXACT)
    client.insert((100, "without", None), (101, "without", None))
    pulled(client, Level.EXACT)
    client.execute("UPDATE t SET v = 'changed' WHERE id = 100")
    assert done(client) == (1, 0, 1)
    assert client.final() == client.expected()


def test_a_row_whose_key_changed_is_delivered_under_the_new_one(client: Pulling) -> None:
    begin(client, Level.EXACT)
    client.execute("UPDATE t SET id = 500 WHERE id = 5")
    assert done(client) == (1, 1, 0)
    assert client.final() == client.expected() | {"5": "early"}


@ALL
def test_updates_while_a_pull_reads_are_delivered_by_the_next(client: Pulling, level: Level) -> None:
    """One behind the position, one ahead of it, and one that moves from ahead to behind."""
    begin(client, level)
    client.execute(f"UPDATE t SET v = 'first', updated_at = '{ago(5)}'")

    def change(tick: Tick) -> None:
        if tick.counters.batches == 1:
            client.execute(f"UPDATE t SET v = 'behind', updated_at = '{ago(0)}' WHERE id IN (2, 19)")
            moved = ago(300) if level is Level.WINDOW else stamps(level)
            client.execute(f"UPDATE t SET v = 'moved', updated_at = '{moved}' WHERE id = 18")

    client.succeed(watch=change)
    pulled(client, level)
    assert client.final() == client.expected()


@ALL
def test_values_that_no_calendar_holds_don_t_move_the_mark(client: Pulling, level: Level) -> None:
    begin(client, level)
    newest = ago(5)
    odd = ("infinity", "-infinity", "15000-01-01 00:00:00", "2999-01-01 00:00:00", newest)
    client.insert(*((100 + i, "odd", value) for i, value in enumerate(odd)))
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (200, 'late', '{stamps(level)}')")
        pulled(client, level)
        assert client.mark() == newest.rstrip("0")
    pulled(client, level)
    missing = set() if level is Level.EXACT else {"101"}  # below every look-back when it was written
    assert set(client.expected()) - set(client.final()) == missing


# -- tables and columns of other kinds


@SURE
def test_a_date_tells_days_only_and_nothing_of_a_day_is_lost(client: Pulling, level: Level) -> None:
    begin(client, level)
    client.execute("ALTER TABLE t ALTER updated_at TYPE date")
    client.succeed()
    with client.database.transaction() as write:
        write("INSERT INTO t VALUES (100, 'late', current_date)")
        client.execute("INSERT INTO t VALUES (101, 'first', current_date)")
        pulled(client, level)
        client.execute("INSERT INTO t VALUES (102, 'second', current_date)")
        pulled(client, level)
    pulled(client, level)
    client.execute("INSERT INTO t VALUES (103, 'third', current_date)")
    pulled(client, level)
    assert client.final() == client.expected()
    if level is Level.EXACT:
        client.execute("INSERT INTO t VALUES (104, 'of yesterday', current_date - 1)")
        assert pulled(client, level).read == 1
        assert client.final() == client.expected()


@pytest.mark.parametrize("level", [Level.BOUNDED, Level.WINDOW])
@pytest.mark.parametrize("kind", ["a view", "single columns"])
def test_behind_a_view_or_column_grants_a_late_row_is_delivered(client: Pulling, level: Level, kind: str) -> None:
    begin(client, Level.EXACT)
    login = client.database.source.user
    if kind == "a view":
        client.execute("CREATE VIEW seen AS SELECT * FROM t")
        client.configure(table="seen")
    else:
        client.execute(f"REVOKE SELECT ON t FROM {login}; GRANT SELECT (id, v, updated_at) ON t TO {login}")
    if level is Level.BOUNDED:
        client.execute(f"GRANT pg_read_all_stats TO {login}")
    assert client.succeed().level is level
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (100, 'late', '{ago(0)}')")
        client.insert((101, "newest", ago(0)))
        pulled(client, level)
    assert pulled(client, level).read == (2 if level is Level.BOUNDED else EARLIER + 2)
    assert client.final() == client.expected()


def test_a_partitioned_table_is_exact_and_rows_may_move(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp}) PARTITION BY RANGE (id)")
    for first in (0, 100):
        client.execute(f"CREATE TABLE t{first} PARTITION OF t FOR VALUES FROM ({first}) TO ({first + 100})")
    client.insert(*((i, "early", at(i)) for i in range(50, 150)))
    pulled(client, Level.EXACT)
    with client.database.transaction() as write:
        write(f"INSERT INTO t VALUES (10, 'late', '{at(1)}')")
        write("UPDATE t SET id = 190 WHERE id = 50")
        client.insert((160, "newest", ago(0)))
        pulled(client, Level.EXACT)
    assert done(client) == (3, 2, 0)
    assert client.final() == client.expected() | {"50": "early"}


@ALL
def test_a_keyless_stream_has_no_exact_level_and_keeps_late_ties(client: Pulling, level: Level) -> None:
    begin(client, level)
    held = Level.WINDOW if level is Level.EXACT else level
    client.configure(key=())
    client.succeed()
    with client.database.transaction() as write:
        newest = ago(0)
        write(f"INSERT INTO t VALUES (100, 'late', '{newest}')")
        client.insert((101, "first", newest))
        pulled(client, held)
    pulled(client, held)
    assert {record["local_id"] for record in client.records()} == set(client.expected())


# -- by id


def test_by_id_late_ids_and_updates_are_delivered(client: Pulling) -> None:
    begin(client, Level.EXACT)
    client.configure(by="id", watermark_column="id", look_back_ids=0)
    client.succeed()
    with client.database.transaction() as write:
        write("INSERT INTO t VALUES (100, 'late', NULL)")
        client.insert((200, "newest", None))
        pulled(client, Level.EXACT)
        client.execute("UPDATE t SET v = 'changed' WHERE id = 4")
    assert done(client) == (3, 1, 1)
    assert client.final() == client.expected()


def test_by_id_at_the_window_level_holes_are_read_until_they_fill(client: Pulling) -> None:
    begin(client, Level.EXACT)
    login = client.database.source.user
    client.execute(f"REVOKE SELECT ON t FROM {login}; GRANT SELECT (id, v) ON t TO {login}")
    client.configure(by="id", watermark_column="id", look_back_ids=0)
    client.succeed()
    with client.database.transaction() as undone, client.database.transaction() as write:
        undone("INSERT INTO t VALUES (21, 'undone', NULL)")
        write("INSERT INTO t VALUES (22, 'late', NULL), (150, 'late', NULL)")
        client.insert((23, "in time", None), (200, "newest", None))
        assert pulled(client, Level.WINDOW).created == 2
        undone("ROLLBACK")
    assert pulled(client, Level.WINDOW) == Counters(read=2, created=2, batches=1)
    assert client.final() == client.expected()
    assert pulled(client, Level.WINDOW) == Counters()
