"""Texts that their database's encoding, or UTF-8, does not know.

The server turns every text into the session's encoding and ends the statement at the first one that it can't turn, so
one such value would stop its whole table. Who holds such texts, by `server_encoding`:

| encoding | what no other encoding knows | so texts come |
|---|---|---|
| SQL_ASCII | anything: nobody ever looked at them | as they are stored; most are UTF-8 |
| one byte, with gaps (WIN1252) | bytes that stand for no character | as they are stored, and are decoded here |
| one byte, without gaps (LATIN1) | nothing | as UTF-8 |
| UTF8 | only `"char"` columns of older servers | as UTF-8 |
| several bytes (EUC_JP) | some characters; one ends the statement | as UTF-8 |

A text that can't be decoded arrives as bytes that are not UTF-8 either: the core refuses its row and no other. The
tables here are the server's own, held by `tests/contract/test_encodings_postgresql.py`.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import adapt
from psycopg.abc import AdaptContext, Buffer

from connector.errors import SourceRefused

UTF8, LATIN1 = "utf-8", "latin-1"
SQL_ASCII = "SQL_ASCII"
CODECS = {
    SQL_ASCII: UTF8,
    "LATIN3": "iso8859-3",
    "ISO_8859_6": "iso8859-6",
    "ISO_8859_7": "iso8859-7",
    "ISO_8859_8": "iso8859-8",
    "WIN874": "cp874",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1255": "cp1255",
    "WIN1257": "cp1257",
    "WIN1258": "cp1258",
}
"""By server encoding, what stored texts are decoded with here; the server itself converts from any other."""

ANY_BYTES = "LATIN1"
"""The session's encoding in which SQL_ASCII's texts pass the server unseen, and come back from the driver unharmed."""


def of(driver: psycopg.BaseConnection[Any]) -> str | None:
    """Return the server's encoding where texts have to be decoded here, None where the server does it."""
    name = driver.info.parameter_status("server_encoding") or ""
    return name if name in CODECS else None


def utf8(stored: bytes, encoding: str | None) -> bytes:
    """Return stored text as UTF-8, a byte that stands for no character as one that UTF-8 refuses."""
    codec = UTF8 if encoding is None else CODECS[encoding]
    if codec == UTF8:
        return stored
    return stored.decode(codec, "surrogateescape").encode(UTF8, "surrogatepass")


class TextLoader(adapt.Loader):
    """Hand on a text, and bytes for what is none."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._encoding = _as_stored(self.connection)

    def load(self, data: Buffer) -> str | bytes:
        read = utf8(bytes(data), self._encoding)
        try:
            return read.decode(UTF8)
        except UnicodeDecodeError:
            return read


def receive_as_stored(driver: psycopg.Connection[Any]) -> None:
    """Let the driver's own reader get texts as they are stored, where they have to be decoded here."""
    encoding = of(driver)
    if encoding is not None:
        driver.execute(f"SET client_encoding = '{ANY_BYTES if encoding == SQL_ASCII else encoding}'".encode())


def sent(driver: psycopg.Connection[Any], value: Any) -> Any:
    """Return a statement or bound value in the form in which the driver sends UTF-8 where any bytes will do.

    A text that another encoding lacks raises UnicodeEncodeError later; in a UTF-8 session the server refuses it.
    """
    if not isinstance(value, str):
        return value
    return without_nul(value).encode().decode(LATIN1) if _as_stored(driver) == SQL_ASCII else without_nul(value)


def without_nul(text: str) -> str:
    """Return a statement or a bound text, which libpq would end at a NUL, and with it the statement or the value."""
    if "\0" in text:
        raise SourceRefused(
            "a text has a NUL character, which no text and no statement can hold here",
            remedy="Look for it in the stream's tenant, fields, query and start",
        )
    return text


def received(driver: psycopg.Connection[Any], name: str) -> str:
    """Return the name of a result's column from what the driver took it for."""
    return name.encode(LATIN1).decode(UTF8, "replace") if _as_stored(driver) == SQL_ASCII else name


def _as_stored(driver: psycopg.BaseConnection[Any] | None) -> str | None:
    """Return the encoding that the driver's own reader gets texts in, None for UTF-8."""
    return None if driver is None or driver.info.encoding == UTF8 else of(driver)
