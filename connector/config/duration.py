"""Durations (`15m`, `1h30m`) and sizes (`256MB`) as operators write them. A number alone is seconds, or bytes."""

from __future__ import annotations

import re

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
BYTES = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
LONGEST_S = 366 * SECONDS["d"]

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?$|^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?([KMGTkmgt][Ii]?)?[Bb]?$"

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")


def duration_s(written: str | float) -> float:
    """Return seconds; raise ValueError for anything that is not a duration from 0 to 366 days."""
    text = str(written)
    if not re.match(DURATION_PATTERN, text):
        raise ValueError("must be a duration such as 30s, 15m, 6h, 2d or 500ms")
    parts = _PART.findall(text) or [(text, "s")]
    seconds = round(sum(float(number) * SECONDS[unit] for number, unit in parts), 3)
    if seconds > LONGEST_S:
        raise ValueError("must be at most 366d")
    return seconds


def size_bytes(written: str | float) -> int:
    """Return bytes: MB is 10^6, MiB is 2^20; raise ValueError for anything that is not a size."""
    text = str(written)
    match = _SIZE.fullmatch(text)
    factor = BYTES.get(_unit(match.group(2))) if match else None
    if match is None or factor is None:
        raise ValueError("must be a size such as 256MB or 1GiB")
    return int(float(match.group(1)) * factor)


def _unit(written: str) -> str:
    unit = written.upper()
    return unit if unit in ("", "B") or unit.endswith("B") else f"{unit}B"
