"""Nothing is lost, stale or twice while others write and the connector is killed: short runs of every kind."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.lossless import __main__ as lossless
from tests.lossless import outcome, workload
from tests.lossless.control import Control
from tests.lossless.outcome import Held, Outcome
from tests.lossless.trial import Place, Trial, place, run
from tests.servers import Server

SECONDS, WRITERS = 5.0, 16
LONG_HOLD_S = (2.0, 3.5)  # the last one has to run out before the final pulls
KILL_SHARE = 0.2
DAILY = ("primary", "select", "skew")  # the profile that holds all the others


def trials() -> Iterator[Any]:
    for trial in lossless.plan(SECONDS, WRITERS):
        kind = (trial.topology, trial.role, trial.profile)
        short = replace(trial, kill_share=KILL_SHARE, long_hold_s=LONG_HOLD_S)
        yield pytest.param(short, id="-".join((trial.engine, *kind)), marks=[] if kind == DAILY else pytest.mark.full)


@contextlib.contextmanager
def served(trial: Trial, request: pytest.FixtureRequest) -> Iterator[Place]:
    if trial.topology == "primary":
        server: Server = request.getfixturevalue("postgresql" if trial.engine == "postgresql" else "mariadb")
        yield Place(server, server)
        return
    with place(trial.engine, trial.topology) as found:
        yield found


@pytest.mark.parametrize("trial", list(trials()))
def test_nothing_is_lost_stale_or_twice(trial: Trial, request: pytest.FixtureRequest) -> None:
    with served(trial, request) as where:
        found = run(trial, where)
    assert not found.void, f"the control lost only {found.control_lost} rows: the run proves nothing"
    assert found.killed
    assert (found.lost, found.stale, found.twice) == (0, 0, 0), found.error


def test_a_missing_row_is_lost_another_version_stale_and_a_second_delivery_counted() -> None:
    found = Held(newest={1: 10, 2: 20}, deliveries={(1, 10): 2, (2, 20): 1}, read=12)
    figures = outcome.compared({1: 10, 2: 21, 3: 30}, found)
    assert figures == {"lost": 1, "stale": 1, "twice": 1, "amplification": 4.0}


def test_the_control_lost_what_it_saw_never_or_in_an_older_version_only() -> None:
    assert Control(None, seen={1: 10, 2: 20}).lost({1: 10, 2: 21, 3: 30}) == 2


NOTHING_LOST = Outcome(
    engine="postgresql",
    role="select",
    profile="base",
    topology="primary",
    written=1000,
    lost=0,
    stale=0,
    twice=0,
    amplification=1.5,
    idle_ms=20.0,
    control_lost=100,
    level="exact",
    pulls=10,
    killed=1,
    failed=0,
)


@pytest.mark.parametrize(
    "changes, code",
    [({}, 0), ({"lost": 1}, 1), ({"stale": 1}, 1), ({"twice": 1}, 1), ({"control_lost": 99}, 3)],
    ids=str,
)
def test_the_exit_code_tells_losses_and_void_runs(
    changes: dict[str, int], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lossless.report([NOTHING_LOST, replace(NOTHING_LOST, **changes)]) == code  # type: ignore[arg-type]  # figures
    printed = capsys.readouterr().out
    assert ("VOID" in printed) == (code == lossless.VOID)
    runs = json.loads(printed.splitlines()[-1])["runs"]
    wanted = "engine role profile written lost stale twice amplification idle_ms control_lost"
    assert all(each.keys() >= set(wanted.split()) for each in runs)


def test_every_profile_role_engine_and_topology_is_in_the_plan() -> None:
    found = {(t.engine, t.topology, t.role, t.profile) for t in lossless.plan(1, 1)}
    primary = {(e, "primary", r, p) for e, roles in workload.ROLES.items() for r in roles for p in workload.PROFILES}
    others = {("postgresql", t, "select", p) for t in ("standby", "wrap") for p in workload.PROFILES}
    assert found == primary | others
