"""The record of runs: one row each, from the moment it owns its lane."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, insert, select, update

from connector.errors import LeaseHeld
from connector.model import Counters, RunState
from connector.store import codec, leases, tables
from connector.store.leases import Claim
from connector.store.processes import Holder
from connector.store.state import StreamRow

_runs = tables.runs.c
_ITS = _runs.run_id == bindparam("its_run")
_COUNTERS = select(_runs.counters).where(_ITS)
_SET_COUNTERS = update(tables.runs).where(_ITS).values(counters=bindparam("total"))


@dataclass(frozen=True, slots=True)
class Run:
    """One execution that owns its lane; hand it back with every write."""

    run_id: int
    row: StreamRow
    lane: str
    kind: str
    holder: str
    lease_s: float

    @property
    def fence(self) -> int:
        return self.run_id

    @property
    def claim(self) -> Claim:
        return Claim(self.row.stream_id, self.lane, self.fence, self.holder)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is remembered."""

    run_id: int
    stream_id: int
    lane: str
    kind: str
    state: RunState
    started_at: datetime
    ended_at: datetime | None
    counters: Counters
    level: str
    error: str
    error_class: str
    holder: str


def begin(conn: Connection, row: StreamRow, lane: str, kind: str, *, holder: Holder, now: float, lease_s: float) -> Run:
    """Take the lane, close what dead holders left running there, and write the new run down."""
    held = leases.active(conn, row.stream_id, lane, now)
    if held is not None:
        raise LeaseHeld(
            f"lane {lane} is in use by {held}",
            remedy=f"Wait for that run to end; if its process hangs, its lease ends {held.expires_at:%H:%M:%S} UTC",
            where=str(row.id),
        )
    conn.execute(
        update(tables.runs)
        .where(_runs.stream_id == row.stream_id, _runs.lane == lane, _runs.state == RunState.RUNNING.value)
        .values(state=RunState.INTERRUPTED.value, ended_at=now, error="its process ended before the run did")
    )
    run_id = conn.execute(
        insert(tables.runs)
        .values(
            stream_id=row.stream_id,
            lane=lane,
            kind=kind,
            state=RunState.RUNNING.value,
            started_at=now,
            counters=codec.dump(Counters()),
            level="",
            error="",
            error_class="",
            holder=f"{holder.host}:{holder.pid}",
            fence=0,
        )
        .returning(_runs.run_id)
    ).scalar_one()
    run = Run(run_id, row, lane, kind, holder.token, lease_s)
    conn.execute(update(tables.runs).where(_runs.run_id == run.run_id).values(fence=run.fence))
    leases.take(conn, run.claim, holder, now, lease_s)
    return run


def add_counters(conn: Connection, run_id: int, counters: Counters) -> None:
    """Add a batch's counters to its run's, so that a run whose process dies still shows what it did."""
    so_far = conn.execute(_COUNTERS, {"its_run": run_id}).scalar_one()
    total = codec.dump(codec.load_counters(so_far) + counters)
    conn.execute(_SET_COUNTERS, {"its_run": run_id, "total": total})


def end(
    conn: Connection,
    run: Run,
    state: RunState,
    counters: Counters,
    *,
    level: str,
    error: str,
    error_class: str,
    now: float,
) -> None:
    """Write the outcome down."""
    outcome = {"state": state.value, "ended_at": now, "counters": codec.dump(counters), "level": level}
    where = _runs.run_id == run.run_id
    conn.execute(update(tables.runs).where(where).values(**outcome, error=error, error_class=error_class))


def prune(conn: Connection, stream_id: int, kept: int) -> None:
    """Forget the oldest runs of a stream, but never its last success."""
    oldest_kept = (
        select(_runs.run_id)
        .where(_runs.stream_id == stream_id)
        .order_by(_runs.run_id.desc())
        .offset(kept)
        .limit(1)
        .scalar_subquery()
    )
    last_success = select(func.max(_runs.run_id)).where(
        _runs.stream_id == stream_id, _runs.state == RunState.SUCCEEDED.value
    )
    conn.execute(
        delete(tables.runs).where(
            _runs.stream_id == stream_id,
            _runs.run_id <= oldest_kept,
            _runs.state != RunState.RUNNING.value,
            _runs.run_id != func.coalesce(last_success.scalar_subquery(), 0),
        )
    )


def latest(conn: Connection, stream_id: int, limit: int) -> list[RunRow]:
    """Return a stream's runs, newest first."""
    rows = select(tables.runs).where(_runs.stream_id == stream_id).order_by(_runs.run_id.desc()).limit(limit)
    return [_run_row(row) for row in conn.execute(rows)]


def last_of_each(conn: Connection, *conditions: ColumnElement[bool]) -> dict[int, RunRow]:
    """Return the newest run of every stream among those that fulfil the conditions."""
    newest = select(func.max(_runs.run_id)).where(*conditions).group_by(_runs.stream_id)
    return _by_stream(conn.execute(select(tables.runs).where(_runs.run_id.in_(newest))))


def last_success_of_each(conn: Connection) -> dict[int, RunRow]:
    return last_of_each(conn, _runs.state == RunState.SUCCEEDED.value)


def _by_stream(rows: Iterable[Row[tuple[object, ...]]]) -> dict[int, RunRow]:
    return {run.stream_id: run for run in map(_run_row, rows)}


def _run_row(row: Row[tuple[object, ...]]) -> RunRow:
    return RunRow(
        run_id=row.run_id,
        stream_id=row.stream_id,
        lane=row.lane,
        kind=row.kind,
        state=RunState(row.state),
        started_at=codec.moment(row.started_at),
        ended_at=None if row.ended_at is None else codec.moment(row.ended_at),
        counters=codec.load_counters(row.counters),
        level=row.level,
        error=row.error,
        error_class=row.error_class,
        holder=row.holder,
    )
