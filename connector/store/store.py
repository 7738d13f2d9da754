"""The store's one door: what a run writes is one transaction per call, and every write proves that it owns its lane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Self

import polars as pl
from sqlalchemy import Connection

from connector import clock
from connector.config.resolved import StoreSettings
from connector.errors import LeaseLost, named
from connector.model import LIVE, Counters, OpenPull, RunState, StreamId, Watermark
from connector.store import changes, daemon, lateness, leases, ledger, overview, processes, quarantine, runs, tables
from connector.store import state as streams
from connector.store.changes import CompactReport, Segment
from connector.store.daemon import DaemonLease
from connector.store.database import Database
from connector.store.intake import Intake
from connector.store.lateness import Lateness
from connector.store.leases import LeaseInfo
from connector.store.overview import StreamOverview
from connector.store.quarantine import QuarantineEntry
from connector.store.runs import Run, RunRow
from connector.store.sqlite import SqliteDatabase
from connector.store.state import StreamRow, WatermarkMove

MIN_DEAD_SHARE = 0.2
"""Compaction leaves a segment alone in which fewer rows are superseded: rewriting costs more than it gains."""


class Store:
    """Keep what was read, what it came to, and how far each stream has come."""

    def __init__(self, database: Database, runs_kept: int) -> None:
        self._database = database
        self._runs_kept = runs_kept
        self._holder = processes.this_holder()

    @staticmethod
    def open(settings: StoreSettings) -> Store:
        """Open the store, and create it when its file is not there; raise StoreError when it can't be used."""
        return Store(SqliteDatabase(settings), settings.runs_kept)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Streams

    def stream(self, stream: StreamId, entity: str, renamed_from: str | None = None) -> StreamRow:
        """Return the stream's row, registering it when it is new.

        With `renamed_from` the row of the former name takes the new one: state, ledger and runs follow. Raise
        ConfigError when the stream fed another entity before.
        """
        with self._database.read() as conn:
            row = streams.settled(conn, stream, renamed_from)
        if row is None:
            with self._database.write() as conn:
                row = streams.register(conn, stream, entity, renamed_from, _now())
        streams.require_entity(row, entity)
        return row

    def find_stream(self, stream: StreamId) -> StreamRow | None:
        """Return the stream's row without registering it."""
        with self._database.read() as conn:
            return streams.find_stream(conn, stream)

    def watermark(self, row: StreamRow) -> Watermark | None:
        with self._database.read() as conn:
            return streams.watermark(conn, row.stream_id)

    def open_pull(self, row: StreamRow, lane: str) -> OpenPull | None:
        with self._database.read() as conn:
            return streams.open_pull(conn, row.stream_id, lane)

    # Runs

    def begin_run(self, row: StreamRow, lane: str, kind: str, lease_s: float) -> Run:
        """Own the lane for `lease_s` seconds from each write on; raise LeaseHeld when another run does.

        A lease may be taken over when it expired, or when its process ran on this host and is gone; the runs it left
        behind become `interrupted`.
        """
        with self._database.write() as conn:
            return runs.begin(conn, row, lane, kind, holder=self._holder, now=_now(), lease_s=lease_s)

    def renew(self, run: Run) -> None:
        """Keep the lane through a long wait for the source."""
        with self._owned(run):
            pass

    def next_read_order(self, run: Run) -> int:
        """Number a snapshot: call it before the snapshot opens, once for each."""
        with self._owned(run) as (conn, _):
            return streams.next_read_order(conn, run.row.stream_id)

    def commit_batch(self, run: Run, intake: Intake) -> Counters:
        """Take a batch: changes, ledger, quarantine, open pull, watermark and counters, all or nothing.

        Raise KeyViolation when another stream wrote one of the identities, LeaseLost when the lane was taken over,
        StoreError when the store can't take it; then nothing of the batch is committed.
        """
        self._database.require_space()
        batch = ledger.incoming(run.row, intake)
        bulk = self._database.bulk
        with self._owned(run) as (conn, now):
            verdict = ledger.judge(conn, bulk, run, batch)
            late_us = 0
            if verdict.changed.keys:
                segment_id = changes.append(conn, run, intake.records, verdict, now)
                ledger.record(conn, bulk, verdict, segment_id)
                changes.supersede(conn, verdict.superseded.items())
                if run.lane == LIVE:  # what a backfill finds is not late, it was never looked for
                    late_us = lateness.add(conn, run.row.stream_id, intake.records, verdict.changed.rows)
            quarantine.settle(conn, bulk, run, intake, now)
            streams.set_open_pull(conn, run.row.stream_id, run.lane, intake.open_pull, now)
            if intake.watermark is not None:
                self._move(conn, run, intake.watermark, "pull", now)
            counters = Counters(
                read=intake.read,
                created=verdict.creates,
                updated=len(verdict.updates),
                unchanged=verdict.unchanged,
                refused=intake.refused.height,
                ignored=verdict.ignored,
                batches=1,
                late_us=late_us,
            )
            runs.add_counters(conn, run.run_id, counters)
        return counters

    def finish_run(
        self,
        run: Run,
        state: RunState,
        counters: Counters,
        level: str,
        *,
        error: str = "",
        error_class: str = "",
        watermark: Watermark | None = None,
        clear_open_pull: bool = False,
        reason: str = "pull",
    ) -> None:
        """Write the outcome down, move the watermark if one is given, and give the lane up, in one transaction.

        After LeaseLost only the outcome can be written: raise LeaseLost when there is more to do.
        """
        now = _now()
        with self._database.write() as conn, named(str(run.row.id)):
            released = leases.release(conn, run.claim)
            if not released and (watermark is not None or clear_open_pull):
                raise LeaseLost(
                    f"lane {run.lane} was taken over by another run, so the watermark stays",
                    remedy="The other run goes on from it",
                )
            if clear_open_pull:
                streams.set_open_pull(conn, run.row.stream_id, run.lane, None, now)
            if watermark is not None:
                self._move(conn, run, watermark, reason, now)
            runs.end(conn, run, state, counters, level=level, error=error, error_class=error_class, now=now)
            runs.prune(conn, run.row.stream_id, self._runs_kept)

    def runs(self, row: StreamRow, limit: int) -> list[RunRow]:
        """Return the stream's runs, newest first."""
        with self._database.read() as conn:
            return runs.latest(conn, row.stream_id, limit)

    def active_lease(self, row: StreamRow, lane: str) -> LeaseInfo | None:
        """Return who owns the lane now."""
        with self._database.read() as conn:
            return leases.active(conn, row.stream_id, lane, _now())

    def hold_daemon(self, lease_s: float) -> AbstractContextManager[DaemonLease]:
        """Be the only daemon on this store within the context; raise StoreError when there is one."""
        return daemon.hold(self._database, self._holder, lease_s)

    def daemon(self) -> LeaseInfo | None:
        """Return who is the daemon now."""
        with self._database.read() as conn:
            return leases.active(conn, tables.DAEMON_STREAM, tables.DAEMON_LANE, _now())

    # Records

    def records(self, scope_id: int, keys: Sequence[str]) -> pl.DataFrame:
        """Return `_key` and fields of the newest record of each live key, in the order of `keys`."""
        with self._database.read() as conn:
            return changes.records(conn, self._database.bulk, scope_id, keys)

    def iter_records(self, row: StreamRow, limit: int | None = None) -> Iterator[pl.DataFrame]:
        """Yield the stream's live records, newest segment first, one segment in memory at a time."""
        return changes.live(self._database, row.scope_id, row.stream_id, limit)

    def changes(self, after_segment: int, limit_segments: int = 100) -> Iterator[Segment]:
        """Yield what was committed after a segment, in the order of commits; superseded rows may be gone."""
        return changes.after(self._database, after_segment, limit_segments)

    def compact(self, row: StreamRow | None = None, *, min_dead_share: float = MIN_DEAD_SHARE) -> CompactReport:
        """Drop superseded rows that every destination has passed, one short transaction per segment."""
        with self._database.read() as conn:
            chosen = changes.wasteful(conn, None if row is None else row.stream_id, min_dead_share)
        report = CompactReport(0, 0, 0)
        for segment_id in chosen:
            with self._database.write() as conn:
                report += changes.compact(conn, self._database.bulk, segment_id)
        return report

    def quarantine_entries(self, row: StreamRow, limit: int) -> list[QuarantineEntry]:
        """Return the stream's refused rows, the latest first."""
        with self._database.read() as conn:
            return quarantine.entries(conn, row.stream_id, limit)

    def quarantine_count(self, row: StreamRow) -> int:
        with self._database.read() as conn:
            return quarantine.counts(conn, row.stream_id).get(row.stream_id, 0)

    def lateness(self, row: StreamRow) -> Lateness | None:
        """Return how late the stream's new versions were, None when nothing is known of it."""
        with self._database.read() as conn:
            return lateness.of_stream(conn, row.stream_id)

    def overview(self) -> list[StreamOverview]:
        """Return what there is to know at a glance about every stream, in the order of their names."""
        with self._database.read() as conn:
            return overview.overview(conn, _now())

    @contextmanager
    def _owned(self, run: Run) -> Iterator[tuple[Connection, float]]:
        """Open a transaction that writes for a run, after proof that the run still owns its lane."""
        with self._database.write() as conn, named(str(run.row.id)):
            now = _now()
            leases.renew(conn, run.claim, now, run.lease_s)
            yield conn, now

    def _move(self, conn: Connection, run: Run, to: Watermark, reason: str, now: float) -> None:
        streams.move_watermark(conn, run.row, run.lane, to, WatermarkMove(run.run_id, now, reason, self._runs_kept))


def _now() -> float:
    return clock.now().timestamp()
