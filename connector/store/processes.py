"""Tell whether the process that holds a lease is still there.

A process is named by its host, its number and `process_started`: boot id, process namespace and start time, from
/proc. A number alone is not enough, for numbers come again; in a container the first process always has number 1.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_GONE_STATES = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class Holder:
    """Name one process's use of a store; `token` differs even between two uses in one process."""

    token: str
    host: str
    pid: int
    started: str


def this_holder() -> Holder:
    """Return a new holder for this process."""
    pid = os.getpid()
    return Holder(uuid.uuid4().hex, socket.gethostname(), pid, started(pid) or "")


def started(pid: int) -> str | None:
    """Return `boot:namespace:start` of a process seen from here, None when it is gone, "" when /proc can't tell."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (PROC / "self/ns/pid").stat().st_ino
    except OSError:
        return ""
    try:
        # The name, in parentheses, may hold blanks and parentheses; state and start time are fields 3 and 22.
        columns = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        # Other users' processes may be hidden (hidepid), which is not the same as gone.
        return None if _no_such_process(pid) else ""
    return None if columns[0] in _GONE_STATES else f"{boot}:{namespace}:{columns[19]}"


def is_gone(host: str, pid: int, process_started: str) -> bool:
    """Tell whether a holder's process has certainly ended; False when that can't be known from here."""
    if host != socket.gethostname():
        return False
    here = started(os.getpid())
    if not process_started or not here:
        return _no_such_process(pid)
    then_boot, then_namespace, _ = process_started.split(":")
    boot, namespace, _ = here.split(":")
    if then_boot != boot:
        return True
    if then_namespace != namespace:
        return False
    found = started(pid)
    return found not in ("", process_started)  # None, or a later process of the same number


def _no_such_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
