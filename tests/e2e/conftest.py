"""A shop that was pulled once, for tests that go on from there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, client, sqlite_shop


@pytest.fixture(scope="session")
def pulled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation whose two streams were pulled; copy it, never change it."""
    folder = tmp_path_factory.mktemp("pulled")
    source = sqlite_shop(folder / "shop.db")
    installation = Installation(folder).write(acme=client({**source, "database": "../shop.db"}))
    done = installation.run("pull")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def pulled(pulled_once: Path, tmp_path: Path) -> Installation:
    """Return a copy of the installation that was pulled once, with its shop."""
    shutil.copytree(pulled_once, tmp_path / "installation")
    return Installation(tmp_path / "installation")
