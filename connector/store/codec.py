"""JSON of the values that the store keeps as text. Unknown keys are skipped: a newer program may have written them."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

from pydantic import TypeAdapter

from connector.model import Counters, OpenPull, Watermark

_WATERMARK = TypeAdapter(Watermark)
_OPEN_PULL = TypeAdapter(OpenPull)
_COUNTERS = TypeAdapter(Counters)


def dump(value: Watermark | OpenPull | Counters) -> str:
    """Write a value as JSON; pydantic would not, for it takes no Mapping but a dict."""
    return json.dumps(asdict(value), ensure_ascii=False, default=dict)


def load_watermark(text: str) -> Watermark:
    return _WATERMARK.validate_json(text)


def load_open_pull(text: str) -> OpenPull:
    return _OPEN_PULL.validate_json(text)


def load_counters(text: str) -> Counters:
    return _COUNTERS.validate_json(text)


def moment(seconds: float) -> datetime:
    """Return seconds since 1970 as an aware time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
