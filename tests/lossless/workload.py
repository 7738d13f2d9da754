"""What the writers do: the three profiles, and the table that they write to.

Every write gives its row a new, unique `ver`, so the final table says what a puller must hold, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SHARED_ROWS: Final = 400
"""Rows that are there before the first pull, and that all writers update."""

HOT_ROWS: Final = 20
"""Those of them that are updated most, so that writers wait for one another."""

SLACK_S: Final = 15.0
"""What streams are told that a stamp may be older than its first write, where an engine can't tell."""

# Together these stay below the slack: a lock by FLUSH TABLES, a row's lock, a clock behind or an early stamp.
LOCK_WAIT_S: Final = 3
READ_LOCK_WAIT_S: Final = 2
READ_LOCK_HOLD_S: Final = (0.2, 1.0)
SKEW_S: Final = 3.0
EARLY_STAMP_S: Final = {"postgresql": 3600.0, "mysql": 5.0}  # only the first can find any stamp, however old

ROLLBACKS: Final = 0.15
UPDATES: Final = 0.4


@dataclass(frozen=True, slots=True)
class Profile:
    """Shares of the transactions, and of the written rows, that are of a harder kind than the base."""

    long_holds: float = 0.0
    savepoints: float = 0.0
    two_phase: float = 0.0
    early_ids: float = 0.0  # written with ids that were reserved before an earlier transaction
    skewed: float = 0.0
    early_stamps: float = 0.0
    read_locks: bool = False  # FLUSH TABLES WITH READ LOCK now and then


_NASTY = {"long_holds": 0.03, "savepoints": 0.15, "two_phase": 0.1, "early_ids": 0.3, "read_locks": True}

PROFILES: Final = {
    "base": Profile(),
    "nasty": Profile(**_NASTY),  # type: ignore[arg-type]  # mypy joins the values' types
    "skew": Profile(**_NASTY, skewed=0.15, early_stamps=0.03),  # type: ignore[arg-type]  # the same
}

ROLES: Final = {
    "postgresql": {"select": (), "extra": ("pg_read_all_stats",)},
    "mysql": {"select": (), "extra": ("PROCESS ON *.*",)},
}
"""The rights of a login beside SELECT on the table."""

_DDL: Final = {
    "postgresql": (
        "CREATE SEQUENCE ids;"
        "CREATE TABLE t (id bigint PRIMARY KEY DEFAULT nextval('ids'), ver bigint NOT NULL,"
        " updated_at timestamp(6) NOT NULL);"
        "CREATE INDEX wm ON t (updated_at, id);"
        "INSERT INTO t (ver, updated_at) SELECT -n, statement_timestamp() AT TIME ZONE 'UTC' - interval '1 hour'"
        " FROM generate_series(1, {rows}) n"
    ),
    "mysql": (
        "CREATE TABLE t (id bigint PRIMARY KEY AUTO_INCREMENT, ver bigint NOT NULL, updated_at datetime(6) NOT NULL,"
        " KEY wm (updated_at, id)) ENGINE=InnoDB;"
        "INSERT INTO t (ver, updated_at) SELECT -seq, UTC_TIMESTAMP(6) - INTERVAL 1 HOUR FROM seq_1_to_{rows}"
    ),
}


def ddl(engine: str) -> str:
    """Return the statements that create the table, with the shared rows as ids 1 to `SHARED_ROWS`."""
    return _DDL[engine].format(rows=SHARED_ROWS)
