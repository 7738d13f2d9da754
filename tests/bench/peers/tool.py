"""What a measured tool is: how it is set up, what it runs as, and how to read back what it wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tests.bench.peers.environment import Environment
from tests.bench.pull import LOGIN, PASSWORD
from tests.servers import Database

if TYPE_CHECKING:  # polars would raise the memory floor of every process that the bench starts: see measure.Taken
    import polars as pl

TABLE = "customers"
KEY = "customer_id"
CHANGED = "updated_at"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tool pulls one table from, and the folder in which it keeps whatever it writes."""

    database: Database
    table: str
    folder: Path
    environment: Path

    @property
    def engine(self) -> str:
        return self.database.server.engine

    @property
    def schema(self) -> str:
        """Return what stands before the table's name: MariaDB's databases are schemas."""
        return "public" if self.engine == "postgresql" else self.database.name

    def url(self, scheme: str, parameters: str = "") -> str:
        server = self.database.server
        return f"{scheme}://{LOGIN}:{PASSWORD}@{server.host}:{server.port}/{self.database.name}{parameters}"


@dataclass(frozen=True, slots=True)
class Command:
    """One process. Its home is the tool's folder, so that nothing is read from or left in the user's own."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    output: Path | None = None


class Tool(Protocol):
    """A tool in one configuration; the same command pulls first everything, then what changed."""

    @property
    def name(self) -> str: ...

    @property
    def writes(self) -> str:
        """Name the destination, and whether what changed is appended there or merged."""

    @property
    def appends(self) -> bool: ...

    @property
    def normalises(self) -> tuple[str, ...]:
        """Name the columns whose values it rewrites on purpose, by rules of its own."""

    def environment(self, engine: str) -> Environment | None:
        """Return the packages it needs, or None for the connector itself."""

    def prepare(self, place: Place) -> None:
        """Write its configuration, once, before anything is measured."""

    def command(self, place: Place, number: int) -> Command:
        """Return the process of its first (0) or a later pull."""

    def rows(self, folder: Path, environment: Path) -> pl.DataFrame:
        """Read back every row that it wrote, in the source's column names."""
