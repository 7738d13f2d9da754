"""A Singer tap alone, its messages into a file: the cheapest target there can be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import customers
from tests.bench.measure import taken
from tests.bench.peers.environment import Environment, program
from tests.bench.peers.tool import CHANGED, Command, Place
from tests.bench.pull import LOGIN, PASSWORD

if TYPE_CHECKING:
    import polars as pl

TAPS = {
    "postgresql": Environment("singer-postgresql", ("pipelinewise-tap-postgres==1.8.4",)),
    "mysql": Environment("singer-mysql", ("pipelinewise-tap-mysql==1.6.0",)),
}
PROGRAMS = {"postgresql": "tap-postgres", "mysql": "tap-mysql"}
DISCOVER_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Singer:
    """PipelineWise's tap of the engine, with incremental replication."""

    name: str = "singer"
    writes: str = "JSON lines, appended"
    appends: bool = True
    normalises: tuple[str, ...] = ()

    def environment(self, engine: str) -> Environment:
        return TAPS[engine]

    def prepare(self, place: Place) -> None:
        """Discover the tables and select ours."""
        place.folder.mkdir(parents=True)
        server = place.database.server
        config = {"host": server.host, "port": server.port, "user": LOGIN, "password": PASSWORD}
        config |= {"dbname": place.database.name, "filter_schemas": place.schema}
        config |= {"database": place.database.name}
        (place.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        found = taken([*self._tap(place), "--discover"], environment={}, keep_output=True, timeout_s=DISCOVER_TIMEOUT_S)
        catalog = json.loads(found.output)
        for stream in catalog["streams"]:
            (metadata,) = [each["metadata"] for each in stream["metadata"] if not each["breadcrumb"]]
            metadata["selected"] = stream["table_name"] == place.table
            metadata |= {"replication-method": "INCREMENTAL", "replication-key": CHANGED}
        (place.folder / "catalog.json").write_text(json.dumps(catalog), encoding="utf-8")

    def command(self, place: Place, number: int) -> Command:
        words = [*self._tap(place), "--catalog", str(place.folder / "catalog.json")]
        if number:
            state = place.folder / f"state-{number}.json"
            state.write_text(json.dumps(_last_state(_messages(place.folder)[-1])), encoding="utf-8")
            words += ["--state", str(state)]
        return Command(words, output=place.folder / f"messages-{number:03}.jsonl")

    def rows(self, folder: Path, environment: Path) -> pl.DataFrame:
        import polars as pl

        schema = {"record": pl.Struct(dict.fromkeys(customers.COLUMNS, pl.String))}
        path = folder / "records.jsonl"
        with path.open("wb") as records:
            for messages in _messages(folder):
                with messages.open("rb") as file:
                    records.writelines(line for line in file if line.startswith(b'{"type": "RECORD"'))
        frame = pl.read_ndjson(path, schema=schema).unnest("record")
        path.unlink()
        return frame

    def _tap(self, place: Place) -> list[str]:
        tap = program(place.environment, PROGRAMS[place.engine])
        return [*tap, "--config", str(place.folder / "config.json")]


def _messages(folder: Path) -> list[Path]:
    return sorted(folder.glob("messages-*.jsonl"))


def _last_state(path: Path) -> object:
    """Return the state that a target would have kept: the last one in the messages."""
    last = None
    with path.open("rb") as file:
        for line in file:
            if line.startswith(b'{"type": "STATE"'):
                last = line
    if last is None:
        raise RuntimeError(f"{path.name} holds no state")
    return json.loads(last)["value"]
