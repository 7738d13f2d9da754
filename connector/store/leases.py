"""Expiring, fenced ownership of a lane. The fence is the number of the run: it is never given twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, select, update

from connector.errors import LeaseLost
from connector.store import codec, processes, tables
from connector.store.processes import Holder

_leases = tables.leases.c
_OF_CLAIM = (
    _leases.stream_id == bindparam("its_stream"),
    _leases.lane == bindparam("its_lane"),
    _leases.fence == bindparam("its_fence"),
    _leases.holder == bindparam("its_holder"),
)
# Those of every batch are built once: SQLAlchemy takes longer to build a small statement than to run it.
_RENEW = update(tables.leases).where(*_OF_CLAIM).values(expires_at=bindparam("until"))
_RELEASE = delete(tables.leases).where(*_OF_CLAIM)
_OTHER_LANES = select(
    exists().where(_leases.stream_id == bindparam("its_stream"), _leases.lane != bindparam("its_lane"))
)


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """Who owns a lane."""

    stream_id: int
    lane: str
    fence: int
    holder: str
    host: str
    pid: int
    acquired_at: datetime
    expires_at: datetime

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.acquired_at:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease as its owner knows it."""

    stream_id: int
    lane: str
    fence: int
    holder: str


def active(conn: Connection, stream_id: int, lane: str, now: float) -> LeaseInfo | None:
    """Return who owns the lane; None when nobody does, the lease expired, or its process is certainly gone."""
    row = conn.execute(select(tables.leases).where(_leases.stream_id == stream_id, _leases.lane == lane)).one_or_none()
    return None if row is None or not is_active(row, now) else lease_info(row)


def is_active(row: Row[tuple[object, ...]], now: float) -> bool:
    return bool(row.expires_at > now) and not processes.is_gone(row.host, row.pid, row.process_started)


def lease_info(row: Row[tuple[object, ...]]) -> LeaseInfo:
    """Read a row of the table."""
    return LeaseInfo(
        row.stream_id,
        row.lane,
        row.fence,
        row.holder,
        row.host,
        row.pid,
        codec.moment(row.acquired_at),
        codec.moment(row.expires_at),
    )


def take(conn: Connection, claim: Claim, holder: Holder, now: float, lease_s: float) -> None:
    """Own the lane from now on. The caller has asked `active` in the same transaction."""
    conn.execute(delete(tables.leases).where(_leases.stream_id == claim.stream_id, _leases.lane == claim.lane))
    conn.execute(
        insert(tables.leases).values(
            stream_id=claim.stream_id,
            lane=claim.lane,
            fence=claim.fence,
            holder=claim.holder,
            host=holder.host,
            pid=holder.pid,
            process_started=holder.started,
            acquired_at=now,
            expires_at=now + lease_s,
        )
    )


def renew(conn: Connection, claim: Claim, now: float, lease_s: float) -> None:
    """Prove ownership and prolong it; raise LeaseLost when another took the lane over, even if it expired since.

    A lease that expired and that nobody took is still its owner's.
    """
    done = conn.execute(_RENEW, {**_names(claim), "until": now + lease_s})
    if done.rowcount != 1:
        raise LeaseLost(
            f"lane {claim.lane} was taken over by another run; nothing of this transaction was committed",
            remedy="The other run goes on. If both ran for long, look for a process that was suspended",
        )


def release(conn: Connection, claim: Claim) -> bool:
    """Give the lane up; return False when it was another's already."""
    return conn.execute(_RELEASE, _names(claim)).rowcount == 1


def other_lanes(conn: Connection, claim: Claim) -> bool:
    """Tell whether another lane of the stream is owned, be its lease expired or not."""
    return bool(conn.execute(_OTHER_LANES, _names(claim)).scalar())


def last_fence(conn: Connection, stream_id: int, lane: str) -> int:
    """Return the fence of the lane's present lease, 0 without one."""
    fence = conn.execute(
        select(_leases.fence).where(_leases.stream_id == stream_id, _leases.lane == lane)
    ).scalar_one_or_none()
    return int(fence or 0)


def _names(claim: Claim) -> dict[str, object]:
    return {"its_stream": claim.stream_id, "its_lane": claim.lane, "its_fence": claim.fence, "its_holder": claim.holder}
