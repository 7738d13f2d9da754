"""Every store that must pass the contract suite, and small batches to feed it with."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import polars as pl

from connector.config.resolved import StoreSettings
from connector.model import Counters, Level, Marks, OpenPull, Position, RunState, StreamId, Watermark
from connector.store.intake import REFUSED_SCHEMA, Intake
from connector.store.runs import Run
from connector.store.state import StreamRow
from connector.store.store import Store


def sqlite_store(directory: Path, **settings: int) -> Store:
    return Store.open(StoreSettings(directory / "store.db", **{"min_free_bytes": 0, **settings}))


@cache
def empty_store() -> bytes:
    """Return the file of a new store: the migrations would take a fifth of the time of a test with a pull."""
    with tempfile.TemporaryDirectory() as folder:
        sqlite_store(Path(folder)).close()
        return (Path(folder) / "store.db").read_bytes()


STORES: Mapping[str, Callable[..., Store]] = {"sqlite": sqlite_store}

CUSTOMERS = StreamId("acme", "customers")


def watermark(time: str) -> Watermark:
    return Watermark(Level.EXACT, Marks(time=time), {"version": "15"})


def pull_at(key: str) -> OpenPull:
    return OpenPull(watermark("2024-01-01 00:00:00"), position=Position("2024-01-02 00:00:00", (key,)))


def records(names: Mapping[str, str | None]) -> pl.DataFrame:
    """Make records of key -> name; the fingerprint follows from the name, the row key from the key."""
    return pl.DataFrame(
        {
            "_key": list(names),
            "_fingerprint": [hashlib.blake2b(repr(name).encode(), digest_size=16).digest() for name in names.values()],
            "_row_key": [f"row {key}" for key in names],
            "name": list(names.values()),
        },
        schema={"_key": pl.String, "_fingerprint": pl.Binary, "_row_key": pl.String, "name": pl.String},
    )


def refused(*keys: str, rule: str = "not_an_email") -> pl.DataFrame:
    rows = [(f"row {key}", "email", rule, f'{{"id":"{key}"}}') for key in keys]
    return pl.DataFrame(rows, schema=REFUSED_SCHEMA, orient="row")


def begin(store: Store, row: StreamRow, lane: str = "live", lease_s: float = 60.0) -> Run:
    return store.begin_run(row, lane, "pull", lease_s)


def commit(store: Store, run: Run, names: Mapping[str, str | None], read_order: int | None = None) -> Counters:
    """Commit records in a snapshot of their own."""
    order = store.next_read_order(run) if read_order is None else read_order
    return store.commit_batch(run, Intake(records(names), read=len(names), read_order=order))


def finish(store: Store, run: Run) -> None:
    store.finish_run(run, RunState.SUCCEEDED, Counters(), "exact")


def names(store: Store, row: StreamRow, *keys: str) -> dict[str, str]:
    """Return key -> name of what the store answers for these keys."""
    found = store.records(row.scope_id, keys)
    return dict(found.select("_key", "name").iter_rows()) if found.height else {}


def all_names(store: Store, row: StreamRow) -> dict[str, str]:
    return {key: name for frame in store.iter_records(row) for key, name in frame.select("_key", "name").iter_rows()}
