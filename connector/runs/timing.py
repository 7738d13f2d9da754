"""CPU seconds by stage, for `--json` and the bench.

Each stage counts the CPU time of the thread that it runs on; what polars' own threads do for it is not in it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from connector import clock
from connector.model import Counters

if TYPE_CHECKING:
    from connector.store.intake import Intake
    from connector.store.runs import Run
    from connector.store.store import Store


class Stages:
    """Adds up CPU seconds; a stage inside another one is taken out of the outer."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._threads = threading.local()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started_s = clock.cpu_s()
        inner_s: list[float] = self._threads.__dict__.setdefault("inner_s", [0.0])
        inner_s.append(0.0)
        try:
            yield
        finally:
            whole_s = clock.cpu_s() - started_s
            own_s = whole_s - inner_s.pop()
            inner_s[-1] += whole_s
            self._seconds[stage] = self._seconds.get(stage, 0.0) + own_s

    def seconds(self) -> dict[str, float]:
        return {stage: round(seconds, 4) for stage, seconds in self._seconds.items()}


class TimedStore:
    """The store as the core sees it, its commits counted as a stage of their own."""

    def __init__(self, store: Store, stages: Stages) -> None:
        self._store = store
        self._stages = stages

    def commit_batch(self, run: Run, intake: Intake) -> Counters:
        with self._stages.timed("store"):
            return self._store.commit_batch(run, intake)
