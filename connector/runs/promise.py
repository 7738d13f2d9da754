"""What a stream promises, in the words that an operator may forward to the client."""

from __future__ import annotations

from connector.config.resolved import Stream
from connector.model import Level


def sentence(stream: Stream, level: Level = Level.WINDOW) -> str:
    """Return the stream's promise as one sentence."""
    match level:
        case Level.EXACT:
            promise = "every committed insert and update is delivered, however long the transaction or wrong the clock"
        case Level.EXACT_WITHIN:
            promise = "every committed insert and update dated within the window is delivered; older ones at the sweep"
        case Level.BOUNDED:
            promise = "complete if clocks agree and statements write within the slack"
        case Level.WINDOW:
            promise = f"rows that become visible more than {_span(stream)} late are found only at a reconciliation"
    seen = "; updates are not seen, only new ids" if stream.by == "id" else ""
    return f"{level.value}: {promise}{seen}"


def _span(stream: Stream) -> str:
    time = _duration(stream.look_back_s)
    return f"{time} and {stream.look_back_ids:,} ids" if stream.by == "id" else time


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
