"""Columns that came as bytes because one of their values is not UTF-8: all others are the text that they would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch with those columns as text, null where the bytes are no text; `damaged` says of each column where."""

    rows: pl.DataFrame
    damaged: Mapping[str, pl.Series]


def decoded(rows: pl.DataFrame, names: Sequence[str]) -> Decoded:
    """Read columns of bytes as UTF-8."""
    texts = {name: pl.Series(name, [_text(each) for each in rows[name]], dtype=pl.String) for name in names}
    damaged = {name: text.is_null() & rows[name].is_not_null() for name, text in texts.items()}
    return Decoded(rows.with_columns(texts.values()), damaged)


def shown(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the batch with columns of bytes as text, and as hex where they are none."""
    if not names:
        return rows
    texts = decoded(rows, names).rows
    return texts.with_columns(texts[name].fill_null(rows[name].bin.encode("hex")) for name in names)


def _text(value: bytes | None) -> str | None:
    # polars reads a column as a whole or not at all
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
