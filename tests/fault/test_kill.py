"""SIGKILL anywhere in a pull costs at most one batch of reading, and nothing else.

After each kill the same command runs again at once. Then the records are the source's, no change stands twice in the
change log, and what both runs committed together is read once, give or take a batch.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import ROOT, Installation, StoreFile, now
from tests.servers import Database

ROWS = 45
BATCH = 10
KILLED = -signal.SIGKILL
FIELDS = {"local_id": "id", "register_date": "at", "first_name": "name", "city": "city"}
TABLE = "CREATE TABLE people (id BIGINT PRIMARY KEY, name VARCHAR(32), city VARCHAR(32), at {0} NOT NULL, changed {0})"


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    statements: int


class Runner:
    """Forked runs of the program, by default of `pull`."""

    def __init__(self, process: subprocess.Popen[str], *arguments: str) -> None:
        self._process = process
        self._arguments = arguments or ("pull",)

    def of(self, *arguments: str) -> Runner:
        return Runner(self._process, *arguments)

    def run(self, folder: Path, **kill: float) -> Ended:
        """Run the command, and be killed: `kill_at` a statement, or `kill_after_s`."""
        command = {"config": str(folder), "arguments": self._arguments, "folder": str(folder), **kill}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Ended(answer["status"], answer["statements"])


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    command = [sys.executable, "-m", "tests.fault.kill_runner"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Runner(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found


class People:
    """A source of a few rows with another writer, in any engine."""

    def __init__(self, execute: Callable[[str, list[tuple[Any, ...]]], None], rows: Callable[[str], list[Any]]) -> None:
        self._execute = execute
        self._rows = rows
        self.updated: set[str] = set()

    def build(self, stamp: str, rows: int) -> None:
        """Fill it with rows whose stamps are long past, several to a stamp, so that no later pull reads them again."""
        self._execute(TABLE.format(stamp), [()])
        start = now() - timedelta(days=30)
        values = [(n, f"Name{n}", "Kyiv", str(start), str(start + timedelta(seconds=n // 3))) for n in range(rows)]
        self._execute("INSERT INTO people VALUES (?, ?, ?, ?, ?)", values)

    def change(self, rows: int) -> None:
        """Update a third of the rows, and add half as many new ones."""
        chosen = range(0, rows, 3)
        at = now()
        moments = [str(at + timedelta(microseconds=n)) for n in range(rows)]
        self._execute("UPDATE people SET city = 'Lviv', changed = ? WHERE id = ?", [(moments[n], n) for n in chosen])
        self.updated = {str(n) for n in chosen}
        new = [(n, f"Name{n}", "Kyiv", str(at), moments[n - rows]) for n in range(rows, rows + rows // 2)]
        self._execute("INSERT INTO people VALUES (?, ?, ?, ?, ?)", new)

    def records(self) -> dict[str, tuple[str, str]]:
        return {str(key): (name, city) for key, name, city in self._rows("SELECT id, name, city FROM people")}


def in_file(path: Path) -> People:
    def execute(sql: str, values: list[tuple[Any, ...]]) -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executemany(sql, values)
            connection.commit()

    def rows(sql: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return connection.execute(sql).fetchall()

    return People(execute, rows)


def on_server(database: Database) -> People:
    def execute(sql: str, values: list[tuple[Any, ...]]) -> None:
        with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s"), values)

    return People(execute, database.execute)


def install(folder: Path, source: Mapping[str, Any], batch_size: int = BATCH, **options: Any) -> Installation:
    stream = {
        "entity": "customer",
        "table": "people",
        "watermark": {"column": "changed", "by": "timestamp"},
        "key": "id",
        "fields": FIELDS,
        "batch_size": batch_size,
        **options,
    }
    folder.mkdir(parents=True, exist_ok=True)
    acme = {"source": dict(source), "tenant": "none", "streams": {"people": stream}}
    return Installation(folder).write(acme=acme)


def hold(folder: Path, people: People, read: int, *, updated: set[str] | None = None, before: int = 0) -> None:
    """Assert what must hold after the run that follows a kill; `before` runs are not counted."""
    store = StoreFile(folder / "connector.db")
    source = people.records()
    changes = store.changes()
    newest: dict[str, tuple[str, str]] = {}
    for key, name, city in changes.select("local_id", "first_name", "city").iter_rows():
        newest[key] = (name, city)
    assert newest == source
    ops = Counter(changes.select("_op", "_key").iter_rows())
    wanted = {("create", key) for key in source} | {("update", key) for key in updated or ()}
    assert set(ops) == wanted
    assert set(ops.values()) == {1}, "a change stands in the change log twice"
    last = dict(changes.select("_key", "_segment").iter_rows())
    assert store.pointed() == last, "the ledger points at another record than the newest"
    again = sum(counters["read"] for counters in store.counters()[before:]) - read
    assert 0 <= again <= BATCH, f"{again} rows were read again"
    assert not store.rows("SELECT * FROM lanes")
    assert not store.rows("SELECT * FROM leases")
    states = Counter(state for (state,) in store.rows("SELECT state FROM runs"))
    assert not states["running"]
    assert not states["failed"]


def grid(
    runner: Runner, template: Path, scratch: Path, points: Callable[[int], Iterator[int]], check: Callable[[Path], None]
) -> int:
    """Kill a pull before each of the statements that `points` chooses, each time from the same start."""
    whole = fresh(template, scratch)
    control = runner.run(whole)
    assert control.code == 0, (whole / "err.txt").read_text()
    check(whole)
    assert control.statements > 30, "the hook counts nothing, so nothing was tried"
    tried = 0
    for kill_at in points(control.statements):
        folder = fresh(template, scratch)
        killed = runner.run(folder, kill_at=kill_at)
        assert killed.code == KILLED, f"statement {kill_at} of {control.statements} never came"
        finished = runner.run(folder)
        assert finished.code == 0, f"after a kill at statement {kill_at}: {(folder / 'err.txt').read_text()}"
        try:
            check(folder)
        except AssertionError as error:
            raise AssertionError(f"after a kill at statement {kill_at} of {control.statements}: {error}") from error
        tried += 1
    return tried


def fresh(template: Path, scratch: Path) -> Path:
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(template, scratch)
    return scratch


def every(stride: int, offset: int) -> Callable[[int], Iterator[int]]:
    return lambda statements: iter(range(offset, statements + 1, stride))


def strides(daily: int, full: int) -> list[Any]:
    """Return what runs every day, and beside it what covers every statement in parts of bearable length."""
    parts = [pytest.param(full, 1 + part, id=f"part {part + 1} of all", marks=pytest.mark.full) for part in range(full)]
    return [pytest.param(daily, 1, id=f"one of {daily}"), *parts]


@pytest.mark.parametrize("stride, offset", strides(5, 2))
def test_a_first_pull_killed_before_any_statement_is_finished_by_the_next(
    stride: int, offset: int, tmp_path: Path, runner: Runner
) -> None:
    people = in_file(tmp_path / "people.db")
    people.build("TIMESTAMP", ROWS)
    install(tmp_path / "template", {"engine": "sqlite", "database": str(tmp_path / "people.db")})
    tried = grid(
        runner, tmp_path / "template", tmp_path / "at", every(stride, offset), lambda at: hold(at, people, ROWS)
    )
    assert tried > 20


@pytest.mark.parametrize("stride, offset", strides(5, 2))
def test_an_incremental_pull_killed_before_any_statement_is_finished_by_the_next(
    stride: int, offset: int, tmp_path: Path, runner: Runner
) -> None:
    people = in_file(tmp_path / "people.db")
    people.build("TIMESTAMP", ROWS)
    # Without a look-back every pull reads exactly what is new, so that rows read again can be told from it.
    install(tmp_path / "template", {"engine": "sqlite", "database": str(tmp_path / "people.db")}, look_back="0s")
    assert runner.run(tmp_path / "template").code == 0
    people.change(ROWS)
    read = len(people.updated) + ROWS // 2

    def check(at: Path) -> None:
        hold(at, people, read, updated=people.updated, before=1)

    assert grid(runner, tmp_path / "template", tmp_path / "at", every(stride, offset), check) > 10


@pytest.mark.parametrize("stride, offset", strides(11, 4))
def test_pulls_from_a_server_killed_before_any_statement_are_finished_by_the_next(
    database: Database, stride: int, offset: int, tmp_path: Path, runner: Runner
) -> None:
    server = database.server
    people = on_server(database)
    people.build("TIMESTAMP(6)" if server.engine == "postgresql" else "DATETIME(6)", ROWS)
    source = {
        "engine": server.engine,
        "host": server.host,
        "port": server.port,
        "database": database.name,
        "user": server.user,
        "password": server.password,
        "tls": {"mode": "disable"},
    }
    template = install(tmp_path / "template", source, look_back="0s").folder
    grid(runner, template, tmp_path / "at", every(stride, offset), lambda at: hold(at, people, ROWS))
    assert runner.run(template).code == 0
    people.change(ROWS)
    read = len(people.updated) + ROWS // 2
    tried = grid(
        runner,
        template,
        tmp_path / "at",
        every(stride, offset),
        lambda at: hold(at, people, read, updated=people.updated, before=1),
    )
    assert tried > 5


@pytest.mark.parametrize("stride, offset", strides(9, 3))
def test_a_backfill_killed_before_any_statement_is_finished_by_the_next(
    stride: int, offset: int, tmp_path: Path, runner: Runner
) -> None:
    people = in_file(tmp_path / "people.db")
    people.build("TIMESTAMP", ROWS)
    install(tmp_path / "template", {"engine": "sqlite", "database": str(tmp_path / "people.db")}, look_back="0s")

    def check(at: Path) -> None:
        # Killed after its last batch, it has no open pull any more: the command begins anew, and finds all of it known.
        store = StoreFile(at / "connector.db")
        known = sum(counters["unchanged"] for counters in store.counters())
        assert known in {0, ROWS}
        hold(at, people, ROWS + known)
        assert store.rows("SELECT watermark FROM streams") == [(None,)], "a backfill moved the watermark"

    backfill = runner.of("backfill", "acme/people", "--json")
    assert grid(backfill, tmp_path / "template", tmp_path / "at", every(stride, offset), check) > 10


@pytest.mark.full
def test_a_long_pull_killed_at_random_times_comes_to_its_end(tmp_path: Path, runner: Runner) -> None:
    rows, batch, kills = 30_000, 500, 20
    people = in_file(tmp_path / "people.db")
    people.build("TIMESTAMP", rows)
    source = {"engine": "sqlite", "database": str(tmp_path / "people.db")}
    at = install(tmp_path / "at", source, batch_size=batch).folder
    draw = random.Random(os.environ.get("KILL_SEED", "7"))
    killed = 0
    for _ in range(kills * 5):
        if runner.run(at, kill_after_s=draw.uniform(0.05, 0.6)).code == KILLED:
            killed += 1
        else:  # it came to its end: start over
            hold(at, people, rows)
            shutil.rmtree(at)
            install(at, source, batch_size=batch)
        if killed == kills:
            break
    assert killed == kills
    finished = runner.run(at)
    assert finished.code == 0, (at / "err.txt").read_text()
    hold(at, people, rows)
