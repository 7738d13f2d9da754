"""ingestr, of the last line whose package carries all of it (1.x fetches a program at run time)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.peers.environment import Environment, duckdb_rows, program
from tests.bench.peers.tool import CHANGED, KEY, TABLE, Command, Place

if TYPE_CHECKING:
    import polars as pl

ENVIRONMENT = Environment("ingestr", ("ingestr==0.14.155",))


@dataclass(frozen=True, slots=True)
class Ingestr:
    """`ingestr ingest` with strategy merge, into DuckDB."""

    name: str = "ingestr"
    writes: str = "DuckDB, merged"
    appends: bool = False
    normalises: tuple[str, ...] = ()

    def environment(self, engine: str) -> Environment:
        return ENVIRONMENT

    def prepare(self, place: Place) -> None:
        place.folder.mkdir(parents=True)

    def command(self, place: Place, number: int) -> Command:
        source = place.url("postgresql" if place.engine == "postgresql" else "mysql+pymysql")
        words = [*program(place.environment, "ingestr"), "ingest", "--yes", "--progress", "log"]
        words += ["--source-uri", source, "--source-table", f"{place.schema}.{place.table}"]
        words += ["--dest-uri", f"duckdb:///{place.folder}/bench.duckdb", "--dest-table", f"main.{place.table}"]
        words += ["--incremental-strategy", "merge", "--incremental-key", CHANGED, "--primary-key", KEY]
        return Command([*words, "--pipelines-dir", str(place.folder / "state")], {"DISABLE_TELEMETRY": "true"})

    def rows(self, folder: Path, environment: Path) -> pl.DataFrame:
        import polars as pl

        return pl.read_parquet(duckdb_rows(folder / "bench.duckdb", f"main.{TABLE}", environment))
