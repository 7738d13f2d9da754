"""SIGKILL anywhere in an upgrade leaves the store as it was or upgraded, and the next upgrade finishes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.store.tables import HEAD
from tests.fault.test_kill import (  # noqa: F401 - `runner` is a fixture
    KILLED,
    ROWS,
    Runner,
    every,
    fresh,
    in_file,
    install,
    runner,
    strides,
)
from tests.old_stores import FIRST, contents, make_old


@pytest.mark.parametrize("stride, offset", strides(5, 1))
def test_an_upgrade_killed_before_any_statement_is_finished_by_the_next(
    stride: int,
    offset: int,
    tmp_path: Path,
    runner: Runner,  # noqa: F811 - the fixture
) -> None:
    people = in_file(tmp_path / "people.db")
    people.build("TIMESTAMP", ROWS)
    installation = install(tmp_path / "template", {"engine": "sqlite", "database": str(tmp_path / "people.db")})
    assert installation.run("pull").code == 0
    template = installation.folder
    present = (template / "connector.db").rename(tmp_path / "present.db")
    make_old(template / "connector.db", present)
    before = contents(template / "connector.db")
    upgrading = runner.of("upgrade")

    whole = fresh(template, tmp_path / "at")
    control = upgrading.run(whole)
    assert control.code == 0, (whole / "err.txt").read_text()
    after = contents(whole / "connector.db")
    assert (before["alembic_version"], after["alembic_version"]) == ([(FIRST,)], [(HEAD,)])
    assert control.statements > 40, "the hook counts nothing, so nothing was tried"

    found = []
    for kill_at in every(stride, offset)(control.statements):
        folder = fresh(template, tmp_path / "at")
        place = f"killed at statement {kill_at} of {control.statements}"
        assert upgrading.run(folder, kill_at=kill_at).code == KILLED, f"not {place}"
        store = folder / "connector.db"
        left = contents(store)
        assert left in (before, after), place
        found.append(left == after)
        if left == after:
            assert contents(folder / f"connector.db.before-{HEAD}") == before, place
        finished = upgrading.run(folder)
        assert finished.code == 0, f"{place}: {(folder / 'err.txt').read_text()}"
        assert contents(store) == after, place
        backups = [file for file in folder.glob("connector.db.before-*") if file.suffix != ".partial"]
        assert backups, place
        assert all(contents(backup) == before for backup in backups), place
        assert not list(folder.glob("*.partial*")), place
    assert found == sorted(found)
    assert found[0] is False
    last = runner.run(folder)
    assert last.code == 0, (folder / "err.txt").read_text()
