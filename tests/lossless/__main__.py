"""Hold the connector to its promise: `make lossless`, or `SECONDS=20 WRITERS=16 make lossless`.

Each run has writers that commit late, roll back, prepare, lock and stamp wrongly, the real connector as a process that
is killed in some of its pulls, and a naive control beside it. Wanted are 0 lost, 0 stale and 0 twice in the change log.
A run is void unless the control loses enough. The last line is one JSON object.

role: `select` has SELECT on the table, `extra` pg_read_all_stats (PostgreSQL) or PROCESS (MariaDB) as well.
topology: the connector reads the `primary`, a hot `standby`, or a primary whose 32-bit xids `wrap` meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace

from rich.console import Console
from rich.table import Table

from tests.lossless.outcome import Outcome
from tests.lossless.trial import TOPOLOGIES, Place, Trial, place, run
from tests.lossless.workload import PROFILES
from tests.lossless.writers import MOST_WRITERS

ENGINES = {"postgresql": "postgresql", "mariadb": "mysql"}
NOT_PRINTED = ("error", "must_lose")
SHORTER = {"amplification": "ampl.", "control_lost": "control lost"}
LOST, VOID = 1, 3
"""Exit codes: something was lost, stale or delivered twice; a run proves nothing."""


def plan(seconds: float, writers: int) -> Iterator[Trial]:
    """Yield every run, those in one place beside each other."""
    whole = Trial("postgresql", seconds=seconds, writers=writers)
    for engine in ENGINES.values():
        for role in ("select", "extra"):
            for profile in PROFILES:
                yield replace(whole, engine=engine, role=role, profile=profile)
    for topology in ("standby", "wrap"):
        for profile in PROFILES:
            yield replace(whole, topology=topology, profile=profile)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tests.lossless", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS") or 60))
    parser.add_argument("--writers", type=int, default=int(os.environ.get("WRITERS") or 8))
    parser.add_argument("--seed", type=int, default=1)
    for name, choices in (
        ("engine", tuple(ENGINES)),
        ("role", ("select", "extra")),
        ("profile", tuple(PROFILES)),
        ("topology", TOPOLOGIES),
    ):
        parser.add_argument(f"--{name}", choices=choices, action="append", help="may be repeated; default: all")
    options = parser.parse_args(arguments)
    if not 1 <= options.writers <= MOST_WRITERS or options.seconds <= 0:
        parser.error(f"needs some seconds, and 1 to {MOST_WRITERS} writers")
    engines = [ENGINES[name] for name in options.engine or ENGINES]
    chosen = [
        replace(trial, seed=options.seed)
        for trial in plan(options.seconds, options.writers)
        if trial.engine in engines
        and trial.role in (options.role or [trial.role])
        and trial.profile in (options.profile or [trial.profile])
        and trial.topology in (options.topology or [trial.topology])
    ]
    if not chosen:
        parser.error("nothing of the plan is left: standby and wrap are PostgreSQL's, with the role select")
    return report(list(outcomes(chosen)))


def outcomes(trials: Sequence[Trial]) -> Iterator[Outcome]:
    """Run one after another. A place is kept as long as it serves; a wrap happens once in a cluster's life."""
    progress = Console(stderr=True)
    with ExitStack() as stack:
        current: tuple[tuple[str, str], Place] | None = None
        for number, trial in enumerate(trials, 1):
            of = (trial.engine, trial.topology)
            if current is None or current[0] != of or trial.topology == "wrap":
                stack.close()
                current = (of, stack.enter_context(place(*of)))
            progress.print(f"{number}/{len(trials)}: {trial.engine} {trial.topology} {trial.role} {trial.profile}")
            yield run(trial, current[1])


def report(found: Sequence[Outcome]) -> int:
    """Print the table, what is wrong, and the JSON; return the exit code."""
    table = Table(title="every row is there, in its last version, once")
    names = [name for name in asdict(found[0]) if name not in NOT_PRINTED]
    for name in names:
        figures = not isinstance(getattr(found[0], name), str)
        table.add_column(SHORTER.get(name, name).replace("_", " "), justify="right" if figures else "left")
    for each in found:
        table.add_row(*(str(getattr(each, name)) for name in names))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if any(each.topology == "wrap" for each in found):
        print("wrap: each of these runs crossed transaction id 2^32 while it wrote, else it would have failed")
    for each in found:
        name = f"{each.engine} {each.topology} {each.role} {each.profile}"
        if each.error:
            print(f"{name}: {each.failed} pulls failed, the last one: {each.error}")
        if each.lost or each.stale or each.twice:
            print(f"{name}: {each.lost} lost, {each.stale} stale, {each.twice} twice; wanted are none")
        if each.void:
            print(f"{name}: VOID, the control lost only {each.control_lost} rows, and {each.must_lose} are needed")
    runs = [{name: getattr(each, name) for name in names} for each in found]
    print(json.dumps({"runs": runs}))
    if any(each.void for each in found):
        return VOID
    return 0 if all(each.good for each in found) else LOST


if __name__ == "__main__":
    sys.exit(main())
