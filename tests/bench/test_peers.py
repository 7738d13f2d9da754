"""The comparison with other tools tells what went wrong, and never a figure of what did not run."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from tests.bench import customers
from tests.bench.measure import ProgramFailed, taken
from tests.bench.peers import __main__ as peers
from tests.bench.peers import check
from tests.bench.peers.change import Change
from tests.bench.peers.environment import Environment, installed
from tests.bench.peers.ours import Connector
from tests.bench.peers.tool import Command, Place

ROWS = 1000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    path = tmp_path_factory.mktemp("peers") / "customers.tsv"
    return check.truth(customers.write(path, ROWS).path, ())


def test_rows_as_they_are_in_the_source_are_right(source: pl.DataFrame) -> None:
    assert check.compared(source.reverse(), source, 0) == check.Verdict({}, {})
    as_text = source.with_columns(pl.all().cast(pl.String))
    assert check.compared(as_text, source, 0) == check.Verdict({}, {})


@pytest.mark.parametrize(
    "spoil, wrong",
    [
        (lambda rows: rows[1:], {"missing": 1}),
        (lambda rows: pl.concat([rows, rows[:3]]), {"twice": 3}),
        (lambda rows: rows.with_columns(customer_id=pl.col("customer_id") + 1), {"missing": 1, "invented": 1}),
        (lambda rows: rows.with_columns(balance=pl.lit(None, pl.Decimal(12, 2))), {"stale": ROWS}),
    ],
)
def test_wrong_rows_are_counted(
    source: pl.DataFrame, spoil: Callable[[pl.DataFrame], pl.DataFrame], wrong: dict[str, int]
) -> None:
    found = check.compared(spoil(source), source, 0).wrong
    assert {what: found[what] for what in wrong} == wrong


@pytest.mark.parametrize(
    "spoil, found",
    [
        (pl.col("m_name").fill_null(""), "m_name NULL became ''"),
        (pl.lit(None, pl.String).alias("city"), "city became NULL"),
        (pl.col("city").str.to_uppercase(), "city differs"),
        (pl.col("updated_at").dt.truncate("1ms"), "updated_at cut to milliseconds"),
        (pl.col("updated_at").dt.truncate("1s"), "updated_at cut to seconds"),
        (pl.col("reg_date").dt.replace_time_zone("UTC"), "reg_date marked as UTC"),
        (pl.col("reg_date").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"), "reg_date marked as UTC"),
        (pl.col("reg_date").dt.strftime("%Y-%m-%d %H:%M:%S +00"), "reg_date marked as UTC"),
        (pl.col("b_date").cast(pl.Datetime("us")), "b_date as a time"),
        (pl.col("b_date").dt.strftime("%Y-%m-%d 00:00:00"), "b_date as a time"),
        (pl.col("balance").cast(pl.Float64), "balance as floating point"),
    ],
    ids=str,
)
def test_what_became_of_the_values_is_found(source: pl.DataFrame, spoil: pl.Expr, found: str) -> None:
    verdict = check.compared(source.with_columns(spoil), source, 0)
    assert (verdict.wrong, list(verdict.found)) == ({}, [found])


def test_what_a_tool_normalises_on_purpose_is_told_as_that(source: pl.DataFrame) -> None:
    rows = source.with_columns(pl.col("gender").replace({"U": None}), pl.col("city").str.to_uppercase())
    unknown = source["gender"].eq("U").sum()
    assert check.compared(rows, source, 0, ["gender"]).found == {"gender normalised": unknown, "city differs": ROWS}


def test_of_appended_rows_the_newest_count(source: pl.DataFrame) -> None:
    changed = Change(7, dt.datetime(2025, 6, 1)).applied(source)  # noqa: DTZ001 - the column is naive
    newer = changed.filter(pl.col("customer_id") % 100 == 7)
    assert newer.height == ROWS // 100
    assert check.compared(pl.concat([newer, source]), changed, newer.height) == check.Verdict({}, {})
    again = check.compared(pl.concat([source, newer, newer[:4]]), changed, newer.height)
    assert again == check.Verdict({}, {"rows sent again": 4})
    assert check.compared(source, changed, 0).wrong == {"stale": newer.height}


def test_a_program_that_fails_or_hangs_says_so_in_one_line() -> None:
    with pytest.raises(ProgramFailed) as failed:
        taken(["sh", "-c", "echo '\033[31mbroken\033[0m' >&2; exit 3"], environment={}, timeout_s=30)
    assert failed.value.reason == "ended with 3: broken"
    with pytest.raises(ProgramFailed) as named:
        taken(["sh", "-c", "echo 'ValueError: no'; echo 'A note'; exit 1"], environment={}, keep_output=True)
    assert named.value.reason == "ended with 1: ValueError: no"
    with pytest.raises(ProgramFailed) as killed:  # with what it started: its shell would wait for the other
        taken(["sh", "-c", "sleep 60; echo done"], environment={}, timeout_s=0.2)
    assert killed.value.reason == "was killed after 0 s"


def test_the_measuring_process_stays_small() -> None:
    script = "import sys, tests.bench.peers.__main__; print(*{'connector', 'numpy', 'polars'} & sys.modules.keys())"
    assert taken([sys.executable, "-c", script], environment={}, keep_output=True).output.split() == []


@dataclass(frozen=True, slots=True)
class Broken(Connector):
    """A peer that ends with an error."""

    name: str = "broken"

    def command(self, place: Place, number: int) -> Command:
        return Command(["sh", "-c", "echo 'it broke' >&2; exit 3"])


@dataclass(frozen=True, slots=True)
class Forgetful(Connector):
    """A peer that does nothing any more after its first pull."""

    name: str = "forgetful"

    def command(self, place: Place, number: int) -> Command:
        return Command(["true"]) if number else Connector.command(self, place, number)


@pytest.mark.bench
def test_peers_are_measured_checked_or_said_to_have_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(peers.PEERS, "broken", Broken())
    monkeypatch.setitem(peers.PEERS, "forgetful", Forgetful())
    chosen = [f"--peer={name}" for name in ("singer", "broken", "forgetful")]
    peers.main(["--rows", str(ROWS), "--rounds", "1", *chosen])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for engine in ("postgresql", "mariadb"):
        full_s, failed = figures["full_s"][engine], figures["failed"][engine]
        assert failed["broken"] == "ended with 3: it broke"
        assert {"connector", "forgetful"} <= figures["incremental_s"][engine].keys()
        assert figures["wrong"][engine] == {"forgetful": {"stale": ROWS // 100}}
        # Where PyPI can't be reached, the tap has failed; it is never left out.
        assert ("singer" in full_s) != ("singer" in failed)
        if "singer" in full_s:
            assert "b_date as a time" in figures["found"][engine]["singer"]
            assert figures["fastest_peer_incremental_s"][engine] == figures["incremental_s"][engine]["singer"]


@pytest.mark.bench
def test_an_environment_that_could_not_be_installed_is_not_taken_for_one(tmp_path: Path) -> None:
    missing = Environment("missing", (str(tmp_path / "no-such-package"),))
    for _ in range(2):
        with pytest.raises(ProgramFailed, match="ended with 1"):
            installed(missing, tmp_path)
