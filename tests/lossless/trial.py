"""One run: a place to run in, the writers, the connector as a process and the control, and what it all came to."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from connector.config.schema import StreamOptions
from connector.model import StreamId
from tests import servers
from tests.lossless import outcome, runner, workload
from tests.lossless.control import Control
from tests.lossless.outcome import Outcome
from tests.lossless.writers import Task, lock_now_and_then
from tests.servers import Database, Server

ROOT = Path(__file__).parents[2]
STREAM = StreamId("acme", "rows")
LOGIN, PASSWORD = "lossless", "Str0ng-and-never-printed"
TOPOLOGIES = ("primary", "standby", "wrap")
WRAP = 2**32
XIDS_BEFORE_WRAP = 40  # at the first write: enough pulls fall on either side
FIRST_PULL_TIMEOUT_S = 60.0
END_TIMEOUT_S = 120.0

OPTIONS: dict[str, Any] = {
    "batch_size": 200,
    # Far less than the writers' holds: a level that can only look back would lose rows here, and be seen.
    "look_back": "1s",
    # Known to the schema since streams can say it; without, the engine's own.
    **({"slack": f"{workload.SLACK_S:.0f}s"} if "slack" in StreamOptions.model_fields else {}),
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What to run. Short runs have shorter long holds, since the last one has to run out, and more kills."""

    engine: str  # the word in the configuration
    role: str = "select"
    profile: str = "base"
    topology: str = "primary"
    seconds: float = 60.0
    writers: int = 8
    kill_share: float = 0.05
    long_hold_s: tuple[float, float] = (6.0, 10.0)
    seed: int = 1
    must_lose: int = outcome.CONTROL_MUST_LOSE


@dataclass(frozen=True, slots=True)
class Place:
    """Where writers write, where pullers read, and how to wait until these have what those committed."""

    writing: Server
    reading: Server
    catch_up: Callable[[], None] = field(default=lambda: None)


@contextlib.contextmanager
def place(engine: str, topology: str) -> Iterator[Place]:
    """Start the servers of a topology."""
    if topology == "wrap":
        with servers.postgresql(durable=False, next_xid=WRAP - 800) as server:
            yield Place(server, server)
    elif topology == "standby":
        with servers.postgresql(durable=False) as primary, servers.standby(primary) as standby:
            yield Place(primary, standby, lambda: _caught_up(primary, standby))
    else:
        start = servers.postgresql if engine == "postgresql" else servers.mariadb
        with start(durable=False) as server:
            yield Place(server, server)


def _caught_up(primary: Server, standby: Server) -> None:
    ((end,),) = primary.execute("SELECT pg_current_wal_lsn()::text")
    deadline = time.monotonic() + END_TIMEOUT_S
    while not standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [end])[0][0]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the standby has not replayed {end}")
        time.sleep(0.05)


