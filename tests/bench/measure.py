"""Run a program to its end and say what it took: wall time, CPU, and the most memory it ever held."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ERROR = re.compile(r"[\w.]*(?:Error|Exception)\b")


@dataclass(frozen=True, slots=True)
class Taken:
    """What one program took. `peak_mb` includes what this process held when it started the program."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


class ProgramFailed(RuntimeError):
    """A program ended with an error or had to be killed; `reason` is one line."""

    def __init__(self, command: Sequence[str], end: str, lines: Sequence[str]) -> None:
        super().__init__(f"{' '.join(command[:6])} {end}:\n" + "\n".join(lines[-15:]))
        said = [plain for line in lines if (plain := COLOURS.sub("", line).strip())]
        # Python's tracebacks name the error last, but it may have lines of its own.
        named = [line for line in said if ERROR.match(line)]
        self.reason = ": ".join([end, *(named or said)[-1:]])


def taken(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    statements: Path | None = None,
    keep_output: bool = False,
    output: Path | None = None,
    timeout_s: float | None = None,
) -> Taken:
    """Run a command, its standard input from a file, its output to nowhere unless kept or written to a file.

    With a timeout it gets a session of its own, and that many seconds later everything in it is killed.
    """
    with (
        (statements or Path(os.devnull)).open("rb") as source,
        (output or Path(os.devnull)).open("wb") as target,
        tempfile.TemporaryFile() as kept,
        tempfile.TemporaryFile() as errors,
    ):
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=kept if keep_output else target,
            stderr=errors,
            env={**os.environ, **environment},
            start_new_session=timeout_s is not None,
        )
        with _ended_after(process, timeout_s):
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            late = timeout_s is not None and wall_s >= timeout_s
            end = f"was killed after {timeout_s:.0f} s" if late else f"ended with {process.returncode}"
            # Some programs report their failure on standard output.
            raise ProgramFailed(command, end, [*_lines(kept), *_lines(errors)])
        kept.seek(0)
        return Taken(
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss / 1024,  # Linux counts in KiB
            output=kept.read().decode(),
        )


@contextmanager
def _ended_after(process: subprocess.Popen[bytes], timeout_s: float | None) -> Iterator[None]:
    """Kill the process' session when its time is over, or when waiting for it is interrupted."""
    if timeout_s is None:
        yield
        return
    timer = threading.Timer(timeout_s, _kill, (process.pid,))
    timer.daemon = True
    timer.start()
    try:
        yield
    except BaseException:
        _kill(process.pid)
        process.wait()
        raise
    finally:
        timer.cancel()


def _kill(session: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)


def _lines(file: IO[bytes]) -> list[str]:
    file.seek(0)
    return file.read().decode(errors="replace").splitlines()
