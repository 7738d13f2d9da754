"""What single values of the YAML must look like. Errors carry our own words: pydantic's would quote the value."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeVar

from pydantic_core import PydanticCustomError

from connector.config.cron import cron_line
from connector.config.duration import duration_s, size_bytes
from connector.config.problems import closest

_T = TypeVar("_T")


def text(written: object) -> object:
    """Take a whole number for its digits; anything else that YAML did not read as text must be quoted."""
    if isinstance(written, int) and not isinstance(written, bool):
        return str(written)
    if isinstance(written, bool | float):
        raise _error("must be a text; quote it")
    if not isinstance(written, str):
        raise _error("must be a text")
    if not written.strip():
        raise _error("is empty")
    return written


def whole(written: object) -> object:
    """Take a whole number, or its digits, as a placeholder leaves them."""
    if isinstance(written, str) and re.fullmatch(r"0|[1-9][0-9]{0,17}", written):
        return int(written)
    if isinstance(written, bool) or not isinstance(written, int):
        raise _error("must be a whole number")
    return written


def number(written: object) -> object:
    if isinstance(written, bool) or not isinstance(written, int | float):
        raise _error("must be a number")
    return written


def duration(written: object) -> float:
    return _parsed(duration_s, written, "must be a duration such as 30s, 15m, 6h, 2d or 500ms")


def size(written: object) -> int:
    return _parsed(size_bytes, written, "must be a size such as 256MB or 1GiB")


def cron(written: object) -> str:
    if not isinstance(written, str):
        raise _error("must have five fields: minute hour day-of-month month day-of-week")
    return _parsed(cron_line, written, "")


def tenant_value(written: object) -> object:
    """Keep 42, "42" and true apart; a fraction has lost the way it was written."""
    if isinstance(written, float):
        raise _error("must be a text, a whole number, true or false; quote it")
    if not isinstance(written, str | int):
        raise _error("must be a text, a whole number, true or false")
    if isinstance(written, str) and not written.strip():
        raise _error("is empty")
    return written


def start(written: object) -> str | int:
    if isinstance(written, bool | float):
        raise _error("must be beginning, now, or a value of the watermark column; quote it")
    if not isinstance(written, str | int) or written == "":
        raise _error("must be beginning, now, or a value of the watermark column")
    return written


def key_columns(written: object) -> object:
    """Return a list of columns for a single name, and an empty one for the word `none`."""
    if written == "none":
        return []
    if isinstance(written, list):
        if not written:
            raise _error("names no column; write `none` for rows without a key")
        if any(column in written[:n] for n, column in enumerate(written)):
            raise _error("names a column twice")
        return written
    return [text(written)]


def time_zone(written: object) -> str:
    if isinstance(written, str):
        try:
            zoneinfo.ZoneInfo(written)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise _error("unknown time zone", _likely_zone(written)) from None
        return written
    raise _error("must be the name of a time zone, such as Europe/Kyiv")


def region(written: object) -> str:
    from phonenumbers import SUPPORTED_REGIONS

    if isinstance(written, str) and written in SUPPORTED_REGIONS:
        return written
    raise _error("must be a country's two letters (ISO 3166), such as UA", _likely_region(str(written).strip()))


def field_kind(written: object) -> str | None:
    if isinstance(written, Mapping):
        return "<section>"
    return "<column>" if isinstance(written, str | int | bool | float) else None


def tenant_kind(written: object) -> str | None:
    if isinstance(written, Mapping):
        return "<filter>"
    return "<word>" if isinstance(written, str) else None


@cache
def _zones() -> dict[str, str]:
    """Return every zone's name by itself and by its city, which is what people remember."""
    names = sorted(zoneinfo.available_timezones())
    return {name.rpartition("/")[2]: name for name in names} | {name: name for name in names}


def _likely_region(written: str) -> str:
    """Return the region meant by small letters, the European Union's own codes, or one country's calling code."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, SUPPORTED_REGIONS

    known = {str(code): regions[0] for code, regions in COUNTRY_CODE_TO_REGION_CODE.items() if len(regions) == 1}
    known |= {"UK": "GB", "EL": "GR"}
    word = written.removeprefix("+").upper()
    likely = known.get(word, word)
    return likely if likely in SUPPORTED_REGIONS else ""


def _likely_zone(written: str) -> str:
    return _zones().get(closest(written, _zones()), "")


def _parsed(parse: Callable[[str], _T], written: object, otherwise: str) -> _T:
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        raise _error(otherwise)
    try:
        return parse(str(written))
    except ValueError as error:
        raise _error(str(error)) from None


def _error(message: str, suggestion: str = "") -> PydanticCustomError:
    return PydanticCustomError("value", "{message}", {"message": message, "suggestion": suggestion})
