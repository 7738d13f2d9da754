"""The scheduler: APScheduler decides when, a callable does the work, and nothing here knows what a run is.

One run per stream at a time; times that passed while one ran, or while the daemon was down, are made up for by a single
run. A stop waits for running streams, which end after their batch.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from connector import clock
from connector.config.resolved import Schedule

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Task:
    """A stream with its schedule, and when it last ended well."""

    name: str
    schedule: Schedule
    last: datetime | None = None


def trigger(schedule: Schedule) -> BaseTrigger:
    """Return APScheduler's trigger; the jitter spreads runs, forwards and backwards, by up to its seconds."""
    jitter = schedule.jitter_s or None
    if schedule.cron is not None:
        cron = CronTrigger.from_crontab(schedule.cron, timezone=schedule.time_zone)
        cron.jitter = jitter
        return cron
    return IntervalTrigger(seconds=schedule.every_s or 1, timezone=schedule.time_zone, jitter=jitter)


def _punctual(schedule: Schedule) -> BaseTrigger:
    return trigger(replace(schedule, jitter_s=0.0))


def first_run(task: Task, now: datetime) -> datetime | None:
    """Return when a task first runs: at once when it never ran or missed a time, else when its schedule says."""
    if task.last is None:
        return now
    if task.schedule.every_s is not None:
        return max(now, task.last + timedelta(seconds=task.schedule.every_s))
    missed = _punctual(task.schedule).get_next_fire_time(task.last, task.last + timedelta(seconds=1))
    return now if missed is not None and missed <= now else None


def next_run(schedule: Schedule, last: datetime | None, now: datetime) -> datetime:
    """Return when a task is due next, jitter left aside, in its schedule's time zone."""
    zone = ZoneInfo(schedule.time_zone)
    first = first_run(Task("", schedule, last), now)
    if first is None:
        fire = _punctual(schedule).get_next_fire_time(None, now)
        first = fire or now
    return first.astimezone(zone)


class Daemon:
    """Runs tasks by their schedules until it is told to stop."""

    def __init__(self, tasks: Iterable[Task], work: Callable[[str], object], workers: int) -> None:
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(workers)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        now = clock.now()
        for task in tasks:
            first = first_run(task, now)
            timing = {} if first is None else {"next_run_time": first}
            self._scheduler.add_job(work, trigger(task.schedule), args=[task.name], id=task.name, **timing)

    def on_left_out(self, tell: Callable[[str], None]) -> None:
        """Tell of runs that were left out because their stream was still running."""

        def heard(event: JobSubmissionEvent) -> None:
            tell(event.job_id)

        self._scheduler.add_listener(heard, EVENT_JOB_MAX_INSTANCES)

    def run(self, stop: threading.Event, stop_timeout_s: float) -> bool:
        """Run until `stop` is set, then wait for what is running; False when that takes too long."""
        self._scheduler.start()
        stop.wait()
        ending = threading.Thread(target=self._scheduler.shutdown, name="daemon-stop", daemon=True)
        ending.start()
        ending.join(stop_timeout_s)
        return not ending.is_alive()


def stop_on_signals(stop: threading.Event) -> None:
    """Set `stop` on SIGTERM and SIGINT; a second signal ends the process at once."""

    def first(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in SIGNALS:
        signal.signal(number, first)
