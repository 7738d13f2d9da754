"""Show what was measured: a table for each engine, and the same figures as one JSON object."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from tests.bench.measure import Taken
from tests.bench.peers.rounds import Engine, Measured

LIMIT = "limit"
WIDTH = 150
REASON_LENGTH = 200


def show(engines: Sequence[Engine]) -> None:
    console = Console(width=WIDTH)
    for engine in engines:
        title = f"{engine.name}: {engine.sample.rows:,} rows, median of {len(engine.limits)} rounds"
        table = Table(title=title)
        for heading in ("tool", "writes"):
            table.add_column(heading)
        for heading in ("seconds", "× limit", "peak MB", "CPU s", "s 1 %"):
            table.add_column(heading, justify="right")
        for heading in ("rows right?", "found by the checks"):
            table.add_column(heading)
        table.add_row(LIMIT, "nothing", *_figures(engine.limits, "1.00"), "-", "yes", "")
        for measured in engine.tools:
            table.add_row(*_row(engine, measured))
        console.print(table)


def _row(engine: Engine, measured: Measured) -> list[str]:
    ratio = f"{engine.ratio(measured):.2f}" if measured.fulls else "-"
    increment_s = _median(measured.increments, _wall_s)
    increment = "-" if increment_s is None else f"{increment_s:.2f}"
    failed = [f"failed: {measured.failed[:REASON_LENGTH]}"] if measured.failed else []
    wrong = ", ".join(f"{count:,} {what}" for what, count in measured.wrong.items())
    found = [
        f"{what} ({count:,})" if count < engine.sample.rows else what  # a count that says something
        for what, count in measured.found.items()
    ]
    rows = f"no: {wrong}" if wrong else "yes" if measured.fulls else "-"
    words = [measured.tool.name, measured.tool.writes, *_figures(measured.fulls, ratio), increment]
    return [*words, rows, "; ".join(failed + found)]


def _figures(fulls: Sequence[Taken], ratio: str) -> list[str]:
    wall_s, cpu_s = _median(fulls, _wall_s), _median(fulls, _cpu_s)
    if wall_s is None:
        return ["-", "-", "-", "-"]
    return [f"{wall_s:.2f}", ratio, f"{max(each.peak_mb for each in fulls):.0f}", f"{cpu_s:.2f}"]


def summary(engines: Sequence[Engine]) -> dict[str, object]:
    """Return the figures by what they are, engine and tool; a tool without a figure is not there."""
    fulls = {engine.name: _of(engine, lambda measured: _median(measured.fulls, _wall_s)) for engine in engines}
    increments = {engine.name: _of(engine, lambda m: _median(m.increments, _wall_s)) for engine in engines}
    return {
        "rows": engines[0].sample.rows,
        "rounds": len(engines[0].limits),
        "limit_s": {engine.name: round(statistics.median(map(_wall_s, engine.limits)), 3) for engine in engines},
        "full_s": fulls,
        "full_ratio": {
            engine.name: {m.tool.name: round(engine.ratio(m), 2) for m in engine.tools if m.fulls} for engine in engines
        },
        "full_cpu_s": {engine.name: _of(engine, lambda m: _median(m.fulls, _cpu_s)) for engine in engines},
        "peak_mb": {
            engine.name: _of(engine, lambda m: max((each.peak_mb for each in m.fulls), default=None))
            for engine in engines
        },
        "incremental_s": increments,
        "incremental_cpu_s": {engine.name: _of(engine, lambda m: _median(m.increments, _cpu_s)) for engine in engines},
        "fastest_peer_full_s": _fastest(engines, fulls),
        "fastest_peer_incremental_s": _fastest(engines, increments),
        "failed": {engine.name: {m.tool.name: m.failed for m in engine.tools if m.failed} for engine in engines},
        "wrong": {engine.name: {m.tool.name: m.wrong for m in engine.tools if m.wrong} for engine in engines},
        "found": {engine.name: {m.tool.name: m.found for m in engine.tools if m.found} for engine in engines},
    }


def _fastest(engines: Sequence[Engine], seconds: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the best of the peers that have every row; an engine where no peer has is not there."""
    best = {}
    for engine in engines:
        of_engine = seconds[engine.name]
        right = [m.tool.name for m in engine.peers if not m.wrong and not m.failed and m.tool.name in of_engine]
        if right:
            best[engine.name] = min(of_engine[name] for name in right)
    return best


def _of(engine: Engine, figure: Callable[[Measured], float | None]) -> dict[str, float]:
    figures = {measured.tool.name: figure(measured) for measured in engine.tools}
    return {name: round(value, 3) for name, value in figures.items() if value is not None}


def _median(runs: Sequence[Taken], figure: Callable[[Taken], float]) -> float | None:
    return statistics.median(map(figure, runs)) if runs else None


def _wall_s(run: Taken) -> float:
    return run.wall_s


def _cpu_s(run: Taken) -> float:
    return run.cpu_s
