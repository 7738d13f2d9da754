"""Decimals and integers, exactly, as text.

The canonical decimal is plain: optional minus, digits, optionally a dot and digits. No exponent, no leading zeros or
plus, no trailing zeros in the fraction, no minus zero. Trailing zeros go because a typed column carries one scale for
all rows where the database's text carries one per value, and a float carries none: `12.50`, `12.5` and 12.5 are one
value and must have one fingerprint.

`plain_*` are expressions: cheap, sure of the shapes they know, null for all others. `exact_*` know every shape, work in
steps, and are called with the few values that the plain ones left null.
"""

from __future__ import annotations

import polars as pl

_PLAIN = r"^(?:-?[1-9][0-9]*(?:\.[0-9]+)?|0(?:\.[0-9]+)?|-0\.[0-9]*[1-9][0-9]*)$"
_ANY = r"^([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?$"

# The widest exponent of an 8-byte float is 324; a wider one in a text would only serve to fill the memory.
_MAX_EXPONENT = 400
_PARTS = ["sign", "whole", "part", "power"]
_ZEROS = "0" * (_MAX_EXPONENT + 1)


def plain_decimal(text: pl.Expr) -> pl.Expr:
    """Return the canonical decimal of a text that needs no more than trailing zeros removed, else null."""
    known = pl.when(text.str.contains(_PLAIN)).then(text)
    without_zeros = known.str.strip_chars_end("0").str.strip_chars_end(".")
    return pl.when(text.str.contains(".", literal=True)).then(without_zeros).otherwise(known)


def exact_decimal(texts: pl.Series) -> pl.Series:
    """Return the canonical decimal of every decimal text, exponents expanded, null for any other text."""
    minus = pl.when((pl.col("sign") == "-") & (pl.col("number") != "0")).then(pl.lit("-")).otherwise(pl.lit(""))
    return (
        texts.to_frame("text")
        .select(pl.col("text").str.strip_chars().str.extract_groups(_ANY).struct.rename_fields(_PARTS))
        .unnest("text")
        .with_columns(
            pl.col("whole", "part").fill_null(""),
            pl.col("power").str.strip_prefix("+").cast(pl.Int64, strict=False).fill_null(0),
        )
        .with_columns(
            digits=pl.col("whole") + pl.col("part"),
            point=pl.col("whole").str.len_bytes().cast(pl.Int64) + pl.col("power"),
        )
        .with_columns(size=pl.col("digits").str.len_bytes().cast(pl.Int64))
        .with_columns(digits=_zeros(-pl.col("point")) + pl.col("digits") + _zeros(pl.col("point") - pl.col("size")))
        .with_columns(dot=pl.col("point").clip(lower_bound=0))
        .with_columns(
            whole=pl.col("digits").str.slice(0, pl.col("dot")).str.strip_chars_start("0"),
            part=pl.col("digits").str.slice(pl.col("dot")).str.strip_chars_end("0"),
        )
        .with_columns(
            number=pl.when(pl.col("whole") == "").then(pl.lit("0")).otherwise("whole")
            + pl.when(pl.col("part") == "").then(pl.lit("")).otherwise(pl.lit(".") + pl.col("part"))
        )
        .select(
            pl.when((pl.col("size") > 0) & (pl.col("power").abs() <= _MAX_EXPONENT))
            .then(minus + pl.col("number"))
            .alias(texts.name)
        )
        .to_series()
    )


def plain_integer(text: pl.Expr) -> pl.Expr:
    """Return the Int64 of a text of up to 18 digits, else null."""
    return pl.when(text.str.contains(r"^-?[0-9]{1,18}$")).then(text).cast(pl.Int64, strict=False)


def exact_integer(texts: pl.Series) -> pl.Series:
    """Return the Int64 that a decimal text stands for (`12.0` is 12), null if it has a fraction or doesn't fit."""
    decimals = exact_decimal(texts)
    return decimals.set(~decimals.str.contains("^-?[0-9]{1,19}$"), None).cast(pl.Int64, strict=False)


def _zeros(count: pl.Expr) -> pl.Expr:
    return pl.lit(_ZEROS).str.slice(0, count.clip(lower_bound=0, upper_bound=_MAX_EXPONENT))
