"""One store of each kind, empty, per test; and its ledger with sheets for the smallest batch, and with rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from connector.store import sheets
from connector.store.state import StreamRow
from connector.store.store import Store
from tests.contract.stores import CUSTOMERS, STORES


@pytest.fixture(params=["rows", "sheets"])
def ledger_form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sheets, "FEWEST", {"rows": 1_000_000, "sheets": 1}[request.param])
    form: str = request.param
    return form


@pytest.fixture(params=sorted(STORES))
def open_store(request: pytest.FixtureRequest, tmp_path: Path, ledger_form: str) -> Callable[..., Store]:
    """Return a function that opens the test's store; each call is another program's view of the same store."""
    return partial(STORES[request.param], tmp_path)


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Iterator[Store]:
    with open_store() as store:
        yield store


@pytest.fixture
def row(store: Store) -> StreamRow:
    return store.stream(CUSTOMERS, "customer")
