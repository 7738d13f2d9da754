"""The naive control: keyset paging by (updated_at, id) from the newest value seen, as widespread tools do it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PAGE = 200
PAUSE_S = 0.3
LAST_PULLS = 3

_QUERY = (
    "SELECT id, ver, updated_at FROM t WHERE updated_at >= %s AND (updated_at > %s OR id > %s)"
    f" ORDER BY updated_at, id LIMIT {PAGE}"
)


@dataclass(slots=True)
class Control:
    """Pulls in a thread until told to finish. `seen` holds the newest version of each id that it was given."""

    connection: Any
    seen: dict[int, int] = field(default_factory=dict)
    _place: tuple[Any, int] = ("1900-01-01", 0)
    _finish: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _error: BaseException | None = None

    def start(self) -> None:
        self._pull()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Let it pull its last times, and raise what stopped it."""
        self._finish.set()
        if self._thread is not None:
            self._thread.join(60)
        with contextlib.suppress(Exception):  # broken by what is raised below
            self.connection.close()
        if self._error is not None:
            raise self._error

    def lost(self, truth: Mapping[int, int]) -> int:
        """Count new rows that it never saw, and last versions that it never saw."""
        return sum(self.seen.get(key) != version for key, version in truth.items())

    def _run(self) -> None:
        try:
            while not self._finish.wait(PAUSE_S):
                self._pull()
            for _ in range(LAST_PULLS):
                self._pull()
        except BaseException as error:  # noqa: BLE001 - raised by `finish`, in the thread that asks
            self._error = error

    def _pull(self) -> None:
        with self.connection.cursor() as cursor:
            while True:
                stamp, key = self._place
                cursor.execute(_QUERY, [stamp, stamp, key])
                rows = cursor.fetchall()
                for row_id, version, stamp in rows:
                    self.seen[row_id] = version
                    self._place = (stamp, row_id)
                if len(rows) < PAGE:
                    return
