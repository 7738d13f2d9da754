"""`connector run` as a service: what it does by the clock, how it ends, and who may work beside it.

Waiting is always for something that the daemon writes, to its log or its store.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import (
    CUSTOMERS,
    RECEIPTS,
    TENANT,
    Installation,
    Running,
    StoreFile,
    client,
    server_shop,
    sqlite_shop,
    sqlite_writer,
    with_changes,
)
from tests.servers import Database

WAIT_S = 60.0
EVERY_SECOND = {"log": {"format": "json"}, "defaults": {"retries": 0, "schedule": {"every": "1s"}}}
EVERY_HOUR = {"log": {"format": "json"}, "defaults": {"retries": 0, "schedule": {"every": "1h"}}}


@pytest.fixture
def started() -> Iterator[Callable[..., Running]]:
    """Start daemons, and end by their own id those that a failed test left behind."""
    running: list[Running] = []

    def start(installation: Installation, *arguments: str) -> Running:
        running.append(installation.start(*(arguments or ("run",))))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        each.output.close()


def eventually(true: Callable[[], Any], timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"it did not come true in {timeout_s} s"
        time.sleep(0.01)


def segments(installation: Installation) -> int:
    try:
        return int(StoreFile(installation.store).rows("SELECT count(*) FROM segments")[0][0])
    except sqlite3.OperationalError:  # the store is not there yet
        return 0


def leased(installation: Installation, stream: str) -> bool:
    """Say whether a run holds the stream."""
    sql = "SELECT 1 FROM leases JOIN streams USING (stream_id) WHERE client || '/' || name = ?"
    try:
        return bool(StoreFile(installation.store).rows(sql, [stream]))
    except sqlite3.OperationalError:
        return False


def stop(daemon: Running) -> None:
    daemon.send(signal.SIGTERM)
    done = daemon.end()
    assert done.code == 0, done.err


def touch(path: Path, customer: int, city: str) -> None:
    with sqlite_writer(path) as writer:
        writer.execute(
            "UPDATE customers SET city = ?, updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE customer_id = ?",
            (city, customer),
        )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every reader of a source's file waiting."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def patient(source: dict[str, Any]) -> dict[str, Any]:
    """Let a read wait for a locked source for as long as any test may take."""
    return {**source, "limits": {"connect_timeout": "120s"}}


def runs_of(installation: Installation, stream: str) -> list[tuple[str, float, float]]:
    sql = (
        "SELECT r.state, r.started_at, r.ended_at FROM runs r JOIN streams s USING (stream_id) "
        "WHERE s.client || '/' || s.name = ? ORDER BY run_id"
    )
    return StoreFile(installation.store).rows(sql, [stream])


def test_changes_are_picked_up_again_and_again(
    tmp_path: Path, postgresql_database: Database, started: Callable[..., Running]
) -> None:
    shop = tmp_path / "shop.db"
    here, there = sqlite_shop(shop), server_shop(postgresql_database, "e2e_daemon")
    installation = Installation(tmp_path).write(
        EVERY_SECOND,
        here=client(here, customers=CUSTOMERS),
        there=client(there, customers=CUSTOMERS),
    )
    daemon = started(installation)
    first = [daemon.wait_for_run(f"{name}/customers", timeout_s=WAIT_S) for name in ("here", "there")]
    assert [event["created"] > 0 for event in first] == [True, True]
    for turn in (1, 2):
        touch(shop, 2, f"Turn{turn}")
        postgresql_database.execute(
            f"UPDATE customers SET city = 'Turn{turn}', updated_at = now() AT TIME ZONE 'UTC' WHERE customer_id = 2"
        )
        for name in ("here", "there"):
            daemon.wait_for_run(f"{name}/customers", updated=1, times=turn, timeout_s=WAIT_S)
    stop(daemon)
    for name in ("here", "there"):
        done = installation.run("records", f"{name}/customers", "--key", "2", "--json")
        assert done.document["records"][0]["city"] == "Turn2"


def big_shop(tmp_path: Path, rows: int = 40_000) -> dict[str, Any]:
    """Return the source of a shop whose customers are many."""
    source = sqlite_shop(tmp_path / "shop.db", customers=20)
    with sqlite_writer(tmp_path / "shop.db") as writer:
        writer.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM n WHERE n < ?) INSERT INTO customers "
            "SELECT n, ?, 'Name' || n, NULL, 'Last', NULL, NULL, 'M', NULL, NULL, NULL, 'Kyiv', NULL, "
            "'2020-01-01 00:00:00.000000', datetime('2020-01-01', n || ' seconds') || '.000000', 0 FROM n",
            (1000 + rows - 1, TENANT),
        )
    return source


def customers_in(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM customers WHERE user_id = ?", (TENANT,)).fetchone()[0])


def read_in_all(installation: Installation) -> int:
    return sum(counters["read"] for counters in StoreFile(installation.store).counters())


def test_a_stop_ends_after_a_batch_and_the_next_start_goes_on_there(
    tmp_path: Path, started: Callable[..., Running]
) -> None:
    source = big_shop(tmp_path)
    small = with_changes(CUSTOMERS, batch_size=100)
    installation = Installation(tmp_path).write(EVERY_HOUR, acme=client(source, customers=small))
    daemon = started(installation)
    eventually(lambda: segments(installation) > 3)
    stop(daemon)
    assert daemon.runs("acme/customers")[-1]["state"] == "stopped"
    taken = segments(installation)
    assert taken < 300, "it went on for many batches"
    status = installation.run("status", "--json").document["streams"][0]
    assert status["open_pulls"]["live"] > 0
    assert "unfinished" in installation.run("status").out
    daemon = started(installation)
    daemon.wait_for_run("acme/customers", state="succeeded", timeout_s=WAIT_S)
    stop(daemon)
    rows = customers_in(tmp_path / "shop.db")
    assert read_in_all(installation) == rows, "rows were read again, or left out"
    changes = StoreFile(installation.store).changes()
    assert changes.height == changes["_key"].n_unique() == rows


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_pull_by_hand_that_is_stopped_says_so_and_the_next_one_goes_on(
    number: signal.Signals, tmp_path: Path, started: Callable[..., Running]
) -> None:
    source = big_shop(tmp_path)
    small = with_changes(CUSTOMERS, batch_size=100)
    installation = Installation(tmp_path).write(EVERY_HOUR, acme=client(source, customers=small))
    pull = started(installation, "pull", "--json")
    eventually(lambda: segments(installation) > 3)
    pull.send(number)
    done = pull.end()
    assert done.code == 130
    assert done.document["runs"][0]["state"] == "stopped"
    assert installation.run("pull").code == 0
    assert read_in_all(installation) == customers_in(tmp_path / "shop.db")


def test_one_run_per_stream_at_a_time_and_commands_beside_it(tmp_path: Path, started: Callable[..., Running]) -> None:
    held, free = tmp_path / "held.db", tmp_path / "free.db"
    installation = Installation(tmp_path).write(
        EVERY_SECOND,
        held=client(patient(sqlite_shop(held)), customers=CUSTOMERS),
        free=client(sqlite_shop(free), customers=CUSTOMERS, receipts=RECEIPTS),
    )
    daemon = started(installation)
    daemon.wait_for_run("held/customers", state="succeeded", timeout_s=WAIT_S)
    with locked(held):
        daemon.wait_for(lambda line: '"schedule"' in line and "held/customers" in line, timeout_s=WAIT_S)
        assert leased(installation, "held/customers")
        pull, other, status, records = installation.run_all(
            ["pull", "held/customers"],
            ["pull", "free/receipts"],
            ["status", "--json"],
            ["records", "held/customers", "--limit", "1", "--json"],
        )
        assert pull.code == 4, pull.err
        assert f"process {daemon.process.pid} " in pull.message
        assert "held/customers" in pull.message
        # The daemon may be at the same stream in that moment, which is refused for the same good reason.
        assert other.code in {0, 4}, other.err
        streams = {each["stream"]: each for each in status.document["streams"]}
        assert streams["held/customers"]["running"] == ["live"]
        assert len(records.document["records"]) == 1
    seen = len(daemon.runs("held/customers"))
    daemon.wait_for_run("held/customers", times=seen + 2, timeout_s=WAIT_S)
    stop(daemon)
    times = [(begun, ended) for _, begun, ended in runs_of(installation, "held/customers")]
    overlapping = [(one, other) for (_, one), (other, _) in itertools.pairwise(times) if one is None or other < one]
    assert not overlapping


def test_a_stop_waits_no_longer_than_stop_timeout(tmp_path: Path, started: Callable[..., Running]) -> None:
    shop = tmp_path / "shop.db"
    installation = Installation(tmp_path).write(
        {**EVERY_SECOND, "daemon": {"stop_timeout": "1s"}},
        acme=client(patient(sqlite_shop(shop)), customers=CUSTOMERS),
    )
    with locked(shop):
        daemon = started(installation)
        eventually(lambda: leased(installation, "acme/customers"))
        daemon.send(signal.SIGTERM)
        daemon.end(timeout_s=30)
    assert installation.run("pull").code == 0, "what the ended daemon held is free at once"


def test_a_stream_that_missed_its_time_runs_at_the_start_and_others_wait(
    pulled: Installation, started: Callable[..., Running]
) -> None:
    main = json.loads((pulled.folder / "connector.yaml").read_text(encoding="utf-8"))
    (pulled.folder / "connector.yaml").write_text(json.dumps({**main, **EVERY_HOUR}), encoding="utf-8")
    with contextlib.closing(sqlite3.connect(pulled.store)) as store:
        store.execute(
            "UPDATE runs SET started_at = started_at - 7200, ended_at = ended_at - 7200 "
            "WHERE stream_id = (SELECT stream_id FROM streams WHERE name = 'customers')"
        )
        store.commit()
    daemon = started(pulled)
    daemon.wait_for_run("acme/customers", state="succeeded", timeout_s=WAIT_S)
    stop(daemon)
    assert not daemon.runs("acme/receipts"), "it was not due for an hour"


def test_a_failing_stream_is_tried_again_until_it_works(tmp_path: Path, started: Callable[..., Running]) -> None:
    source = sqlite_shop(tmp_path / "shop.db")
    late = with_changes(CUSTOMERS, table="arrivals")
    installation = Installation(tmp_path).write(EVERY_SECOND, acme=client(source, customers=late, receipts=RECEIPTS))
    daemon = started(installation)
    failed = daemon.wait_for_run("acme/customers", state="failed", times=2, timeout_s=WAIT_S)
    assert "arrivals" in failed["error"]
    daemon.wait_for_run("acme/receipts", state="succeeded", timeout_s=WAIT_S)
    with sqlite_writer(tmp_path / "shop.db") as writer:
        writer.execute("ALTER TABLE customers RENAME TO arrivals")
    daemon.wait_for_run("acme/customers", state="succeeded", timeout_s=WAIT_S)
    stop(daemon)


def test_the_log_in_json_is_one_object_per_line_with_the_promise(
    tmp_path: Path, started: Callable[..., Running]
) -> None:
    source = sqlite_shop(tmp_path / "shop.db")
    missing = with_changes(CUSTOMERS, table="custmers")
    daemon = started(
        Installation(tmp_path).write(EVERY_HOUR, acme=client(source, customers=missing, receipts=RECEIPTS))
    )
    daemon.wait_for_run("acme/customers", state="failed", timeout_s=WAIT_S)
    daemon.wait_for_run("acme/receipts", state="succeeded", timeout_s=WAIT_S)
    stop(daemon)
    events = [json.loads(line) for line in daemon.lines]
    assert [event["event"] for event in events] == ["daemon", "run", "run", "daemon"]
    assert [event["state"] for event in events if event["event"] == "daemon"] == ["started", "stopped"]
    for event in events[1:3]:
        assert event["promise"] == "window"
        assert event["level"] == ("error" if event["state"] == "failed" else "info")
        assert {"stream", "lane", "run", "read", "created", "duration_s", "timestamp"} <= set(event)


def test_a_second_daemon_on_the_same_store_is_refused(pulled: Installation, started: Callable[..., Running]) -> None:
    first = started(pulled)
    first.wait_for("daemon.*started", timeout_s=WAIT_S)
    before = pulled.state()
    second = pulled.run("run")
    assert second.code == 5
    assert f"process {first.process.pid} " in second.message
    assert "daemon" in second.message
    assert pulled.state() == before
    stop(first)
    third = started(pulled)
    third.wait_for("daemon.*started", timeout_s=WAIT_S)
    stop(third)


def test_a_daemon_that_was_killed_is_replaced_at_once(tmp_path: Path, started: Callable[..., Running]) -> None:
    source = big_shop(tmp_path)
    small = with_changes(CUSTOMERS, batch_size=100)
    installation = Installation(tmp_path).write(EVERY_HOUR, acme=client(source, customers=small))
    killed = started(installation)
    eventually(lambda: segments(installation) > 3)
    killed.send(signal.SIGKILL)
    killed.process.wait()
    daemon = started(installation)
    daemon.wait_for_run("acme/customers", state="succeeded", timeout_s=WAIT_S)
    stop(daemon)
    assert [state for state, _, _ in runs_of(installation, "acme/customers")][:2] == ["interrupted", "succeeded"]
    assert 0 <= read_in_all(installation) - customers_in(tmp_path / "shop.db") <= 100


@pytest.mark.full
def test_a_daemon_whose_place_was_taken_ends_itself(pulled: Installation, started: Callable[..., Running]) -> None:
    """It was suspended for longer than its lease, say, and another one runs by now. It renews every 20 s."""
    daemon = started(pulled)
    daemon.wait_for("daemon.*started", timeout_s=WAIT_S)
    with contextlib.closing(sqlite3.connect(pulled.store, timeout=30)) as store:
        store.execute("UPDATE leases SET fence = fence + 1, holder = 'another' WHERE lane = 'daemon'")
        store.commit()
    done = daemon.end(timeout_s=60)
    assert done.code == 5
    assert "another" in done.message


def test_a_daemon_without_clients_says_what_to_do(tmp_path: Path) -> None:
    done = Installation(tmp_path).write(EVERY_HOUR).run("run")
    assert done.code == 2
    assert "client" in done.message
