"""What one run needs, and what it tells people on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from connector.config.resolved import Stream
from connector.core.entity import Entity
from connector.model import Counters
from connector.source.session import Session
from connector.store.store import Store


@dataclass(frozen=True, slots=True)
class Tick:
    """Progress after a batch: the run's counters, the pull's rows so far, and what the engine expects in all."""

    counters: Counters
    rows: int
    estimate: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """One stream with everything that a run of it needs. `open_session` waits for the client's connection limit."""

    stream: Stream
    entity: Entity
    store: Store
    open_session: Callable[[], AbstractContextManager[Session]]
    stop: threading.Event
    lease_s: float
    watch: Callable[[Tick], None] = lambda _: None
