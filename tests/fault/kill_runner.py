"""Run the program in forked processes, each killed before its n-th statement.

A command is one JSON line on standard input, `{"config": ..., "arguments": [...], "folder": ..., "kill_at": n}`, its
answer one on standard output, `{"status": exit code, "statements": how many there were}`. What the program prints is
left in `folder`. `kill_after_s` instead of `kill_at` kills from outside, after a time. Starting Python and importing
takes a second, a fork takes milliseconds: that is what makes a grid over every statement affordable.

Every statement counts, of the store and of the source, whoever sends it: SQLite reports them itself, BEGIN, COMMIT
and each row of a bulk statement included; psycopg and PyMySQL are wrapped where all of theirs come through.
SIGKILL leaves the process no chance to clean up, and being sent by the process itself it can't come late.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from connector.source.dialects.postgresql import copy
from connector.store import sheets

sheets.FEWEST = 8  # most of the small batches here leave a sheet, and the others rows
MIGRATIONS = ("alembic.command", "alembic.config", "alembic.runtime.environment", "alembic.ddl.sqlite")


class Killer:
    """Counts statements and ends the process before the one that was asked for."""

    def __init__(self, kill_at: int | None) -> None:
        self._numbers = itertools.count(1)
        self._kill_at = kill_at
        self.statements = 0

    def statement(self, *_: object) -> None:
        self.statements = next(self._numbers)
        if self.statements == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        self._trace_sqlite()
        for owner, name in (
            (psycopg.Cursor, "execute"),
            (psycopg.Cursor, "executemany"),
            (psycopg.ServerCursor, "execute"),
            (psycopg.ServerCursor, "fetchmany"),
            (copy, "start"),
            (pymysql.connections.Connection, "_execute_command"),
        ):
            setattr(owner, name, self._counted(getattr(owner, name)))

    def _trace_sqlite(self) -> None:
        connect = sqlite3.connect

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(self.statement)
            return connection

        sqlite3.connect = traced  # type: ignore[assignment]  # the whole point
        sqlite3.dbapi2.connect = traced  # type: ignore[assignment]  # the same function by its other name

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def counted(*arguments: Any, **options: Any) -> Any:
            self.statement()
            return method(*arguments, **options)

        return counted


def child(command: dict[str, Any], answer: int) -> None:
    """Run one command as the program would; never returns."""
    folder = Path(command["folder"])
    for number, name in ((1, "out.txt"), (2, "err.txt")):
        target = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, number)
    killer = Killer(command.get("kill_at"))
    killer.install()
    sys.argv = ["connector", "--config", command["config"], *command["arguments"]]
    from connector.cli.main import main

    code: Any = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(answer, str(killer.statements).encode())
        os._exit(code)


def serve() -> None:
    import importlib

    import connector.cli.main  # noqa: F401 - imported before the first fork, for all of them

    for name in MIGRATIONS:
        importlib.import_module(name)
    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            child(json.loads(line), writing)
        os.close(writing)
        if "kill_after_s" in (command := json.loads(line)):
            time.sleep(command["kill_after_s"])
            os.kill(pid, signal.SIGKILL)  # harmless when it has ended: nobody has waited for it, so the number is its
        _, status = os.waitpid(pid, 0)
        with os.fdopen(reading) as counted:
            statements = int(counted.read() or 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "statements": statements}), flush=True)


if __name__ == "__main__":
    serve()
