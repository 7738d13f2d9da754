"""What there is to know at a glance about every stream, in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from connector.model import OpenPull, Watermark
from connector.store import changes, codec, lateness, leases, quarantine, runs, tables
from connector.store.lateness import Lateness
from connector.store.leases import LeaseInfo
from connector.store.runs import RunRow
from connector.store.state import StreamRow, stream_row


@dataclass(frozen=True, slots=True)
class StreamOverview:
    """One stream: how far it has come, what it is doing, how its last run went.

    `open_pulls` and `leases` are by lane; only leases that hold are listed. `records` counts live records.
    `lateness` is None when nothing is known of it.
    """

    row: StreamRow
    watermark: Watermark | None
    open_pulls: Mapping[str, OpenPull]
    last_run: RunRow | None
    last_success: RunRow | None
    records: int
    quarantined: int
    leases: Mapping[str, LeaseInfo]
    lateness: Lateness | None


def overview(conn: Connection, now: float) -> list[StreamOverview]:
    open_pulls: dict[int, dict[str, OpenPull]] = {}
    for lane in conn.execute(select(tables.lanes)):
        open_pulls.setdefault(lane.stream_id, {})[lane.lane] = codec.load_open_pull(lane.open_pull)
    held: dict[int, dict[str, LeaseInfo]] = {}
    for lease in conn.execute(select(tables.leases)):
        if leases.is_active(lease, now):
            held.setdefault(lease.stream_id, {})[lease.lane] = leases.lease_info(lease)
    last, last_success = runs.last_of_each(conn), runs.last_success_of_each(conn)
    records, quarantined = changes.live_counts(conn), quarantine.counts(conn)
    late = lateness.of_each(conn)
    streams = tables.streams
    return [
        StreamOverview(
            row=stream_row(row),
            watermark=None if row.watermark is None else codec.load_watermark(row.watermark),
            open_pulls=open_pulls.get(row.stream_id, {}),
            last_run=last.get(row.stream_id),
            last_success=last_success.get(row.stream_id),
            records=records.get(row.stream_id, 0),
            quarantined=quarantined.get(row.stream_id, 0),
            leases=held.get(row.stream_id, {}),
            lateness=late.get(row.stream_id),
        )
        for row in conn.execute(select(streams).order_by(streams.c.client, streams.c.name))
    ]
