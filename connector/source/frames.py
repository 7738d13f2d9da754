"""Frames: columns by their kind, everything that has no exact typed value as the database's own text.

Whichever reader delivers a column, it comes out the same:

| kind | as |
|---|---|
| integer | Int64; UInt64 where a batch needs it; text beyond |
| float | Float64 |
| boolean | Boolean |
| bytes | Binary |
| everything else | text, exactly as the database writes it |

A text that is not UTF-8 leaves its column as Binary in that batch, for the core to refuse the row and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import polars as pl

from connector.model import Column, Kind

DTYPES: dict[Kind, Any] = {
    Kind.INTEGER: pl.Int64,
    Kind.FLOAT: pl.Float64,
    Kind.BOOLEAN: pl.Boolean,
    Kind.BYTES: pl.Binary,
}

Frames: TypeAlias = Generator[tuple[pl.DataFrame, bool], None, None]
"""A statement's rows bit by bit, each with whether there may be more."""

PIECE_BYTES = 64 * 1024 * 1024
"""A batch is read in pieces of about this size where its rows are long, so that it fits into memory."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One column of a frame. With `text` it is wanted as the database's text, whatever its kind."""

    name: str
    column: Column
    text: bool = False

    @property
    def kind(self) -> Kind:
        return self.column.kind


def plain_frame(rows: Sequence[tuple[Any, ...]], wanted: Sequence[Wanted]) -> pl.DataFrame:
    """Build a frame from a driver's rows."""
    by_column = list(zip(*rows, strict=True)) if rows else [()] * len(wanted)
    return pl.DataFrame([_series(each, list(values)) for each, values in zip(wanted, by_column, strict=True)])


def typed(text: pl.Series, wanted: Wanted) -> pl.Series:
    """Return numbers for a column of the database's texts, where they are wanted; one that doesn't fit stays text.

    Whole numbers are read as such even where text is wanted: an engine may fill them up with zeros.
    """
    if wanted.kind not in (Kind.INTEGER, Kind.FLOAT) or (wanted.text and wanted.kind is Kind.FLOAT):
        return text
    for dtype in (pl.Int64, pl.UInt64) if wanted.kind is Kind.INTEGER else (pl.Float64,):
        numbers = text.cast(dtype, strict=False)
        if numbers.null_count() == text.null_count():
            return numbers.cast(pl.String) if wanted.text else numbers
    return text


def texts(values: pl.Series) -> pl.Series:
    """Return a column of bytes as text, or as it is when one of them is not UTF-8."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        return values


def stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put the pieces of one result under one another; a column that is not of one type becomes bytes or text."""
    if len(frames) == 1:
        return frames[0]
    types = {name: {frame.schema[name] for frame in frames} for name in frames[0].columns}
    mixed = [name for name, found in types.items() if len(found) > 1]
    casts = [pl.col(name).cast(pl.Binary if pl.Binary in types[name] else pl.String) for name in mixed]
    return pl.concat([frame.with_columns(casts) for frame in frames])


def row_key(parts: Sequence[str], name: str) -> pl.Expr:
    """Return the stream's key as one text: null without key columns, a JSON list of several."""
    if not parts:
        return pl.lit(None, dtype=pl.String).alias(name)
    if len(parts) == 1:
        return pl.col(parts[0]).alias(name)
    return pl.concat_list(parts).map_elements(lambda values: json.dumps(list(values)), pl.String).alias(name)


def text_of(value: object) -> str | None:
    """Return a driver's value as the database's own text; only numbers, texts and bytes come from the dialects."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case bytes():
            return value.hex()
        case _:
            return str(value)


def _series(wanted: Wanted, values: list[Any]) -> pl.Series:
    """Build a column by its kind; where a value does not fit the type, the whole column stays text."""
    name, kind = wanted.name, wanted.kind
    dtype = pl.String if wanted.text else DTYPES.get(kind, pl.String)
    try:
        return pl.Series(name, values, dtype, strict=True)
    except (TypeError, OverflowError, UnicodeEncodeError, pl.exceptions.PolarsError):
        if kind is Kind.INTEGER and not wanted.text:
            return _wide_integers(name, values)
        if kind in (Kind.TEXT, Kind.OTHER) and any(isinstance(value, str | bytes) for value in values):
            return texts(pl.Series(name, [_bytes_of(value) for value in values], pl.Binary))
        return pl.Series(name, [text_of(value) for value in values], pl.String)


def _bytes_of(value: object) -> bytes | None:
    """Return a text's bytes; drivers give one that is not UTF-8 as bytes, or with what is wrong as lone surrogates."""
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode(errors="surrogateescape")


def _wide_integers(name: str, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, values, pl.UInt64, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [text_of(value) for value in values], pl.String)
