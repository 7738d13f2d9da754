"""The order of what is measured: in every round the limit, the connector and each peer, one after another.

First come the rounds of full pulls, each into new folders. Then come the rounds of increments: one per cent of the
rows changes, and every tool goes on in its newest folder. What fails is told why, and left out from there on.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench import limit
from tests.bench.customers import Sample
from tests.bench.measure import ProgramFailed, Taken, taken
from tests.bench.peers.change import SHARE, Change, now
from tests.bench.peers.check import Verdict, judged
from tests.bench.peers.environment import installed
from tests.bench.peers.tool import CHANGED, TABLE, Place, Tool
from tests.servers import Database

FEW = "few"  # the small table of the first, unmeasured pull, which brings programs and packages into memory
TIMEOUT_S = 1800.0


@dataclass(slots=True)
class Measured:
    """What one tool took on one engine, round by round, and what the checks said."""

    tool: Tool
    fulls: list[Taken] = field(default_factory=list)
    increments: list[Taken] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    failed: str = ""
    place: Place | None = None

    def judge(self, verdict: Verdict) -> None:
        """Keep the worst that any round's check said."""
        self.wrong |= {what: max(count, self.wrong.get(what, 0)) for what, count in verdict.wrong.items()}
        self.found |= {what: max(count, self.found.get(what, 0)) for what, count in verdict.found.items()}


@dataclass(slots=True)
class Engine:
    """One engine's loaded database, and what was measured on it."""

    name: str
    database: Database
    sample: Sample
    pages: Path
    folder: Path
    connector: Measured
    peers: list[Measured]
    limits: list[Taken] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def tools(self) -> list[Measured]:
        return [self.connector, *self.peers]

    def ratio(self, measured: Measured) -> float:
        """Return how many times the limit a full pull took, round against round."""
        # A tool that failed has fewer rounds than the limit: its first ones.
        pairs = zip(measured.fulls, self.limits, strict=False)
        return statistics.median(full.wall_s / lim.wall_s for full, lim in pairs)


def warm_up(engine: Engine) -> None:
    """Install what each tool needs, and let it pull the small table."""
    for measured in engine.tools:
        with _told(measured):
            needed = measured.tool.environment(engine.database.server.engine)
            environment = engine.folder if needed is None else installed(needed)
            folder = engine.folder / f"{engine.name}-{measured.tool.name}-few"
            measured.place = Place(engine.database, FEW, folder, environment)
            measured.tool.prepare(measured.place)
            _run(measured.tool, measured.place, 0)


def full_round(engine: Engine, number: int) -> None:
    """Measure a first pull of everything with each tool."""
    engine.limits.append(limit.read(engine.database, engine.pages))
    for measured in _in_turn(engine):
        with _told(measured):
            assert measured.place is not None
            shutil.rmtree(measured.place.folder)  # the round before
            folder = engine.folder / f"{engine.name}-{measured.tool.name}-{number}"
            measured.place = replace(measured.place, table=TABLE, folder=folder)
            measured.tool.prepare(measured.place)
            took = _run(measured.tool, measured.place, 0)
            measured.judge(_checked(engine, measured.tool, measured.place))
            measured.fulls.append(took)


def increment_round(engine: Engine, number: int) -> None:
    """Change one per cent of the rows and measure how each tool takes it in."""
    change = Change(number % SHARE, now())
    changed = change.apply(engine.database, TABLE)
    if changed != len(range(number % SHARE or SHARE, engine.sample.rows + 1, SHARE)):
        raise RuntimeError(f"{engine.name}: {changed} rows were changed")
    engine.changes.append(change)
    for measured in _in_turn(engine):
        with _told(measured):
            assert measured.place is not None
            took = _run(measured.tool, measured.place, number + 1)
            measured.judge(_checked(engine, measured.tool, measured.place))
            measured.increments.append(took)


def _in_turn(engine: Engine) -> Iterator[Measured]:
    """Yield the tools that have not failed: the connector, then the peers with the index that they need."""
    yield from _left([engine.connector])
    # The peers don't filter by tenant, so the connector's index is no use to them; and theirs would change the plan
    # of the connector's statements, and of the limit's.
    engine.database.execute(f"CREATE INDEX {TABLE}_by_stamp ON {TABLE} ({CHANGED})")
    try:
        yield from _left(engine.peers)
    finally:
        on = "" if engine.database.server.engine == "postgresql" else f" ON {TABLE}"
        engine.database.execute(f"DROP INDEX {TABLE}_by_stamp{on}")


def _left(tools: Iterable[Measured]) -> Iterator[Measured]:
    return (measured for measured in tools if not measured.failed)


def _run(tool: Tool, place: Place, number: int) -> Taken:
    command = tool.command(place, number)
    os.sync()  # what the tool before has written must not be this one's burden
    return taken(
        command.words,
        environment={"HOME": str(place.folder), **command.environment},
        keep_output=command.output is None,
        output=command.output,
        timeout_s=TIMEOUT_S,
    )


def _checked(engine: Engine, tool: Tool, place: Place) -> Verdict:
    """Check in a process of its own: what this one ever held counts as memory of every program that it starts."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        checking = pool.submit(judged, tool, place.folder, place.environment, engine.sample.path, tuple(engine.changes))
        return checking.result()


@contextmanager
def _told(measured: Measured) -> Iterator[None]:
    try:
        yield
    except ProgramFailed as error:
        measured.failed = error.reason
    except Exception as error:  # noqa: BLE001 - whatever stops a tool stands in the table, and the others go on
        measured.failed = next(iter(str(error).strip().splitlines()), type(error).__name__)
