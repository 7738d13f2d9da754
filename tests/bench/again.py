"""What comes after a first pull: everything read again with nothing changed, and 1 % changed, in a running program."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.bench import pull
from tests.bench.customers import TENANTS
from tests.bench.measure import Taken, taken
from tests.bench.peers.change import Change
from tests.servers import Database

LAST_YEAR = dt.datetime(2025, 12, 1)  # noqa: DTZ001 - the column is naive
"""Behind every stamp of the table, and so long ago that no pull looks at the rows of the one before again."""


def unchanged(config: Path) -> Taken:
    """Read the largest tenant's rows once more, as a process of its own."""
    stream = f"bench/{TENANTS[0]}"
    command = [*pull.COMMAND[:-3], "backfill", stream, "--from", "2000-01-01 00:00:00", "--json"]
    return taken(command, environment=pull.environment(config), keep_output=True)


def increments(config: Path, database: Database, table: str, rounds: int) -> list[tuple[int, float]]:
    """Change 1 % of the table and let a program that runs already pull it, and again; return rows and seconds.

    The program is another process: what this one holds would be counted as the memory of each that it starts.
    """
    command = [sys.executable, "-m", "tests.bench.again", str(config)]
    found: list[tuple[int, float]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for number in range(rounds):
            changed = Change(number, LAST_YEAR + dt.timedelta(hours=number)).apply(database, table)
            program.stdin.write("pull\n")
            program.stdin.flush()
            answer = json.loads(program.stdout.readline())
            if answer["updated"] != changed or answer["failed"]:
                raise RuntimeError(f"{answer['updated']} of {changed} changed rows were pulled; {answer['failed']}")
            found.append((changed, answer["seconds"]))
        program.stdin.close()
    return found


def serve(config: Path) -> None:
    """Pull every stream at each line of the input, as a daemon would, and say how long it took."""
    from connector.app import App, load_config

    with closing(App(load_config(config))) as app:
        for _ in sys.stdin:
            began = time.perf_counter()
            results = [app.run_stream(f"bench/{tenant}") for tenant in TENANTS]
            took_s = time.perf_counter() - began
            updated = sum(result.counters.updated for result in results)
            failed = [result.error for result in results if result.error]
            print(json.dumps({"updated": updated, "seconds": took_s, "failed": failed}), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