def run(trial: Trial, where: Place) -> Outcome:
    """Run a trial in a database of its own."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(servers.fresh_database(where.writing))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lossless-")))
        database.execute(workload.ddl(trial.engine))
        database.create_login(LOGIN, PASSWORD, ["SELECT ON t", *workload.ROLES[trial.engine][trial.role]])
        stack.callback(database.server.drop_login, LOGIN, database=database.name)
        if trial.topology == "wrap":
            _approach_wrap(database)
        where.catch_up()
        config = _configure(folder, trial.engine, where.reading, database.name)
        # A program that ends badly is ended here; each has its stderr in the folder, for the message.
        pulling = stack.enter_context(_Pulling(trial, config, folder))
        control = Control(where.reading.connect(database.name, user=LOGIN, password=PASSWORD))
        control.start()
        figures = _write(trial, database, folder)
        where.catch_up()
        lines = pulling.finish()
        control.finish()
        truth = dict(database.execute("SELECT id, ver FROM t"))
        if trial.topology == "wrap":
            _insist_on_wrap(database)
        return Outcome(
            engine="postgresql" if trial.engine == "postgresql" else "mariadb",
            role=trial.role,
            profile=trial.profile,
            topology=trial.topology,
            written=figures["written"],
            control_lost=control.lost(truth),
            must_lose=trial.must_lose,
            **outcome.compared(truth, outcome.held(config, STREAM)),
            **outcome.pulls(lines),
        )


def _configure(folder: Path, engine: str, server: Server, database: str) -> Path:
    """Write an installation with one stream; JSON is YAML."""
    stream = {
        "entity": "customer",
        "table": "t",
        "watermark": {"column": "updated_at", "by": "timestamp"},
        "key": "id",
        "start": "beginning",
        "fields": {"local_id": "id", "register_date": {"sql": "'2020-01-01'"}, "ver": "ver"},
        **OPTIONS,
    }
    client = {
        "client": STREAM.client,
        "source": {
            "engine": engine,
            "host": server.host,
            "port": server.port,
            "database": database,
            "user": LOGIN,
            "password": PASSWORD,
        },
        "tenant": "none",
        "streams": {STREAM.name: stream},
    }
    config = folder / "connector.yaml"
    config.write_text(json.dumps({"store": {"path": "connector.db", "min_free": "0", "runs_kept": 100_000}}))
    (folder / "clients").mkdir()
    (folder / "clients" / f"{STREAM.client}.yaml").write_text(json.dumps(client))
    return config


class _Pulling:
    """The runner's process, its lines gathered by a thread."""

    def __init__(self, trial: Trial, config: Path, folder: Path) -> None:
        self._errors = folder / "runner.err"
        self._lines: list[dict[str, Any]] = []
        self._first = threading.Event()
        self._process = _start("runner", self._errors)
        self._thread = threading.Thread(target=self._gather, daemon=True)
        assert self._process.stdin is not None
        self._process.stdin.write(runner.Command(str(config), str(STREAM), trial.kill_share, trial.seed).line())
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._first.wait(FIRST_PULL_TIMEOUT_S) or not self._lines:
            self.__exit__()
            raise RuntimeError(f"the connector did not pull:\n{_tail(self._errors)}")
        return self

    def _gather(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(json.loads(line))
            self._first.set()
        self._first.set()

    def finish(self) -> list[dict[str, Any]]:
        """Let it pull its last times and return every pull."""
        assert self._process.stdin is not None
        self._process.stdin.write("finish\n")
        self._process.stdin.flush()
        _wait(self._process, END_TIMEOUT_S, self._errors)
        self._thread.join(END_TIMEOUT_S)
        return self._lines

    def __exit__(self, *_: object) -> None:
        _end(self._process)
        self._thread.join(END_TIMEOUT_S)


def _write(trial: Trial, database: Database, folder: Path) -> dict[str, int]:
    """Run the writers to their end, the last hold included, and add their figures up."""
    server = database.server
    login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    errors = folder / "writers.err"
    stop = threading.Event()
    locks = threading.Thread(target=lock_now_and_then, args=(database, stop, trial.seed), daemon=True)
    with contextlib.ExitStack() as stack:
        started = []
        for number in range(trial.writers):
            process = _start("writers", errors)
            stack.callback(_end, process)
            assert process.stdin is not None
            task = Task(
                trial.engine,
                {**login, "database": database.name},
                trial.profile,
                number,
                trial.seconds,
                trial.seed,
                trial.long_hold_s,
            )
            process.stdin.write(task.line())
            process.stdin.close()
            started.append(process)
        if trial.engine == "mysql" and workload.PROFILES[trial.profile].read_locks:
            locks.start()
            stack.callback(locks.join, END_TIMEOUT_S)
        stack.callback(stop.set)
        figures: dict[str, int] = {}
        for process in started:
            _wait(process, trial.seconds + END_TIMEOUT_S, errors)
            assert process.stdout is not None
            for name, number in json.loads(process.stdout.read()).items():
                figures[name] = figures.get(name, 0) + number
        return figures


def _start(module: str, errors: Path) -> subprocess.Popen[str]:
    with errors.open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"tests.lossless.{module}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _wait(process: subprocess.Popen[str], timeout_s: float, errors: Path) -> None:
    if process.wait(timeout_s):
        raise RuntimeError(f"a process of the run failed with {process.returncode}:\n{_tail(errors)}")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _tail(errors: Path) -> str:
    return "\n".join(errors.read_text(errors="replace").splitlines()[-15:])


def _next_xid(database: Database) -> int:
    return int(database.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")[0][0])


def _approach_wrap(database: Database) -> None:
    """Use up transactions until the writers' first ones stand just before the 32-bit wrap."""
    with contextlib.closing(database.connect()) as connection:
        while _next_xid(database) < WRAP - XIDS_BEFORE_WRAP:
            for _ in range(10):
                connection.execute("SELECT pg_current_xact_id()")
    assert _next_xid(database) < WRAP, "the wrap must lie ahead of the writers"


def _insist_on_wrap(database: Database) -> None:
    assert _next_xid(database) > WRAP, "the writers did not cross the 32-bit wrap: write longer"
