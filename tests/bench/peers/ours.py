"""The connector itself, measured as its peers are."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import pull
from tests.bench.customers import TENANTS
from tests.bench.peers.environment import Environment
from tests.bench.peers.tool import Command, Place

if TYPE_CHECKING:
    import polars as pl

CUSTOM = ("tenant", "changed", "balance")  # what the customer entity does not know is kept as custom attributes
READ_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Connector:
    """`connector pull`, a stream for each tenant, into its store: a change log and a ledger of every key."""

    name: str = "connector"
    writes: str = "store, merged"
    appends: bool = False
    normalises: tuple[str, ...] = ("email", "gender", "phone")  # as the customer entity says

    def environment(self, engine: str) -> Environment | None:
        return None

    def prepare(self, place: Place) -> None:
        pull.configure(place.folder, place.database, place.table)

    def command(self, place: Place, number: int) -> Command:
        return Command(pull.COMMAND, pull.environment(place.folder / pull.CONFIG))

    def rows(self, folder: Path, environment: Path) -> pl.DataFrame:
        """Read every stream's newest records with `connector records`."""
        import polars as pl

        names = {f"custom.{name}" if name in CUSTOM else name: column for name, column in pull.FIELDS.items()}
        record = pl.Struct(dict.fromkeys(names, pl.String))
        frames = []
        for tenant in TENANTS:
            path = folder / f"{tenant}.json"
            command = [*pull.COMMAND[:3], "records", f"bench/{tenant}", "--limit", "1000000000", "--json"]
            with path.open("wb") as file:
                subprocess.run(
                    command,
                    stdout=file,
                    env={**os.environ, **pull.environment(folder / pull.CONFIG)},
                    check=True,
                    timeout=READ_TIMEOUT_S,
                )
            records = pl.read_json(path, schema={"records": pl.List(record)})
            frames.append(records.explode("records").unnest("records").rename(names))
            path.unlink()
        return pl.concat(frames)
