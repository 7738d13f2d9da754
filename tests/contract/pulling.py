"""The real program against a client's database: an `App` with the test's configuration and a store of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connector.app import App
from connector.config.resolved import (
    Client,
    Config,
    DaemonSettings,
    Field,
    Limits,
    LogSettings,
    Source,
    StoreSettings,
    Stream,
)
from connector.model import LIVE, OpenPull, RunResult, RunState, StreamId, Watermark
from connector.runs.job import Tick
from connector.source import session
from tests.contract.engines import ClientDatabase, Engine
from tests.contract.stores import empty_store

OLD = datetime.fromisoformat("2024-03-01 12:00:00")
"""A time long before any look-back."""

NAME = StreamId("acme", "customers")
FIELDS = {
    "local_id": Field(column="id"),
    "register_date": Field(sql="'2020-01-01'"),
    "v": Field(column="v"),
}


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def at(seconds: float) -> str:
    """Write a time of the old days, so many seconds after their beginning."""
    return stamp(OLD + timedelta(seconds=seconds))


def ago(seconds: float) -> str:
    """Write a time so many seconds before now, in UTC."""
    return stamp(datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=seconds))


def text(value: object) -> str | None:
    return None if value is None else str(value)


@dataclass(slots=True)
class Pulling:
    """A client, its one stream, and the program with its store. Change the stream with `configure`."""

    database: ClientDatabase
    folder: Path
    stream: Stream
    patch: pytest.MonkeyPatch
    app: App = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "connector.db").write_bytes(empty_store())
        self.app = self._app(self.database.source)

    def _app(self, source: Source) -> App:
        config = Config(
            path=self.folder / "connector.yaml",
            store=StoreSettings(self.folder / "connector.db", min_free_bytes=0),
            log=LogSettings(),
            daemon=DaemonSettings(),
            clients=(Client("acme", source, (self.stream,)),),
        )
        return App(config)

    @property
    def engine(self) -> Engine:
        return self.database.engine

    @property
    def has(self) -> frozenset[str]:
        return self.database.engine.has

    def configure(self, source: Source | None = None, limits: Limits | None = None, **changes: Any) -> None:
        """Change the stream, or how its source is reached, and start the program anew on the same store."""
        self.app.close()
        self.stream = replace(self.stream, **changes)
        source = source or self.app.config.clients[0].source
        self.app = self._app(source if limits is None else replace(source, limits=limits))

    def at_the_window_level(self) -> None:
        """Let the stream read a query, behind which no engine shows a SELECT-only login anything of other writers."""
        self.configure(table=None, query="SELECT * FROM t")

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self.database.execute(sql, parameters)

    def insert(self, *rows: tuple[Any, ...], table: str = "t") -> None:
        self.database.insert(table, rows)

    def pull(self, *, lane: str = LIVE, watch: Callable[[Tick], None] = lambda _: None) -> RunResult:
        return self.app.run_stream(str(NAME), lane, watch)

    def succeed(self, *, lane: str = LIVE, watch: Callable[[Tick], None] = lambda _: None) -> RunResult:
        """Pull, and insist that it goes well."""
        result = self.pull(lane=lane, watch=watch)
        assert result.state is RunState.SUCCEEDED, result.error
        return result

    def stop_after(self, batches: int, *, lane: str = LIVE) -> RunResult:
        """Pull, and ask the program to stop once so many batches are committed."""

        def watch(tick: Tick) -> None:
            if tick.counters.batches >= batches:
                self.app.stop.set()

        result = self.pull(lane=lane, watch=watch)
        self.app.stop.clear()
        assert result.state is RunState.STOPPED, (result.state, result.error)
        return result

    def clock(self, moment: datetime) -> None:
        """Let the database's clock stand at a time, as far as pulls can see."""
        us = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        self.patch.setattr(session.Session, "clock_us", lambda _: us)

    def records(self) -> list[dict[str, Any]]:
        """Return every live record of the stream."""
        row = self.app.store.find_stream(NAME)
        return [] if row is None else [r for frame in self.app.store.iter_records(row) for r in frame.to_dicts()]

    def final(self) -> dict[str, Any]:
        """Return what the store holds: `v` by id."""
        return {record["local_id"]: text(record["custom.v"]) for record in self.records()}

    def expected(self, where: str = "") -> dict[str, Any]:
        """Return what the client's table holds: `v` by id, as texts."""
        rows = self.execute(f"SELECT id, v FROM t {where}")
        return {str(key): text(value) for key, value in rows}

    def watermark(self) -> Watermark | None:
        row = self.app.store.find_stream(NAME)
        return None if row is None else self.app.store.watermark(row)

    def mark(self) -> str | None:
        found = self.watermark()
        return None if found is None else found.marks.time or found.marks.id

    def open_pull(self, lane: str = LIVE) -> OpenPull | None:
        row = self.app.store.find_stream(NAME)
        return None if row is None else self.app.store.open_pull(row, lane)

    def session(self) -> Any:
        """Open a session as a run does."""
        return self.app.sources.session(self.app.config.clients[0].source)


def streaming(database: ClientDatabase, folder: Path, patch: pytest.MonkeyPatch) -> Pulling:
    """Give the program with one stream of customers by timestamp over the table `t`."""
    stream = Stream(
        id=NAME,
        entity="customer",
        table="t",
        watermark_column="updated_at",
        by="timestamp",
        key=("id",),
        fields=FIELDS,
        batch_size=10,
        retries=0,
    )
    return Pulling(database, folder, stream, patch)
