"""`pull`, `backfill` and `run`: the commands that read from sources."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from connector.app import App
from connector.cli.shared import (
    Installation,
    console,
    json_option,
    pass_installation,
    print_json,
    stream_argument,
    table,
    target_argument,
)
from connector.errors import ConfigError, StoreError
from connector.model import LIVE, RunResult, RunState
from connector.observe import log
from connector.runs.job import Tick
from connector.runs.lanes import Range
from connector.schedule.daemon import Daemon, Task, stop_on_signals
from connector.store.daemon import DaemonLease

if TYPE_CHECKING:
    from rich.progress import Progress

INTERRUPTED = 130
DAEMON_LEASE_S = 60.0


@click.command()
@target_argument
@json_option
@pass_installation
def pull(installation: Installation, target: str | None, as_json: bool) -> int:
    """Pull what changed, once, now.

    Streams of one client run after each other, parents before children; clients run side by side. A stream that
    fails does not stop the others.

    \b
    Example: connector pull acme/customers
    """
    app = installation.app
    stop_on_signals(app.stop)
    by_client: dict[str, list[str]] = {}
    for client, stream in app.matching(target):
        by_client.setdefault(client.name, []).append(str(stream.id))
    app.open_store()  # here, so that a store that can't be used is one error, not one for every client
    with ThreadPoolExecutor(max(1, min(app.config.daemon.workers, len(by_client)))) as pool:
        results = [
            result for part in pool.map(lambda names: _pull_all(app, names), by_client.values()) for result in part
        ]
    return _report(app, results, as_json)


def _pull_all(app: App, names: Sequence[str]) -> list[RunResult]:
    return [app.run_stream(name) for name in names if not app.stop.is_set()]


@click.command()
@stream_argument
@click.option("--from", "from_", metavar="VALUE", help="First value of the watermark column, included.")
@click.option("--to", metavar="VALUE", help="Last value of the watermark column, included; default: up to now.")
@json_option
@pass_installation
def backfill(installation: Installation, stream: str, from_: str | None, to: str | None, as_json: bool) -> int:
    """Read a range of a stream once, beside its schedule; the watermark stays where it is.

    The same command goes on where an interrupted backfill of the same range was. Records that are stored as they are
    read count as unchanged.

    \b
    Example: connector backfill acme/receipts --from 2024-01-01 --to 2024-03-31
    """
    app = installation.app
    stop_on_signals(app.stop)
    _, settings = app.find(stream)
    lane = Range(from_, to).lane
    with _progress(shown=not as_json and console().is_terminal) as bar:
        task = bar.add_task(str(settings.id), total=None, rate="-")

        def watch(tick: Tick) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=tick.rows, total=tick.estimate, rate=f"{speed:,.0f}" if speed else "-")

        result = app.run_stream(stream, lane, watch)
    return _report(app, [result], as_json)


def _progress(*, shown: bool) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} rows/s"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console(), transient=True, disable=not shown)


@click.command()
@pass_installation
def run(installation: Installation) -> int:
    """Run the daemon: every stream by its schedule, until SIGTERM or SIGINT.

    A stop ends each running pull after its batch; the next start goes on there. A second daemon on the same store is
    refused.

    \b
    Example: connector --config /etc/connector run
    """
    app = installation.app
    if not app.config.clients:
        raise ConfigError("no client is configured", remedy="Write one YAML file per client beside connector.yaml")
    stop_on_signals(app.stop)
    with app.store.hold_daemon(DAEMON_LEASE_S) as lease:
        threading.Thread(target=_stop_when_lost, args=(lease, app.stop), name="daemon-lost", daemon=True).start()
        last = {str(each.row.id): each.last_success for each in app.store.overview()}
        tasks = [
            Task(str(stream.id), stream.schedule, ended.ended_at if (ended := last.get(str(stream.id))) else None)
            for _, stream in app.matching(None)
        ]
        daemon = Daemon(tasks, lambda name: log.run(app.run_stream(name, LIVE)), app.config.daemon.workers)
        daemon.on_left_out(log.left_out)
        log.daemon("started", streams=len(tasks), workers=app.config.daemon.workers)
        all_ended = daemon.run(app.stop, app.config.daemon.stop_timeout_s)
        log.daemon("stopped" if all_ended else "gave up waiting", streams=len(tasks))
    if lease.lost.is_set():
        raise StoreError("another daemon took this store over", remedy="Stop one of the two")
    if not all_ended:
        os._exit(0)  # a thread hangs in a driver; every committed batch is safe, and nothing else is open
    return 0


def _stop_when_lost(lease: DaemonLease, stop: threading.Event) -> None:
    lease.lost.wait()
    stop.set()


def _report(app: App, results: Sequence[RunResult], as_json: bool) -> int:
    """Print what the runs came to, and return the exit code: the smallest of those that failed."""
    if as_json:
        print_json({"runs": [asdict(result) for result in results]})
    else:
        rows = [
            (
                result.stream if result.lane == LIVE else f"{result.stream} {result.lane}",
                result.state.value,
                result.counters.read,
                result.counters.created,
                result.counters.updated,
                result.counters.unchanged,
                result.counters.refused,
                f"{result.duration_s:.2f} s",
            )
            for result in results
        ]
        table(("stream", "state", "read", "created", "updated", "unchanged", "refused", "took"), rows)
    for result in results:
        for text in (*result.warnings, *([result.error] if result.error else [])):
            named = text if text.startswith(result.stream) else f"{result.stream}: {text}"
            click.echo(f"connector: {named}", err=True)
    failed = [result.exit_code for result in results if result.state is RunState.FAILED]
    if failed:
        return min(failed)
    return INTERRUPTED if app.stop.is_set() and any(each.state is RunState.STOPPED for each in results) else 0


COMMANDS = (pull, backfill, run)
