"""Checks that more than one entity may ask for."""

from __future__ import annotations

from datetime import date

import polars as pl

from connector.core.entity import Check, Context
from connector.core.times import exact_midnight


def one_of(rule: str, *values: str) -> Check:
    """Refuse any other text."""

    def passes(value: pl.Expr, _context: Context) -> pl.Expr:
        return pl.any_horizontal(value == each for each in values)

    return Check(rule, passes)


def not_before(year: int) -> Check:
    """Refuse a timestamp whose year, in the stream's time zone, is earlier."""

    def passes(value: pl.Expr, context: Context) -> pl.Expr:
        return value >= _new_year(year, context)

    return Check(f"before_{year}", passes)


def _not_after_this_year(value: pl.Expr, context: Context) -> pl.Expr:
    return value < _new_year(context.this_year + 1, context)


def _no_nul(value: pl.Expr, _context: Context) -> pl.Expr:
    return ~value.str.contains("\0", literal=True)


NO_NUL = Check("nul_character", _no_nul)
"""Held by every identity: a store may cut texts there, and two identities would become one."""

NOT_AFTER_THIS_YEAR = Check("after_this_year", _not_after_this_year)


def _new_year(year: int, context: Context) -> pl.Expr:
    """Return the instant at which a year begins; no clock is put back across it."""
    return pl.lit(exact_midnight(pl.Series([date(year, 1, 1)]), context.time_zone)[0])
