"""MySQL's types in the shared words, and decoders that hand dates, times and decimals on as the server's own text."""

from __future__ import annotations

import codecs
from functools import cache
from typing import Any

from pymysql.constants import FIELD_TYPE, FLAG
from pymysql.converters import encoders

from connector.model import Column, Kind

BINARY_CHARSET = 63
DAY_US = 86_400_000_000
INTEGERS = {
    FIELD_TYPE.TINY,
    FIELD_TYPE.SHORT,
    FIELD_TYPE.LONG,
    FIELD_TYPE.LONGLONG,
    FIELD_TYPE.INT24,
    FIELD_TYPE.YEAR,
    FIELD_TYPE.BIT,
}
TEXTS = {
    FIELD_TYPE.VARCHAR,
    FIELD_TYPE.VAR_STRING,
    FIELD_TYPE.STRING,
    FIELD_TYPE.TINY_BLOB,
    FIELD_TYPE.MEDIUM_BLOB,
    FIELD_TYPE.LONG_BLOB,
    FIELD_TYPE.BLOB,
}
KINDS = {
    FIELD_TYPE.DECIMAL: Kind.DECIMAL,
    FIELD_TYPE.NEWDECIMAL: Kind.DECIMAL,
    FIELD_TYPE.FLOAT: Kind.FLOAT,
    FIELD_TYPE.DOUBLE: Kind.FLOAT,
    FIELD_TYPE.DATE: Kind.DATE,
    FIELD_TYPE.NEWDATE: Kind.DATE,
    FIELD_TYPE.DATETIME: Kind.TIMESTAMP,
    FIELD_TYPE.TIMESTAMP: Kind.TIMESTAMPTZ,  # the session's zone is UTC
}
ENUM, SET, BIT, GEOMETRY = "enum", "set", "bit", "geometry"


def bits(value: bytes) -> int:
    """Return a BIT column's value."""
    return int.from_bytes(value, "big")


def conversions() -> dict[Any, Any]:
    """Return the driver's conversions: encoders as they are; no decoder for what Python's values can't hold.

    Zero dates, partial dates, TIME beyond a day and DECIMAL(65,30) then arrive as the text that the server sent.
    """
    decoders: dict[Any, Any] = dict.fromkeys(INTEGERS - {FIELD_TYPE.BIT}, int)
    decoders |= {FIELD_TYPE.FLOAT: float, FIELD_TYPE.DOUBLE: float, FIELD_TYPE.BIT: bits}
    decoders |= {FIELD_TYPE.GEOMETRY: bytes.hex}
    return {**encoders, **decoders}


@cache
def lenient_utf8() -> str:
    """Return an encoding for the driver whose decoder raises nothing: what is not UTF-8 becomes lone surrogates.

    The server takes encoded surrogates for UTF-8, and the driver would give up its connection over the first one.
    """
    found = codecs.CodecInfo(
        codecs.utf_8_encode, lambda data, _="": codecs.utf_8_decode(data, "surrogateescape", True), name="lenient_utf8"
    )
    codecs.register(lambda name: found if name == found.name else None)
    return found.name


def columns(cursor: Any) -> tuple[Column, ...]:
    """Describe a cursor's columns from the protocol's own field packets, which alone tell text from bytes."""
    result = cursor._result  # noqa: SLF001 - the public description does not tell text from bytes
    return tuple(_column(field) for field in (result.fields if result is not None else ()))


def _column(packet: Any) -> Column:
    native = "bytes" if packet.charsetnr == BINARY_CHARSET else "text"
    kind = Kind.OTHER
    if packet.flags & (FLAG.ENUM | FLAG.SET):
        kind, native = Kind.TEXT, ENUM if packet.flags & FLAG.ENUM else SET
    elif packet.type_code in INTEGERS:
        kind, native = Kind.INTEGER, BIT if packet.type_code == FIELD_TYPE.BIT else "integer"
    elif packet.type_code in TEXTS:
        kind = Kind.BYTES if packet.charsetnr == BINARY_CHARSET else Kind.TEXT
    elif packet.type_code == FIELD_TYPE.GEOMETRY:
        native = GEOMETRY
    elif packet.type_code in KINDS:
        kind = KINDS[packet.type_code]
        native = kind.value
    return Column(
        packet.name,
        kind,
        native,
        padded=packet.type_code == FIELD_TYPE.STRING and kind is Kind.TEXT,
        unit_us=DAY_US if kind is Kind.DATE else 1,
    )
