"""The composition root: from the configuration to the objects that do the work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from connector import registry
from connector.config.load import load
from connector.config.resolved import Client, Config, Source, Stream
from connector.core.entity import Entity, FieldType
from connector.errors import ConfigError
from connector.model import LIVE, RunResult, StreamId
from connector.runs.job import Job, Tick
from connector.runs.pull import run_lane
from connector.source.session import Door, Session
from connector.store.store import Store

LEASE_MARGIN_S = 120.0
"""What a batch may take beside its statement before its lease runs out."""


def load_config(path: Path) -> Config:
    """Load the configuration; ConfigError lists every problem with its file and line."""
    required = {
        name: tuple(field.name for field in entity.fields if field.required)
        for name, entity in registry.ENTITIES.items()
    }
    dates = {
        name: tuple(field.name for field in entity.fields if field.type in (FieldType.DATE, FieldType.TIMESTAMP))
        for name, entity in registry.ENTITIES.items()
    }
    return load(path, engines=tuple(registry.DIALECTS), entities=required, aliases=registry.ALIASES, dates=dates)


class Sources:
    """The clients' databases, a door each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._doors: dict[Source, Door] = {}

    def session(self, source: Source) -> AbstractContextManager[Session]:
        with self._lock:
            if source not in self._doors:
                self._doors[source] = Door(registry.DIALECTS[source.engine], source)
            return self._doors[source].session()


class App:
    """The program with its configuration and its store open. `stop` ends every run after its batch."""

    def __init__(self, config: Config, store: Store | None = None) -> None:
        self.config = config
        self.stop = threading.Event()
        self.sources = Sources()
        self._store = store

    @property
    def store(self) -> Store:
        return self.open_store()

    def open_store(self) -> Store:
        """Return the store, opened when it is first needed: `check` and `preview` never touch it."""
        if self._store is None:
            self._store = Store.open(self.config.store)
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def run_stream(self, stream: str, lane: str = LIVE, watch: Callable[[Tick], None] = lambda _: None) -> RunResult:
        """Run one lane of one stream; the unit of work, whoever schedules it. Raises nothing that the run met."""
        client, settings = self.find(stream)
        return run_lane(self.job(client, settings, watch), lane)

    def job(self, client: Client, stream: Stream, watch: Callable[[Tick], None] = lambda _: None) -> Job:
        limits = client.source.limits
        return Job(
            stream=stream,
            entity=entity_of(stream),
            store=self.store,
            open_session=lambda: self.sources.session(client.source),
            stop=self.stop,
            lease_s=limits.statement_timeout_s + limits.connect_timeout_s + LEASE_MARGIN_S,
            watch=watch,
        )

    def find(self, name: str) -> tuple[Client, Stream]:
        client, _, stream = name.partition("/")
        found = self.config.stream(StreamId(client, stream))
        if found is None:
            known = ", ".join(str(each.id) for one in self.config.clients for each in one.streams)
            raise ConfigError(f"there is no stream {name}", remedy=f"Configured are: {known or 'none'}")
        return found

    def matching(self, target: str | None) -> list[tuple[Client, Stream]]:
        """Return the streams of CLIENT, CLIENT/STREAM, or all, parents before children within each client."""
        if target and "/" in target:
            return [self.find(target)]
        clients = [client for client in self.config.clients if target in (None, client.name)]
        if not clients:
            known = ", ".join(client.name for client in self.config.clients)
            raise ConfigError(f"there is no client {target}", remedy=f"Configured are: {known or 'none'}")
        return [
            (client, stream)
            for client in clients
            for stream in sorted(client.streams, key=lambda each: entity_of(each).load_order)
        ]


def entity_of(stream: Stream) -> Entity:
    return registry.ENTITIES[stream.entity]
