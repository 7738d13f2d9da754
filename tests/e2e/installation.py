"""An operator's installation in a folder, and the program run on it as a process of its own.

Planted values carry MARK: names, e-mails, the tenant's value, the login's password. No command but `records` may ever
print it, and no run may end in a traceback; `run` looks at every output for both, so that each test holds it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from tests.servers import Database
from tests.shop import Shop

ROOT = Path(__file__).parents[2]
MARK = "zqx"
TENANT = f"tenant-{MARK}"
PASSWORD = f"{MARK}-Pass'word"
PROCESS_TIMEOUT_S = 60.0
STAMPS = {"sqlite": "TIMESTAMP", "postgresql": "TIMESTAMP(6)", "mysql": "DATETIME(6)"}

CUSTOMERS: dict[str, Any] = {
    "entity": "customer",
    "table": "customers",
    "watermark": {"column": "updated_at", "by": "timestamp"},
    "key": "customer_id",
    "fields": {
        "local_id": "customer_id",
        "first_name": "f_name",
        "last_name": "l_name",
        "register_date": "reg_date",
        "email": "email",
        "phone": "phone",
        "city": "city",
        "owner": "user_id",
        "balance": "balance",
    },
}
RECEIPTS: dict[str, Any] = {
    "entity": "receipt",
    "table": "receipts",
    "watermark": {"column": "updated_at", "by": "timestamp"},
    "key": "receipt_id",
    "fields": {
        "local_id": "receipt_id",
        "customer_local_id": "customer_id",
        "number": "number",
        "date": "created_at",
        "total": "total",
    },
}


@dataclass(frozen=True, slots=True)
class Done:
    """A process that has ended."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def messages(self) -> list[str]:
        """Return the lines that the program itself addresses to the operator."""
        return [line for line in self.err.splitlines() if line.startswith("connector: ")]

    @property
    def message(self) -> str:
        assert len(self.messages) == 1, f"one message is wanted, not these: {self.err}"
        return self.messages[0]

    @property
    def document(self) -> Any:
        """Return what `--json` printed, which must be one document and nothing else."""
        return json.loads(self.out)

    def keeps_silent(self) -> None:
        """Hold what every command promises: no traceback, no planted value."""
        everything = self.out + self.err
        assert "Traceback" not in everything, everything
        assert "internal error" not in everything, everything
        if "records" not in self.arguments:
            found = [line for line in everything.splitlines() if MARK in line.lower()]
            assert not found, f"a secret or a row's value is shown by {self.arguments}: {found}"


@dataclass(slots=True)
class Running:
    """A process under way. Its log is read as it comes; tests wait for lines of it."""

    process: subprocess.Popen[str]
    arguments: tuple[str, ...]
    output: TextIO  # a file: nobody reads it before the end, and a pipe would fill up
    _lines: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _reader: threading.Thread | None = None

    def follow(self) -> Running:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        self.process.stderr.close()
        with self._changed:
            self._changed.notify_all()

    @property
    def lines(self) -> list[str]:
        with self._changed:
            return list(self._lines)

    def wait_for(self, wanted: str | Callable[[str], bool], times: int = 1, timeout_s: float = 30.0) -> str:
        """Return the `times`-th line that matches a pattern or a predicate, waiting until it was written."""
        matches = wanted if callable(wanted) else lambda line: re.search(wanted, line) is not None

        def found() -> list[str]:
            return [line for line in self._lines if matches(line)]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= times, timeout_s), (
                f"line {times} of {wanted} was not written in {timeout_s} s; the log is {self._lines[-20:]}"
            )
            return found()[times - 1]

    def runs(self, stream: str) -> list[dict[str, Any]]:
        """Return the `run` events of a stream; the log must be in JSON."""
        events = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [event for event in events if event["event"] == "run" and event["stream"] == stream]

    def wait_for_run(self, stream: str, times: int = 1, timeout_s: float = 30.0, **wanted: Any) -> dict[str, Any]:
        """Return the `times`-th `run` event of a stream whose fields are those wanted."""

        def matches(line: str) -> bool:
            event = json.loads(line) if line.startswith("{") else {}
            known = event.get("event") == "run" and event.get("stream") == stream
            return known and all(event.get(name) == value for name, value in wanted.items())

        event: dict[str, Any] = json.loads(self.wait_for(matches, times, timeout_s))
        return event

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, timeout_s: float = PROCESS_TIMEOUT_S) -> Done:
        """Wait for the end."""
        code = self.process.wait(timeout_s)
        assert self._reader is not None
        self._reader.join(timeout_s)
        with self.output:
            self.output.seek(0)
            done = Done(self.arguments, code, self.output.read(), "\n".join(self.lines))
        done.keeps_silent()
        return done


