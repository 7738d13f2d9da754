"""From a driver's rows to a frame: columns by their kind, everything that has no exact Python value as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from connector.model import Column, Kind
from connector.source.select import Output

DTYPES: dict[Kind, Any] = {
    Kind.INTEGER: pl.Int64,
    Kind.FLOAT: pl.Float64,
    Kind.BOOLEAN: pl.Boolean,
    Kind.BYTES: pl.Binary,
}


def frame_of(rows: Sequence[tuple[Any, ...]], outputs: Sequence[Output], columns: Mapping[str, Column]) -> pl.DataFrame:
    """Build a frame with one column per output; those that `columns` does not describe become text."""
    by_output = list(zip(*rows, strict=True)) if rows else [()] * len(outputs)
    return pl.DataFrame(
        [
            _series(output.alias, list(values), columns.get(output.alias))
            for output, values in zip(outputs, by_output, strict=True)
        ]
    )


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


def _series(name: str, values: list[Any], column: Column | None) -> pl.Series:
    """Build a column by its kind; where a value does not fit the type, the whole column stays text."""
    dtype = pl.String if column is None else DTYPES.get(column.kind, pl.String)
    try:
        return pl.Series(name, values, dtype, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        if column is not None and column.kind is Kind.INTEGER:
            return _wide_integers(name, values)
        return pl.Series(name, [text_of(value) for value in values], pl.String)


def _wide_integers(name: str, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, values, pl.UInt64, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [text_of(value) for value in values], pl.String)
