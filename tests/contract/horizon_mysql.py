"""What the tests of MySQL's horizon share: rights, writers that wait, a foreign poller, a look at the statements."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from connector.source.select import Statement
from connector.source.session import Session
from tests.contract.pulling import Pulling, ago

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40), updated_at {stamp}, KEY wm (updated_at, id))"
DIGEST = "BIT_XOR"
WAIT_S = 10.0


def login(client: Pulling) -> str:
    return f"'{client.database.source.user}'@'%'"


@contextlib.contextmanager
def granted(client: Pulling, right: str = "PROCESS") -> Iterator[None]:
    """Give the client's login a right beside SELECT."""
    client.execute(f"GRANT {right} ON *.* TO {login(client)}")
    try:
        yield
    finally:
        client.execute(f"REVOKE {right} ON *.* FROM {login(client)}")


def three_old_rows(client: Pulling) -> Pulling:
    """Give a stream without slack or look-back over a table of three old rows, not yet pulled."""
    client.configure(slack_s=0.0, look_back_s=0.001)
    client.execute(TABLE)
    client.insert((1, "first", ago(3_000)), (2, "second", ago(2_900)), (3, "third", ago(2_800)))
    return client


@contextlib.contextmanager
def with_right(client: Pulling, right: str) -> Iterator[Pulling]:
    """Give a stream whose login may SELECT only, or has PROCESS besides."""
    with granted(client) if right == "process" else contextlib.nullcontext():
        yield client


@contextlib.contextmanager
def set_global(client: Pulling, name: str, value: str) -> Iterator[None]:
    """Change a variable of the server for as long as the context lasts."""
    before = client.execute(f"SELECT @@GLOBAL.{name}")[0][0]
    client.execute(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        client.execute(f"SET GLOBAL {name} = %s", (before,))


@contextlib.contextmanager
def in_flight(client: Pulling, *statements: str) -> Iterator[Callable[[str], object]]:
    """Hold a transaction that wrote something; what was not committed by the end of the context is rolled back."""
    with client.database.raw() as run:
        run("BEGIN")
        for statement in statements:
            run(statement)
        yield run
        run("ROLLBACK")


@contextlib.contextmanager
def started(client: Pulling, statement: str) -> Iterator[threading.Thread]:
    """Run a statement on a connection of its own, in a thread that has ended by the end of the context."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with client.database.raw() as execute:
                execute(statement)
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's own thread
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield thread
    thread.join(WAIT_S)
    assert not thread.is_alive(), "the statement still waits"
    assert not failed, failed


def until_waiting(client: Pulling, words: str, at_least_ms: int = 30) -> None:
    """Wait until a statement that begins with these words has run for so long; innodb_trx is left unread."""
    sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE %s AND time_ms >= %s"
    deadline_s = time.monotonic() + WAIT_S
    while not client.execute(sql, (f"{words}%", at_least_ms))[0][0]:
        assert time.monotonic() < deadline_s, f"no statement {words} waits"
        time.sleep(0.01)


@contextlib.contextmanager
def another_poller(client: Pulling) -> Iterator[None]:
    """Read the list of transactions every 20 ms, which keeps it as it is now for everybody."""
    stop, ready = threading.Event(), threading.Event()

    def poll() -> None:
        with client.database.raw() as run:
            while not stop.wait(0.02):
                run("SELECT COUNT(*) FROM information_schema.innodb_trx")
                ready.set()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    assert ready.wait(WAIT_S)
    try:
        yield
    finally:
        stop.set()
        thread.join(WAIT_S)


@dataclass(slots=True)
class Asked:
    """One statement of a run's own session, and how many rows it gave."""

    sql: str
    binds: tuple[object, ...]
    rows: int


@dataclass(slots=True)
class Spy:
    """Listens to the statements of the program's sessions; `then` is called after each, with the session."""

    asked: list[Asked] = field(default_factory=list)
    then: Callable[[Session, Asked], None] = lambda _session, _asked: None

    @property
    def digests(self) -> list[Asked]:
        return [each for each in self.asked if DIGEST in each.sql]

    def listen(self, patch: pytest.MonkeyPatch) -> Spy:
        rows_of = Session.rows

        def rows(session: Session, statement: Statement) -> list[tuple[Any, ...]]:
            found = rows_of(session, statement)
            asked = Asked(statement.sql, statement.binds, len(found))
            self.asked.append(asked)
            self.then(session, asked)
            return found

        patch.setattr(Session, "rows", rows)
        return self


@contextlib.contextmanager
def statements(client: Pulling) -> Iterator[list[str]]:
    """Collect, by the server's own log, the statements of the client's login; the list is filled at the end."""
    found: list[str] = []
    with set_global(client, "log_output", "'TABLE'"):
        client.execute("TRUNCATE mysql.general_log")
        with set_global(client, "general_log", "1"):
            yield found
        sql = "SELECT argument FROM mysql.general_log WHERE command_type = 'Query' AND user_host LIKE %s"
        found += [_text(row[0]) for row in client.execute(sql, (f"{client.database.source.user}[%",))]
        client.execute("TRUNCATE mysql.general_log")


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def low_age_s(client: Pulling) -> float:
    """Return how far below the clock of the last pull its lowest writer lay."""
    watermark = client.watermark()
    assert watermark is not None
    assert watermark.sighting is not None
    assert watermark.sighting.low_us is not None
    return (watermark.sighting.clock_us - watermark.sighting.low_us) / 1e6
