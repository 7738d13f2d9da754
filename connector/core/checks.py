"""Checks that more than one entity may ask for."""

from __future__ import annotations

import polars as pl

from connector.core.entity import Check, Context


def matches(rule: str, pattern: str) -> Check:
    """Refuse a text that the pattern doesn't match.

    Write `[0-9]`, not `\\d`: the latter takes the digits of every script.
    """

    def passes(value: pl.Expr, _context: Context) -> pl.Expr:
        return value.str.contains(pattern)

    return Check(rule, passes)


def not_before(year: int) -> Check:
    """Refuse a timestamp whose year, in the stream's time zone, is earlier."""

    def passes(value: pl.Expr, context: Context) -> pl.Expr:
        return _local_year(value, context) >= year

    return Check(f"before_{year}", passes)


def _not_after_this_year(value: pl.Expr, context: Context) -> pl.Expr:
    return _local_year(value, context) <= context.this_year


def _no_nul(value: pl.Expr, _context: Context) -> pl.Expr:
    return ~value.str.contains("\0", literal=True)


NO_NUL = Check("nul_character", _no_nul)
"""Held by every identity: a store may cut texts there, and two identities would become one."""

NOT_AFTER_THIS_YEAR = Check("after_this_year", _not_after_this_year)


def _local_year(value: pl.Expr, context: Context) -> pl.Expr:
    return value.dt.convert_time_zone(context.time_zone).dt.year()
