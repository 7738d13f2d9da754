"""What a stream promises, in the words that an operator may forward to the client."""

from __future__ import annotations

from connector.config.resolved import Stream
from connector.model import Level, Watermark
from connector.source.horizon import FLOOR_US


def label(stream: Stream, level: Level, watermark: Watermark | None = None) -> str:
    """Return the level with its measure: `exact`, `exact within 24 h`, `bounded by 2 min`, `window of 15 min`."""
    match level:
        case Level.EXACT:
            return "exact"
        case Level.EXACT_WITHIN:
            return f"exact within {span(FLOOR_US / 1e6)}"
        case Level.BOUNDED:
            return f"bounded by {span(stream.slack_s)}"
        case Level.WINDOW:
            return f"window of {span(_look_back_s(stream, watermark))}"


def sentence(stream: Stream, level: Level, watermark: Watermark | None = None) -> str:
    """Return the stream's promise as one sentence; a watermark tells of a look-back that has grown."""
    match level:
        case Level.EXACT:
            promise = "every committed insert and update is delivered, however long the transaction or wrong the clock"
        case Level.EXACT_WITHIN:
            promise = (
                "every committed insert and update is delivered, however long the transaction or wrong the clock, for "
                f"rows dated within {span(FLOOR_US / 1e6)} of the last pull; those dated earlier come at the sweep, "
                f"every {span(stream.sweep_every_s)}"
            )
        case Level.BOUNDED:
            promise = f"complete if clocks agree and statements write within {span(stream.slack_s)} of their stamp"
        case Level.WINDOW:
            late = span(_look_back_s(stream, watermark))
            promise = f"rows that become visible more than {late} late are found only at a reconciliation"
    seen = "; updates are not seen, only new ids" if stream.by == "id" and not level.exact else ""
    return f"{label(stream, level, watermark)}: {promise}{seen}"


def _look_back_s(stream: Stream, watermark: Watermark | None) -> float:
    grown_us = 0 if watermark is None else watermark.look_back_us
    return max(stream.look_back_s, grown_us / 1e6)


def span(seconds: float) -> str:
    """Write a time in the largest unit that leaves it whole, else in one that leaves it readable."""
    units = ((86_400, "d"), (3_600, "h"), (60, "min"))
    for size, unit in units:
        if seconds >= size and seconds % size == 0 and (unit != "d" or seconds > size):
            return f"{seconds / size:g} {unit}"
    for size, unit in units:
        if seconds >= 10 * size:
            return f"{seconds / size:.0f} {unit}"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
