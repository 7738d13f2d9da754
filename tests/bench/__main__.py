"""Measure the connector against the databases' own limit: `make bench`, or `ROWS=100000 make bench`.

Each round reads the whole table twice from each engine, first with the engine's own client to nowhere, then with
`connector pull` into a new store, so that a noisy moment hits both. On the last store everything is read once more,
nothing changed, and then 1 % of the rows are changed and pulled by a program that runs already. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests import servers
from tests.bench import again, customers, limit, pull
from tests.bench.customers import Sample
from tests.bench.measure import Taken
from tests.bench.pull import Pulled
from tests.servers import Database

LOCAL = ("local", "install", "unpack")  # a container's network would be part of the limit
INCREMENTS = 5
STARTERS = {"postgresql": servers.postgresql, "mariadb": servers.mariadb}


@dataclass(slots=True)
class Engine:
    """One engine's loaded database and what was measured on it."""

    name: str
    database: Database
    pages: Path
    limits: list[Taken] = field(default_factory=list)
    pulls: list[Pulled] = field(default_factory=list)
    tenth: Pulled | None = None
    again: list[Taken] = field(default_factory=list)
    increments: list[tuple[int, float]] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(p.taken.wall_s / lim.wall_s for p, lim in zip(self.pulls, self.limits, strict=True))

    @property
    def increment_ms(self) -> float:
        return statistics.median(took_s for _, took_s in self.increments) * 1000

    @property
    def peak_mb(self) -> float:
        return max(p.taken.peak_mb for p in self.pulls)

    @property
    def growth_percent(self) -> float:
        assert self.tenth is not None
        return (self.peak_mb / self.tenth.taken.peak_mb - 1) * 100


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=int(os.environ.get("ROWS", "1000000")))
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "3")))
    parser.add_argument("--engine", choices=sorted(STARTERS), action="append", help="default: both")
    parser.add_argument("--limit-only", action="store_true", help="measure only the engines' own clients")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connector-bench-")))
        whole = customers.write(folder / "customers.tsv", options.rows)
        tenth = customers.write(folder / "tenth.tsv", max(options.rows // 10, 1))
        engines = [_prepared(stack, name, folder, whole, tenth) for name in options.engine or STARTERS]
        config_of: dict[str, Path] = {}
        for number in range(options.rounds):
            for engine in engines:
                engine.limits.append(limit.read(engine.database, engine.pages))
                if not options.limit_only:
                    config = _configured(folder, engine, f"round-{number}", "customers")
                    engine.pulls.append(_pulled(engine, config, whole))
                    engine.again.append(again.unchanged(config))
                    config_of[engine.name] = config
        if not options.limit_only:
            for engine in engines:
                engine.tenth = _pulled(engine, _configured(folder, engine, "tenth", "tenth"), tenth)
                engine.increments = again.increments(config_of[engine.name], engine.database, "customers", INCREMENTS)
        _show(engines, whole)
        print(json.dumps(_summary(engines, whole, options.limit_only), sort_keys=True))


def _prepared(stack: ExitStack, name: str, folder: Path, whole: Sample, tenth: Sample) -> Engine:
    server = stack.enter_context(STARTERS[name](durable=True, ways=LOCAL))
    database = stack.enter_context(servers.fresh_database(server, "bench"))
    customers.load(database, "customers", whole)
    customers.load(database, "tenth", tenth)
    pull.grant(database)
    return Engine(name, database, limit.statements(database, "customers", whole, folder))


def _configured(folder: Path, engine: Engine, name: str, table: str) -> Path:
    return pull.configure(folder / f"{engine.name}-{name}", engine.database, table)


def _pulled(engine: Engine, config: Path, sample: Sample) -> Pulled:
    result = pull.pull(config)
    if (result.rows, result.refused) != (sample.rows, 0):
        raise RuntimeError(f"{engine.name}: read {result.rows} of {sample.rows} rows, refused {result.refused}")
    return result


def _show(engines: list[Engine], whole: Sample) -> None:
    rows = whole.rows
    table = Table(title=f"{rows:,} rows × {len(customers.COLUMNS)} columns, median of {len(engines[0].limits)} rounds")
    for heading in ("engine", "side", "seconds", "× limit", "peak MB", "CPU s per million"):
        table.add_column(heading, justify="left" if heading in ("engine", "side") else "right")
    for engine in engines:
        limit_s = statistics.median(each.wall_s for each in engine.limits)
        cpu = statistics.median(each.cpu_s for each in engine.limits) / rows * 1e6
        peak = max(each.peak_mb for each in engine.limits)
        table.add_row(engine.name, "limit", f"{limit_s:.2f}", "1.00", f"{peak:.0f}", f"{cpu:.2f}")
        if engine.pulls:
            pull_s = statistics.median(each.taken.wall_s for each in engine.pulls)
            cpu_text = " ".join(f"{stage} {value:.2f}" for stage, value in _cpu([engine]).items())
            again_cpu = f"{_again([engine], whole):.2f}"
            changed, ms = engine.increments[-1][0], f"{engine.increment_ms / 1000:.3f}"
            table.add_row(
                engine.name, "pull", f"{pull_s:.2f}", f"{engine.ratio:.2f}", f"{engine.peak_mb:.0f}", cpu_text
            )
            table.add_row(engine.name, "all again, unchanged", "", "", "", again_cpu)
            table.add_row(engine.name, f"{changed:,} changed, in a daemon", ms, "", "", "")
    Console(width=120).print(table)


def _cpu(engines: list[Engine]) -> dict[str, float]:
    """Return CPU seconds per million rows by stage, over all pulls of these engines."""
    pulls = [each for engine in engines for each in engine.pulls]
    millions = sum(each.rows for each in pulls) / 1e6
    stages = dict.fromkeys(("read", "core", "store"), 0.0)
    for each in pulls:
        for stage, seconds in each.stages_s.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    stages["total"] = sum(each.taken.cpu_s for each in pulls)
    return {stage: round(seconds / millions, 3) for stage, seconds in stages.items()}


def _again(engines: list[Engine], whole: Sample) -> float:
    """Return the CPU seconds per million rows that were read again and had not changed."""
    rows = whole.count(customers.TENANTS[0])
    return statistics.median(each.cpu_s for engine in engines for each in engine.again) / rows * 1e6


def _summary(engines: list[Engine], whole: Sample, limit_only: bool) -> dict[str, object]:
    if limit_only:
        return {f"limit_s_{e.name}": round(statistics.median(each.wall_s for each in e.limits), 3) for e in engines}
    return {
        **{f"full_ratio_{engine.name}": round(engine.ratio, 2) for engine in engines},
        "peak_mb": round(max(engine.peak_mb for engine in engines), 1),
        "growth_percent": round(max(engine.growth_percent for engine in engines), 1),
        "cpu_s_per_million": _cpu(engines),
        "again_cpu_s_per_million": round(_again(engines, whole), 2),
        **{f"increment_ms_{engine.name}": round(engine.increment_ms) for engine in engines},
        "increment_rows": engines[0].increments[-1][0],
    }


if __name__ == "__main__":
    main()
