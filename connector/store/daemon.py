"""The daemon's own lease: one daemon per store, renewed in the background for as long as it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from connector import clock
from connector.errors import LeaseLost, StoreError
from connector.store import leases
from connector.store.database import Database
from connector.store.leases import Claim
from connector.store.processes import Holder
from connector.store.tables import DAEMON_LANE, DAEMON_STREAM


@dataclass(frozen=True, slots=True)
class DaemonLease:
    """The right to be the daemon. `lost` is set when another took it over, as after a long suspension: stop then."""

    fence: int
    lost: threading.Event = field(default_factory=threading.Event)


@contextmanager
def hold(database: Database, holder: Holder, lease_s: float) -> Iterator[DaemonLease]:
    claim = _take(database, holder, lease_s)
    lease = DaemonLease(claim.fence)
    stop = threading.Event()
    renewal = threading.Thread(
        target=_keep, args=(database, claim, lease_s, lease, stop), name="daemon-lease", daemon=True
    )
    renewal.start()
    try:
        yield lease
    finally:
        stop.set()
        renewal.join()
        # A store that can't be written any more keeps nobody out for longer than the lease lasts.
        with suppress(StoreError), database.write() as conn:
            leases.release(conn, claim)


def _take(database: Database, holder: Holder, lease_s: float) -> Claim:
    with database.write() as conn:
        now = clock.now().timestamp()
        held = leases.active(conn, DAEMON_STREAM, DAEMON_LANE, now)
        if held is not None:
            raise StoreError(
                f"another daemon works on this store: {held}",
                remedy=f"Stop it first; if its process hangs, its lease ends {held.expires_at:%H:%M:%S} UTC",
            )
        fence = leases.last_fence(conn, DAEMON_STREAM, DAEMON_LANE) + 1
        claim = Claim(DAEMON_STREAM, DAEMON_LANE, fence, holder.token)
        leases.take(conn, claim, holder, now, lease_s)
    return claim


def _keep(database: Database, claim: Claim, lease_s: float, lease: DaemonLease, stop: threading.Event) -> None:
    while not clock.wait_s(stop, lease_s / 3):
        try:
            with database.write() as conn:
                leases.renew(conn, claim, clock.now().timestamp(), lease_s)
        except LeaseLost:
            lease.lost.set()
            return
        except StoreError:
            # A full disk or a locked file; the pulls report it, and the next renewal may succeed.
            continue
