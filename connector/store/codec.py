"""JSON of the values that the store keeps as text. Unknown keys are skipped: a newer program may have written them."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import TypeAdapter

from connector.model import Counters, OpenPull, Watermark

_WATERMARK = TypeAdapter(Watermark)
_OPEN_PULL = TypeAdapter(OpenPull)
_COUNTERS = TypeAdapter(Counters)


def dump_watermark(watermark: Watermark) -> str:
    return _WATERMARK.dump_json(watermark).decode()


def load_watermark(text: str) -> Watermark:
    return _WATERMARK.validate_json(text)


def dump_open_pull(open_pull: OpenPull) -> str:
    return _OPEN_PULL.dump_json(open_pull).decode()


def load_open_pull(text: str) -> OpenPull:
    return _OPEN_PULL.validate_json(text)


def dump_counters(counters: Counters) -> str:
    return _COUNTERS.dump_json(counters).decode()


def load_counters(text: str) -> Counters:
    return _COUNTERS.validate_json(text)


def moment(seconds: float) -> datetime:
    """Return seconds since 1970 as an aware time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
