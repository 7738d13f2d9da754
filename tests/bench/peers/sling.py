"""Sling's program, from the package that carries it (the `sling` package fetches it at run time instead)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.peers.environment import Environment, packages
from tests.bench.peers.tool import CHANGED, KEY, TABLE, Command, Place

if TYPE_CHECKING:
    import polars as pl

ENVIRONMENT = Environment("sling", ("sling-linux-amd64==1.4.11",))


@dataclass(frozen=True, slots=True)
class Sling:
    """A replication in mode incremental, into SQLite (where it finds its state) or CSV files (where it needs one)."""

    destination: str
    normalises: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"sling-{self.destination}"

    @property
    def writes(self) -> str:
        return "CSV, appended" if self.appends else "SQLite, merged"

    @property
    def appends(self) -> bool:
        return self.destination == "csv"

    def environment(self, engine: str) -> Environment:
        return ENVIRONMENT

    def prepare(self, place: Place) -> None:
        place.folder.mkdir(parents=True)

    def command(self, place: Place, number: int) -> Command:
        path = place.folder / f"replication-{number}.yaml"
        stream = {"mode": "incremental", "primary_key": [KEY], "update_key": CHANGED}
        target = f"file://{place.folder}/csv/{number:03}.csv" if self.appends else f"main.{place.table}"
        streams = {f"{place.schema}.{place.table}": {**stream, "object": target}}
        replication = {"source": "BENCH_SOURCE", "target": "BENCH_TARGET", "streams": streams}
        # JSON is YAML, and needs no quoting rules of our own.
        path.write_text(json.dumps(replication, indent=1), encoding="utf-8")
        source = place.url("postgresql", "?sslmode=disable") if place.engine == "postgresql" else place.url("mysql")
        environment = {
            "BENCH_SOURCE": source,
            "BENCH_TARGET": "file://" if self.appends else f"sqlite://{place.folder}/sling.db",
            "SLING_HOME_DIR": str(place.folder / "home"),
            "SLING_DISABLE_TELEMETRY": "TRUE",
        }
        if self.appends:
            environment["SLING_STATE"] = f"file://{place.folder}/state"
        elif sqlite := shutil.which("sqlite3"):
            environment["SQLITE_PATH"] = sqlite  # it loads through this program, which it would fetch otherwise
        program = packages(place.environment) / "sling_linux_amd64" / "bin" / "sling-linux-amd64"
        return Command([str(program), "run", "-r", str(path)], environment)

    def rows(self, folder: Path, environment: Path) -> pl.DataFrame:
        import polars as pl

        if self.appends:
            paths = sorted((folder / "csv").glob("*.csv"))
            return pl.concat([pl.read_csv(path, infer_schema=False) for path in paths])
        with closing(sqlite3.connect(folder / "sling.db")) as connection:
            cursor = connection.execute(f"SELECT * FROM {TABLE}")
            names = [column[0] for column in cursor.description]
            return pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)
