"""One writer, as a process: transactions one after another until its time is over, then one line with their rows.

It is told what to do by one JSON line on standard input. Versions rise with the time, and end with the writer's
number, so that no two writes share one.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.lossless.sessions import REFUSED, Session, Stamp, connect
from tests.lossless.workload import (
    EARLY_STAMP_S,
    HOT_ROWS,
    PROFILES,
    READ_LOCK_HOLD_S,
    READ_LOCK_WAIT_S,
    ROLLBACKS,
    SHARED_ROWS,
    SKEW_S,
    UPDATES,
    Profile,
)
from tests.servers import Database

MOST_WRITERS = 64
REMEMBERED_IDS = 2000


@dataclass(frozen=True, slots=True)
class Task:
    """What one writer does, and for how long. `long_hold_s` is the range of the holds that are called long."""

    engine: str
    login: dict[str, Any] = field(repr=False)
    profile: str = "base"
    number: int = 0
    seconds: float = 60.0
    seed: int = 1
    long_hold_s: tuple[float, float] = (6.0, 10.0)

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


class Writer:
    def __init__(self, task: Task, session: Session) -> None:
        self._task = task
        self._session = session
        self._chance = random.Random(f"{task.seed} {task.number}")
        self._profile: Profile = PROFILES[task.profile]
        self._version = 0
        self._known: list[int] = []  # rows of its own, committed
        self._reserved: list[int] = []
        self._new: list[int] = []
        self._rows = 0

    def _happens(self, share: float) -> bool:
        return self._chance.random() < share

    def transaction(self, name: str | None) -> int:
        """Write, hold, commit or roll back, and return the number of rows that became visible."""
        of_transaction = self._happens(0.5)
        self._new, self._rows = [], 0
        if name is not None and not self._happens(self._profile.two_phase):
            name = None
        self._session.begin(name)
        if self._happens(0.2):
            time.sleep(self._chance.uniform(0.0, 0.5))  # stamped by now, and nothing written yet
        self._write(of_transaction)
        if name is None and self._happens(self._profile.savepoints):
            self._session.savepoint()
            before = len(self._new), self._rows
            self._write(of_transaction)
            if self._happens(0.5):
                self._session.roll_back_to_savepoint()
                del self._new[before[0] :]
                self._rows = before[1]
        time.sleep(self._hold_s())
        if self._happens(0.3):
            self._write(of_transaction)
        commit = not self._happens(ROLLBACKS)
        if name is not None:
            self._session.prepare(name)
            time.sleep(self._hold_s())
        self._session.end(name, commit=commit)
        if commit:
            self._known = (self._known + self._new)[-REMEMBERED_IDS:]
        return self._rows if commit else 0

    def _hold_s(self) -> float:
        if self._happens(self._profile.long_holds):
            return self._chance.uniform(*self._task.long_hold_s)
        return min(2.0, 0.01 + self._chance.expovariate(1 / 0.3))

    def _write(self, of_transaction: bool) -> None:
        stamp = self._stamp(of_transaction)
        if self._happens(UPDATES):
            shared = range(1, (HOT_ROWS if self._happens(0.2) else SHARED_ROWS) + 1)
            of = self._known if self._known and self._happens(0.5) else shared
            keys = sorted(self._chance.sample(of, min(len(of), self._chance.randint(1, 5))))
            self._session.update([(key, self._next_version()) for key in keys], stamp)
            self._rows += len(keys)
            return
        count = self._chance.choices(
            (self._chance.randint(1, 5), self._chance.randint(5, 40), self._chance.randint(100, 400)), (70, 25, 5)
        )[0]
        versions = [self._next_version() for _ in range(count)]
        self._new += self._session.insert(versions, stamp, self._early_ids(count))
        self._rows += count

    def _early_ids(self, count: int) -> list[int] | None:
        """Return ids reserved in an earlier transaction, if there are enough, and reserve others for later."""
        if self._task.engine != "postgresql" or not self._happens(self._profile.early_ids):
            return None
        ids, self._reserved = self._reserved[:count], self._reserved[count:]
        if len(self._reserved) < 50:
            self._reserved += self._session.reserve(100)
        return ids if len(ids) == count else None

    def _stamp(self, of_transaction: bool) -> Stamp:
        ago_s = 0.0
        if self._happens(self._profile.early_stamps):
            # A transaction's own stamp may be old already: where engines can't tell, the slack must cover the sum.
            return Stamp(ago_us=int(self._chance.uniform(SKEW_S, EARLY_STAMP_S[self._task.engine]) * 1e6))
        if self._happens(self._profile.skewed):
            ago_s = self._chance.uniform(0.0, SKEW_S)
        return Stamp(of_transaction, int(ago_s * 1e6))

    def _next_version(self) -> int:
        self._version = max(self._version + 1, time.time_ns() // 1000)
        return self._version * MOST_WRITERS + self._task.number


def write(task: Task) -> dict[str, int]:
    """Write until the time is over; the last transaction is finished, so that its rows come late."""
    session = connect(task.engine, **task.login)
    writer = Writer(task, session)
    figures = {"written": 0, "transactions": 0, "refused": 0}
    deadline = time.monotonic() + task.seconds
    try:
        while time.monotonic() < deadline:
            figures["transactions"] += 1
            name = f"{task.login['database']}-{task.number}-{figures['transactions']}"
            try:
                figures["written"] += writer.transaction(name)
            except REFUSED:
                figures["refused"] += 1
                session = _again(session, task)
                writer._session = session
    finally:
        session.close()
    return figures


def _again(session: Session, task: Task) -> Session:
    with contextlib.suppress(*REFUSED):
        session.close()  # which rolls back whatever is left of the transaction
    return connect(task.engine, **task.login)


def lock_now_and_then(database: Database, stop: threading.Event, seed: int) -> None:
    """Stop all of MariaDB's writes for a moment, as backups do, again and again."""
    chance = random.Random(f"{seed} locks")
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET lock_wait_timeout = {READ_LOCK_WAIT_S}")
        while not stop.wait(chance.uniform(1.5, 5.0)):
            with contextlib.suppress(*REFUSED):
                cursor.execute("FLUSH TABLES WITH READ LOCK")
                stop.wait(chance.uniform(*READ_LOCK_HOLD_S))
            cursor.execute("UNLOCK TABLES")


if __name__ == "__main__":
    print(json.dumps(write(Task(**json.loads(sys.stdin.readline())))), flush=True)
