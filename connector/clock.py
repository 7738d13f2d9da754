"""The only reader of the host's clock; everything else takes time as an argument or asks here."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the host's time, aware, in UTC."""
    return datetime.now(UTC)


def now_s() -> int:
    """Return whole seconds since 1970, UTC."""
    return int(time.time())


def monotonic_s() -> float:
    """Return seconds of a clock that never steps back."""
    return time.monotonic()


def wait_s(stop: threading.Event, seconds: float) -> bool:
    """Wait, and return True at once when `stop` is set."""
    return stop.wait(seconds)


def cpu_s() -> float:
    """Return the CPU seconds that this thread has used."""
    return time.thread_time()
