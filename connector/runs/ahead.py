"""Read the next batch while the present one is ingested, on one thread.

The thread begins with the second batch: most pulls have one. It reads exactly one ahead, and it is the only one that
uses the connection while it runs. Leaving the context before the last batch waits for it a moment, then breaks the
connection, so that a thread that waits for the database ends at once.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Self

from connector.model import Batch
from connector.runs.timing import Stages

STAGE = "read"

PATIENCE_S = 2.0
"""How long the batch that is being read may take to arrive when nobody wants it any more: a server that is let finish
has nothing to complain of in its log."""


class Ahead:
    """Iterate over batches up to the last one. `give_up` breaks whatever the iterator of batches waits for."""

    def __init__(self, batches: Iterator[Batch], give_up: Callable[[], None], stages: Stages) -> None:
        self._batches = batches
        self._give_up = give_up
        self._stages = stages
        self._thread: threading.Thread | None = None
        self._wanted = threading.Semaphore(0)
        self._read: queue.SimpleQueue[Batch | BaseException] = queue.SimpleQueue()
        self._left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        if self._thread is not None:
            self._wanted.release()
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive():
                self._give_up()
            self._thread.join()

    def __iter__(self) -> Iterator[Batch]:
        batch = self._next()
        if not batch.last:
            self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
            self._thread.start()
        self._wanted.release()
        yield batch
        while not batch.last:
            taken = self._read.get()
            if isinstance(taken, BaseException):
                raise taken
            batch = taken
            self._wanted.release()
            yield batch

    def _next(self) -> Batch:
        with self._stages.timed(STAGE):
            return next(self._batches)

    def _run(self) -> None:
        last = False
        while not last:
            self._wanted.acquire()
            if self._left:
                return
            try:
                batch = self._next()
            except BaseException as error:  # noqa: BLE001 - it is raised again where the batches are taken
                self._read.put(error)
                return
            last = batch.last
            self._read.put(batch)