class Installation:
    """A folder with connector.yaml and its clients' files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "connector.db"
        self.environment: dict[str, str] = {}

    def write(self, main: Mapping[str, Any] | None = None, **clients: Mapping[str, Any]) -> Installation:
        """Write connector.yaml and one file per client. JSON is YAML, and needs no quoting rules of our own."""
        content = {"store": {"path": "connector.db", "min_free": "1MB"}, "defaults": {"retries": 0}, **(main or {})}
        (self.folder / "clients").mkdir(parents=True, exist_ok=True)
        (self.folder / "connector.yaml").write_text(json.dumps(content), encoding="utf-8")
        for name, client in clients.items():
            file = self.folder / "clients" / f"{name}.yaml"
            file.write_text(json.dumps({"client": name, **client}, indent=1), encoding="utf-8")
        return self

    def run(self, *arguments: str) -> Done:
        """Run a command to its end."""
        return self.start(*arguments).end()

    def run_all(self, *commands: Sequence[str]) -> list[Done]:
        """Run commands side by side: most of a short one's time is the start of its process."""
        return [process.end() for process in [self.start(*command) for command in commands]]

    def start(self, *arguments: str) -> Running:
        output = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed at the process's end
        process = subprocess.Popen(
            [sys.executable, "-m", "connector", "--config", str(self.folder), *arguments],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200", **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        return Running(process, arguments, output).follow()

    def state(self) -> dict[str, Any]:
        """Return everything in the store that a failed run must leave as it was."""
        return StoreFile(self.store).state()


class StoreFile:
    """The store's file, read without the program's own code."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, sql: str, binds: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, binds).fetchall()

    def state(self) -> dict[str, Any]:
        queries = {
            "watermarks": "SELECT client, name, watermark FROM streams WHERE watermark IS NOT NULL",
            "open pulls": "SELECT stream_id, lane, open_pull FROM lanes",
            "ledger": "SELECT * FROM ledger ORDER BY scope_id, key",
            "sheets": "SELECT * FROM sheets ORDER BY segment_id",
            "segments": "SELECT segment_id, rows, creates, updates, deletes, live_rows FROM segments",
            "payloads": "SELECT * FROM payloads",
            "quarantine": "SELECT stream_id, row_key, field, rule, row FROM quarantine ORDER BY stream_id, row_key",
            "leases": "SELECT stream_id, lane FROM leases WHERE stream_id > 0",
        }
        return {name: self.rows(sql) for name, sql in queries.items()}

    def pointed(self) -> dict[str, int]:
        """Return the segment that the ledger points at for every live key, of one client and entity."""
        found: dict[str, int] = {}
        for segment, first, last, width, tails in self.rows(
            "SELECT segment_id, first_key, last_key, width, tails FROM sheets"
        ):
            prefix = os.path.commonprefix([first, last])  # noqa: RUF071 - of characters, as it says
            cells = [tails[at : at + width].rstrip(b"\0").decode() for at in range(0, len(tails), width)]
            assert not found.keys() & {prefix + cell for cell in cells}, "a key is on two sheets"
            found |= dict.fromkeys((prefix + cell for cell in cells), segment)
        for key, segment, deleted in self.rows("SELECT key, segment_id, deleted FROM ledger"):
            found[key] = segment
            if deleted:
                del found[key]
        return found

    def changes(self) -> pl.DataFrame:
        """Return the change log, oldest first."""
        frames = [
            pl.read_ipc_stream(payload).with_columns(pl.lit(segment).alias("_segment"))
            for segment, payload in self.rows("SELECT segment_id, payload FROM payloads ORDER BY segment_id")
        ]
        return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()

    def counters(self) -> list[dict[str, int]]:
        """Return what each run committed, oldest first."""
        return [json.loads(text) for (text,) in self.rows("SELECT counters FROM runs ORDER BY run_id")]


def client(source: Mapping[str, Any], **streams: Mapping[str, Any]) -> dict[str, Any]:
    """Return a client's file; without streams, with customers and receipts."""
    chosen = streams or {"customers": CUSTOMERS, "receipts": RECEIPTS}
    return {"source": dict(source), "tenant": {"column": "user_id", "value": TENANT}, "streams": chosen}


def with_changes(stream: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
    return {**stream, **changed}


def plant(execute: Callable[[str], Any]) -> None:
    """Put values into a built shop that must never be seen outside `records`."""
    for table in ("customers", "receipts"):
        execute(f"UPDATE {table} SET user_id = '{TENANT}' WHERE user_id = 'acme-corp'")
    execute(f"UPDATE customers SET l_name = 'Name{MARK}', city = '{MARK}ville' WHERE customer_id < 40")
    execute(f"UPDATE customers SET email = 'mail.{MARK}@example.com' WHERE customer_id BETWEEN 41 AND 60")
    execute(f"UPDATE customers SET email = 'no address {MARK}' WHERE customer_id BETWEEN 61 AND 64")
    execute(f"UPDATE receipts SET number = '{MARK}-number' WHERE receipt_id < 40")


def now() -> datetime:
    return datetime.utcnow()  # noqa: DTZ003 - the shop writes naive UTC


def sqlite_shop(path: Path, customers: int = 120, built_at: datetime | None = None) -> dict[str, Any]:
    """Build the shop in a file and return its `source` section."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        Shop(connection, "?", STAMPS["sqlite"]).build(customers, built_at or now() - timedelta(days=1))
        plant(connection.execute)
        connection.commit()
    return {"engine": "sqlite", "database": str(path)}


def server_shop(database: Database, login: str, customers: int = 120) -> dict[str, Any]:
    """Build the shop in a database with a login that may read all of it, and return its `source` section."""
    with contextlib.closing(database.connect(autocommit=False)) as connection:
        Shop(connection, "%s", STAMPS[database.server.engine]).build(customers, now() - timedelta(days=1))
        connection.commit()
    plant(database.execute)
    everything = "ALL TABLES IN SCHEMA public" if database.server.engine == "postgresql" else "*"
    database.create_login(login, PASSWORD, [f"SELECT ON {everything}"])
    return {
        "engine": database.server.engine,
        "host": database.server.host,
        "port": database.server.port,
        "database": database.name,
        "user": login,
        "password": PASSWORD,
        "tls": {"mode": "disable"},
    }


@contextlib.contextmanager
def sqlite_writer(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a shop's file for another writer's changes, committed at the end."""
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        yield connection
        connection.commit()
