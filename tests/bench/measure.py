"""Run a program to its end and say what it took: wall time, CPU, and the most memory it ever held."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Taken:
    """What one program took. `peak_mb` includes what this process held when it started the program."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def taken(
    command: Sequence[str], *, environment: Mapping[str, str], statements: Path | None = None, keep_output: bool = False
) -> Taken:
    """Run a command, its standard input from a file, its output to nowhere unless kept."""
    with (
        (statements or Path(os.devnull)).open("rb") as source,
        tempfile.TemporaryFile() as kept,
        tempfile.TemporaryFile() as errors,
    ):
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=kept if keep_output else subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **environment},
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").splitlines()[-15:]
            raise RuntimeError(f"{' '.join(command[:6])} ended with {process.returncode}:\n" + "\n".join(lines))
        kept.seek(0)
        return Taken(
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss / 1024,  # Linux counts in KiB
            output=kept.read().decode(),
        )
