"""Structured logs, and the list of every event that the program writes.

| event | level | when | fields |
|---|---|---|---|
| `run` | info | a run ended well or was stopped | RUN_FIELDS |
| `run` | error | a run failed | RUN_FIELDS, error |
| `warning` | warning | a run has something to say | stream, lane, text |
| `daemon` | info | the daemon started or stopped | state, streams, workers |
| `schedule` | warning | a time was left out, since the stream still runs | stream, text |

RUN_FIELDS: stream, lane, run, state, read, created, updated, unchanged, refused, ignored, duration_s,
promise (the level's name).

No event carries a value of a row or a secret: fields are names, numbers and our own errors' texts. A run that found
nothing writes its one `run` line.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import Literal

import structlog

from connector.model import RunResult, RunState

PACKAGE = Path(__file__).resolve().parent.parent
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(format_: Literal["console", "json"], level: str) -> None:
    """Write events to standard error, as lines for people or as JSON."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # what it has to say is in the events above
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if format_ == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def run(result: RunResult) -> None:
    """Write the one line of a run."""
    logger = structlog.get_logger()
    counters = result.counters
    fields = {
        "stream": result.stream,
        "lane": result.lane,
        "run": result.run_id,
        "state": result.state.value,
        "read": counters.read,
        "created": counters.created,
        "updated": counters.updated,
        "unchanged": counters.unchanged,
        "refused": counters.refused,
        "ignored": counters.ignored,
        "duration_s": round(result.duration_s, 3),
        "promise": result.level.value,
    }
    for text in result.warnings:
        logger.warning("warning", stream=result.stream, lane=result.lane, text=text)
    if result.state is RunState.FAILED:
        logger.error("run", **fields, error=result.error)
    else:
        logger.info("run", **fields)


def place(error: BaseException) -> str:
    """Return an exception's type and where in this package it came up, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if PACKAGE in Path(frame.filename).parents] or frames[-1:]
    places = (f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}" for frame in ours[-2:])
    return f"{type(error).__name__} at {' > '.join(places)}"


def daemon(state: str, **fields: object) -> None:
    structlog.get_logger().info("daemon", state=state, **fields)


def left_out(stream: str) -> None:
    structlog.get_logger().warning("schedule", stream=stream, text="still running; this time was left out")
