"""`status` and `records`: what the store holds."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import click

from connector import clock
from connector.app import App
from connector.cli.shared import (
    Installation,
    json_option,
    pass_installation,
    print_json,
    stream_argument,
    table,
    target_argument,
)
from connector.errors import ConfigError
from connector.model import Level, StreamId, Watermark
from connector.runs.promise import label, sentence, span
from connector.schedule.daemon import next_run
from connector.source.window import EPOCH
from connector.store.lateness import Lateness
from connector.store.overview import StreamOverview


@click.command()
@target_argument
@json_option
@pass_installation
def status(installation: Installation, target: str | None, as_json: bool) -> int:
    """Show each stream: its last run, watermark, records, quarantine, next run, and what it promises.

    \b
    Example: connector status --json
    """
    app = installation.app
    known = {str(each.row.id): each for each in app.store.overview()}
    streams = [_status(app, stream.id, known.get(str(stream.id))) for _, stream in app.matching(target)]
    daemon = app.store.daemon()
    if as_json:
        print_json({"daemon": None if daemon is None else str(daemon), "streams": streams})
        return 0
    headers = ("stream", "state", "last run", "fresh as of", "watermark", "records", "refused", "next run")
    rows = [
        (
            each["stream"],
            each["state"],
            _ago(each["last_run_at"]),
            _ago(each["fresh_as_of"]),
            each["watermark"] or "-",
            each["records"],
            each["quarantined"],
            each["next_run"] or "-",
        )
        for each in streams
    ]
    table(headers, rows)
    for each in streams:
        click.echo(f"{each['stream']}: {each['promise']}")
        seen = known.get(each["stream"])
        if seen and seen.lateness and seen.lateness.late:
            click.echo(f"  {_worst(seen.lateness)}")
        if each["last_sweep"]:
            click.echo(f"  last sweep: {_ago(each['last_sweep'])}")
        if each["error"]:
            click.echo(f"  last error: {each['error']}")
        for lane, pulled in each["open_pulls"].items():
            click.echo(f"  {lane}: unfinished, {pulled:,} rows so far; the next run goes on there")
    click.echo(f"daemon: {daemon or 'not running'}")
    return 0


def _status(app: App, stream_id: StreamId, seen: StreamOverview | None) -> dict[str, Any]:
    _, stream = app.find(str(stream_id))
    last = seen.last_run if seen else None
    good = seen.last_success if seen else None
    watermark = seen.watermark if seen else None
    upcoming = next_run(stream.schedule, good.ended_at if good else None, clock.now())
    return {
        "stream": str(stream_id),
        "entity": stream.entity,
        "state": last.state.value if last else "never ran",
        "running": sorted(seen.leases) if seen else [],
        "last_run_at": last.started_at if last else None,
        "fresh_as_of": good.started_at if good else None,
        "watermark": watermark.marks.newest if watermark else None,
        "level": label(stream, watermark.level, watermark) if watermark else None,
        "promise": sentence(stream, watermark.level, watermark) if watermark else "known after the first pull",
        "why_no_better": watermark.why if watermark else "",
        "last_sweep": _last_sweep(watermark),
        "records": seen.records if seen else 0,
        "quarantined": seen.quarantined if seen else 0,
        "lateness": asdict(seen.lateness) if seen and seen.lateness else None,
        "open_pulls": {lane: pulled.rows for lane, pulled in seen.open_pulls.items()} if seen else {},
        "next_run": upcoming.strftime("%Y-%m-%d %H:%M %Z"),
        "error": last.error if last else "",
    }


def _worst(lateness: Lateness) -> str:
    most = f"at most {_late(lateness.p99_us)} late" if lateness.p99_us else "not late"
    return f"worst lateness seen: {_late(lateness.max_us)} (99 % of {lateness.rows:,} new versions were {most})"


def _late(time_us: int) -> str:
    return span(time_us / 1e6)


def _last_sweep(watermark: Watermark | None) -> datetime | None:
    """Return when every row was last looked at, where not every pull does so."""
    if watermark is None or watermark.swept is None or watermark.level is not Level.EXACT_WITHIN:
        return None
    return EPOCH + timedelta(microseconds=watermark.swept.clock_us)


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    seconds = (clock.now() - moment).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


@click.command()
@stream_argument
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many to show.")
@click.option("--key", "keys", multiple=True, help="Show this record only; may be given several times.")
@click.option("--changes", is_flag=True, help="Show the change log instead of the newest records.")
@json_option
@pass_installation
def records(
    installation: Installation, *, stream: str, limit: int, keys: tuple[str, ...], changes: bool, as_json: bool
) -> int:
    """Show the newest record of each key, latest first, or the change log. Values are shown as they are.

    \b
    Example: connector records acme/customers --key 42 --json
    """
    app = installation.app
    _, settings = app.find(stream)
    row = app.store.find_stream(settings.id)
    if row is None:
        raise ConfigError(f"{stream} has never run", remedy=f"Run `connector pull {stream}`")
    found: list[dict[str, Any]] = []
    if changes:
        for segment in app.store.changes(0, limit_segments=2**31 - 1):
            if segment.stream_id == row.stream_id:
                found += [
                    {"at": segment.committed_at, "lane": segment.lane, **each} for each in segment.frame.to_dicts()
                ]
        found = found[-limit:]
    elif keys:
        found = app.store.records(row.scope_id, keys).to_dicts()
    else:
        for frame in app.store.iter_records(row, limit):
            found += frame.to_dicts()
    found = [_record(each) for each in found]
    if as_json:
        print_json({"stream": stream, "records": found})
        return 0
    names = list(dict.fromkeys(name for each in found for name in each))
    table(names, [[_shown(each.get(name)) for name in names] for each in found])
    return 0


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """Return a stored row as people see it: `_key` and `_op` by their names, bookkeeping left out."""
    renamed = {"_op": "op", "_key": "key"}
    return {
        renamed.get(name, name): value for name, value in row.items() if name in renamed or not name.startswith("_")
    }


def _shown(value: object) -> object:
    return "" if value is None else str(value) if not isinstance(value, int) else value


COMMANDS = (status, records)
