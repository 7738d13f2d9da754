"""The real connector, pulling one stream in a loop, and killed with SIGKILL in the midst of some of its pulls.

A process of ours imports the program once and forks; the child builds an `App` from the YAML, as `connector` does, and
pulls when told to. The parent kills it at a random moment of a pull, and forks the next, which costs milliseconds
instead of a start of Python. A command is one JSON line on standard input; a pull is one JSON line on standard output.
Anything on standard input after that ends the loop: some last pulls follow.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PAUSE_S = 0.3
LAST_PULLS = 3
LAST_TRIES = 9
PULL_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Command:
    """Which stream to pull, and in what share of the pulls to kill."""

    config: str
    stream: str
    kill_share: float
    seed: int

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


class Child:
    """A forked process with the program in it."""

    def __init__(self, command: Command) -> None:
        ask, self._ask = os.pipe()
        self._answer, answer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._ask)
            os.close(self._answer)
            _obey(command, ask, answer)
        os.close(ask)
        os.close(answer)
        self._lines = os.fdopen(self._answer)

    def pull(self, kill_after_s: float | None) -> dict[str, Any] | None:
        """Pull once and return what it came to; None when it was killed on the way."""
        os.write(self._ask, b".")
        answered, _, _ = select.select([self._lines], [], [], PULL_TIMEOUT_S if kill_after_s is None else kill_after_s)
        if not answered:
            if kill_after_s is None:
                raise TimeoutError(f"a pull took more than {PULL_TIMEOUT_S:.0f} s")
            os.kill(self.pid, signal.SIGKILL)
            self.close()
            return None
        line = self._lines.readline()
        if not line:
            raise RuntimeError("the program ended in the midst of a pull")
        return dict(json.loads(line))

    def close(self) -> None:
        os.close(self._ask)
        self._lines.close()
        os.waitpid(self.pid, 0)


def _obey(command: Command, ask: int, answer: int) -> None:
    """Be the program; never returns."""
    code = 1
    try:
        from connector.app import App, load_config

        app: App | None = None
        while os.read(ask, 1):
            app = app or App(load_config(Path(command.config)))
            result = app.run_stream(command.stream)
            told = {
                "state": str(result.state),
                "level": str(result.level),
                "read": result.counters.read,
                "ms": result.duration_s * 1000,
                "error": result.error,
            }
            os.write(answer, (json.dumps(told) + "\n").encode())
        if app is not None:
            app.close()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve(command: Command) -> None:
    chance = random.Random(f"{command.seed} kills")
    child = Child(command)
    _tell(child.pull(None))
    usual_s, killed = 0.05, False
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        kill = chance.random() < command.kill_share or not killed  # even a short run has one
        kill_after_s = chance.uniform(0.0, usual_s) if kill else None
        started = time.monotonic()
        told = child.pull(kill_after_s)
        if told is None:
            child, killed = Child(command), True
        else:
            usual_s = time.monotonic() - started
        _tell(told)
    _last_pulls(child)
    child.close()


def _last_pulls(child: Child) -> None:
    """Pull until it went well as often as it has to; a standby may cancel a statement now and then."""
    well = 0
    for _ in range(LAST_TRIES):
        told = child.pull(None)
        _tell({"last": True, **(told or {})})
        well += bool(told and told["state"] == "succeeded")
        if well == LAST_PULLS:
            return


def _tell(told: dict[str, Any] | None) -> None:
    print(json.dumps(told or {"state": "killed"}), flush=True)


if __name__ == "__main__":
    import connector.app  # noqa: F401 - imported before the first fork, for all of them

    # Unbuffered: what follows the first line must still be there for select.
    first = b""
    while not first.endswith(b"\n"):
        first += os.read(0, 1)
    with contextlib.suppress(BrokenPipeError):
        serve(Command(**json.loads(first)))
