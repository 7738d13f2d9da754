"""dlt's SQL source, with each of its readers; `pipeline.py` is the program that its documentation tells to write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.peers.environment import Environment, duckdb_rows
from tests.bench.peers.tool import TABLE, Command, Place

if TYPE_CHECKING:
    import polars as pl

PIPELINE = Path(__file__).with_name("pipeline.py")
ENVIRONMENT = Environment(
    "dlt",
    (
        "dlt[duckdb,filesystem,parquet,sql-database]==1.31.0",
        "sqlalchemy==2.0.58",  # dlt 1.31 does not know 2.1
        "connectorx==0.4.6",
        "duckdb==2.0.0",
        "pyarrow==26.0.1",
        "psycopg2-binary==2.9.13",
        "pymysql==1.2.4",
    ),
)


@dataclass(frozen=True, slots=True)
class Dlt:
    """One backend of dlt into Parquet files or into DuckDB."""

    backend: str
    destination: str = "parquet"
    normalises: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"dlt-{self.backend}" + ("" if self.destination == "parquet" else f"-{self.destination}")

    @property
    def writes(self) -> str:
        return "Parquet, appended" if self.appends else "DuckDB, merged"

    @property
    def appends(self) -> bool:
        return self.destination == "parquet"

    def environment(self, engine: str) -> Environment:
        return ENVIRONMENT

    def prepare(self, place: Place) -> None:
        place.folder.mkdir(parents=True)

    def command(self, place: Place, number: int) -> Command:
        url = place.url("postgresql+psycopg2" if place.engine == "postgresql" else "mysql+pymysql")
        # Without -P, Python would find this folder's modules where the program imports dlt.
        words = [str(place.environment / "bin" / "python"), "-P", str(PIPELINE), url, place.table]
        return Command(
            [*words, self.backend, self.destination, str(place.folder)], {"RUNTIME__DLTHUB_TELEMETRY": "false"}
        )

    def rows(self, folder: Path, environment: Path) -> pl.DataFrame:
        import polars as pl

        if not self.appends:
            return pl.read_parquet(duckdb_rows(folder / "rows.duckdb", f"bench.{TABLE}", environment))
        paths = sorted((folder / "bench" / TABLE).glob("*.parquet"))
        return pl.concat([pl.read_parquet(path) for path in paths], how="diagonal_relaxed")
