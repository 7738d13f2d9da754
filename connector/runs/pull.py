"""The loop: read a batch, ingest it, go on; and at the end store the marks of the first snapshot.

    begin run (lease) → session → layout → open pull (stored one, or first snapshot) → batch → core.ingest → … → finish

Each batch commits with its position, so whatever ends the process costs at most one batch of reading. The watermark
moves only with the last batch, to the marks that the *first* snapshot of this pull gave: what changed behind the
position meanwhile lies above them and belongs to the next pull.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_exponential,
)

from connector import clock
from connector.core.ingest import Feed, Progress, ingest
from connector.errors import ConnectorError, SourceTimeout, SourceUnavailable
from connector.model import (
    LIVE,
    Batch,
    Counters,
    Level,
    OpenPull,
    Policies,
    RunResult,
    RunState,
    Watermark,
)
from connector.observe import log
from connector.runs import lanes
from connector.runs.ahead import Ahead
from connector.runs.job import Job, Tick
from connector.runs.lanes import Range
from connector.runs.timing import Stages, TimedStore
from connector.source import horizon
from connector.source.layout import Layout
from connector.source.reader import Reader
from connector.source.session import Session
from connector.store.runs import Run

YIELD_S = 0.1
RETRY_FIRST_S, RETRY_LAST_S = 0.5, 30.0


class Stopped(Exception):
    """The run was asked to stop; what it committed stays, and the next one goes on there."""


@dataclass(slots=True)
class Tally:
    """What a run has come to so far, over all of its attempts."""

    counters: Counters = field(default_factory=Counters)
    level: Level = Level.WINDOW
    warnings: list[str] = field(default_factory=list)
    stages: Stages = field(default_factory=Stages)
    orders: dict[int, int] = field(default_factory=dict)  # of reading, by the number of the snapshot
    moved: bool = False  # the last batch has moved the watermark already


def run_lane(job: Job, lane: str) -> RunResult:
    """Run one lane of one stream to its end; whatever goes wrong on the way is in the result, and nothing is raised."""
    started_s = clock.monotonic_s()
    tally = Tally()
    try:
        row = job.store.stream(job.stream.id, job.entity.name, job.stream.renamed_from)
        run = job.store.begin_run(row, lane, "pull" if lane == LIVE else "backfill", job.lease_s)
    except Exception as error:  # noqa: BLE001 - see _failed
        return _failed(job, _result(job, lane, 0, tally, started_s), error)
    result = _result(job, lane, run.run_id, tally, started_s)
    try:
        watermark = _attempts(job, run, tally)
    except Stopped:
        return _finish(job, run, tally, replace(result, state=RunState.STOPPED), started_s)
    except BaseException as error:  # polars' panics are no Exception; a run must end whatever ends it
        failed = _finish(job, run, tally, _failed(job, result, error), started_s, error_class=type(error).__name__)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return failed
    return _finish(job, run, tally, replace(result, state=RunState.SUCCEEDED), started_s, watermark=watermark)


def _failed(job: Job, result: RunResult, error: BaseException) -> RunResult:
    """Say what went wrong; a mistake of ours stops its own stream only, and is named by its place.

    The text of an exception that we did not write may hold values of rows.
    """
    if isinstance(error, ConnectorError):
        return result.failed(str(error.at(str(job.stream.id))), error.exit_code)
    return result.failed(f"{job.stream.id}: internal error: {log.place(error)}", 1)


def _attempts(job: Job, run: Run, tally: Tally) -> Watermark | None:
    """Try until the pull is done; a source that can't be reached is tried again, from the position that was committed.

    A statement that took too long is not: the client's database has had enough of it for this run.
    """
    attempts = Retrying(
        stop=stop_after_attempt(job.stream.retries + 1),
        wait=wait_exponential(RETRY_FIRST_S, RETRY_LAST_S),
        retry=retry_if_exception_type(SourceUnavailable) & retry_if_not_exception_type(SourceTimeout),
        sleep=lambda seconds: _pause(job, seconds),
        reraise=True,
    )
    return attempts(_attempt, job, run, tally)


def _pause(job: Job, seconds: float) -> None:
    if clock.wait_s(job.stop, seconds):
        raise Stopped


def _attempt(job: Job, run: Run, tally: Tally) -> Watermark | None:
    range_ = Range.of(run.lane)
    while True:
        _give_way(job, run, range_)
        with job.open_session() as session:
            reader, open_pull, done = _open(job, run, session, range_, tally)
            tally.level = open_pull.opened.level
            lanes.refuse_nulls(job.stream, reader)
            ended = open_pull if done else _drain(job, run, reader, open_pull, tally)
        if ended is not None:
            return None if range_ is not None else _to_store(ended.opened, reader, tally)


def _to_store(opened: Watermark, reader: Reader, tally: Tally) -> Watermark | None:
    """Return the watermark that is left to store: none when the last batch took it along as it is."""
    settled, warnings = lanes.settle(opened, reader, tally.counters.late_us)
    tally.warnings += warnings
    return None if tally.moved and settled == opened else settled


def _open(job: Job, run: Run, session: Session, range_: Range | None, tally: Tally) -> tuple[Reader, OpenPull, bool]:
    """Return the reader, where it begins, and whether there is nothing to read."""

    def order_now(snapshot: int) -> None:
        tally.orders[snapshot] = job.store.next_read_order(run)

    tally.orders.clear()
    with tally.stages.timed("read"):
        layout = session.layout(job.stream, frozenset(job.entity.by_name))
        before = order_now if range_ is not None else lambda _: None
        reader = Reader(session, job.stream, layout, session.survey(layout, job.stream), before)
        unfinished = job.store.open_pull(run.row, run.lane)
        stored = lanes.resume(unfinished, reader)
        watermark = None if range_ is not None else job.store.watermark(run.row)
        reader.measure_from(lanes.measure(watermark, reader))
        if stored is not None and unfinished is not None:
            tally.warnings += lanes.level_changed(unfinished.opened, stored.opened)
            return reader, stored, False
        if range_ is not None:
            return reader, lanes.begin_backfill(reader, range_), False
        beginning = lanes.begin_live(reader, job.stream, watermark, given_up=unfinished.opened if unfinished else None)
        tally.warnings += beginning.warnings
        return reader, beginning.open_pull, beginning.done


def _drain(job: Job, run: Run, reader: Reader, open_pull: OpenPull, tally: Tally) -> OpenPull | None:
    """Read to the end and return how it ended; None when a backfill has to leave its connection to a live run first."""
    range_ = Range.of(run.lane)
    feed = _feed(job, reader.layout)
    store = TimedStore(job.store, tally.stages)
    expected = reader.estimate(open_pull) if range_ is not None else None
    if _in_the_way(job, run, range_):
        return None
    at = open_pull
    batches = reader.batches(open_pull, nulls=lanes.reads_nulls(job.stream, reader.layout, range_))
    with Ahead(batches, reader.abort, tally.stages) as ahead:
        for batch in ahead:
            at = lanes.advanced(at, batch)
            if batch.capped:
                at = replace(at, opened=horizon.without_versions(at.opened))
            if batch.rows.height:
                if batch.snapshot not in tally.orders:
                    tally.orders[batch.snapshot] = job.store.next_read_order(run)
                progress = _progress(at, batch, range_, tally)
                with tally.stages.timed("core"):
                    tally.counters += ingest(store, run, feed, batch, progress, clock.now())
                tally.moved = progress.watermark is not None
            job.watch(Tick(tally.counters, at.rows, expected))
            if batch.last:
                tally.warnings += reader.warnings
            elif job.stop.is_set():
                raise Stopped
            elif _in_the_way(job, run, range_):
                return None
    return at


def _progress(at: OpenPull, batch: Batch, range_: Range | None, tally: Tally) -> Progress:
    """Return what is committed beside the batch: with the last one the open pull ends and the watermark moves."""
    moved = at.opened if batch.last and range_ is None else None
    return Progress(
        read_order=tally.orders[batch.snapshot],
        open_pull=None if batch.last else at,
        watermark=moved,
        so_far=tally.counters,
    )


def _in_the_way(job: Job, run: Run, range_: Range | None) -> bool:
    return range_ is not None and job.store.active_lease(run.row, LIVE) is not None


def _give_way(job: Job, run: Run, range_: Range | None) -> None:
    """Hold a backfill, without a connection, while a live run of the same stream is active."""
    while _in_the_way(job, run, range_):
        job.store.renew(run)
        _pause(job, YIELD_S)


def _feed(job: Job, layout: Layout) -> Feed:
    policies = {name: job.stream.policies(name) for name in layout.fields}
    return Feed(
        stream=job.stream.id,
        entity=job.entity,
        time_zone=job.stream.time_zone,
        region=job.stream.region,
        key=tuple(column.name for column in layout.key),
        max_rejected=job.stream.max_rejected,
        policies={name: asked for name, asked in policies.items() if asked != Policies()},
    )


def _result(job: Job, lane: str, run_id: int, tally: Tally, started_s: float) -> RunResult:
    duration_s = clock.monotonic_s() - started_s
    return RunResult(str(job.stream.id), lane, run_id, RunState.RUNNING, tally.counters, tally.level, duration_s)


def _finish(
    job: Job,
    run: Run,
    tally: Tally,
    result: RunResult,
    started_s: float,
    *,
    error_class: str = "",
    watermark: Watermark | None = None,
) -> RunResult:
    """Store how the run ended; when even that fails, the run's own outcome is still what is returned."""
    result = replace(result, counters=tally.counters, level=tally.level, warnings=tuple(dict.fromkeys(tally.warnings)))
    try:
        with tally.stages.timed("store"):
            job.store.finish_run(
                run,
                result.state,
                tally.counters,
                tally.level,
                error=result.error,
                error_class=error_class,
                watermark=watermark,
                clear_open_pull=result.state is RunState.SUCCEEDED,
            )
    except Exception as error:  # noqa: BLE001 - see _failed
        result = result if result.error else _failed(job, result, error)
    return replace(result, duration_s=clock.monotonic_s() - started_s, stages_s=tally.stages.seconds())
