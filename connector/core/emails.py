"""E-mail addresses: in lower case, and refused only when no mail could be sent to them.

The rule is loose on purpose. Which addresses exist, only their servers know: Japanese operators gave out `a..b@` and
`a.@`, which the standard (RFC 5321) forbids, and mail reaches them. An address that is wrongly accepted bounces; one
that is wrongly refused hides its customer.
"""

from __future__ import annotations

import re
import unicodedata

import polars as pl

from connector.core.entity import Context, Exact, Normaliser

RULE = "not_an_email"

# A local part without blanks, or one in quotes with nearly anything; @; a domain of two labels at least.
_ADDRESS = re.compile(r'(?:[^\s@]+|"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])+")@[^\s@.]+(?:\.[^\s@.]+)+')

# Letters that polars and Python lower alike, and that NFC then leaves as they are, in any order: ASCII's, Latin and
# Cyrillic ones.
_LETTERS = r"A-Za-z\x{c0}-\x{24f}\x{1e00}-\x{1eff}\x{400}-\x{52f}"


def _addresses(letters: str) -> str:
    """Match the addresses of these letters and the rest of printable ASCII, without blanks."""
    label = rf"[!-\-/-?\[-`{{-~{letters}]+"
    return rf"^[!-?\[-`{{-~{letters}]+@{label}(?:\.{label})+$"


_PLAIN = _addresses(_LETTERS)
_LOWER = _addresses(rf"[{_LETTERS}--\p{{Changes_When_Lowercased}}]")


def email_of(text: str) -> str | None:
    """Return an address in the one spelling that it is known by, or None where it is refused.

    Letters outside ASCII stay, in domains too, composed as RFC 6532 asks: é is one character, however it was typed.
    """
    address = unicodedata.normalize("NFC", text.strip().lower())
    return address if _ADDRESS.fullmatch(address) else None


def normaliser(_context: Context) -> Normaliser:
    """Return `email_of` for columns."""
    return Normaliser(_plain, _exact)


def _plain(value: pl.Expr) -> pl.Expr:
    return pl.when(value.str.contains(_LOWER)).then(value)


def _exact(texts: pl.Series) -> Exact:
    lowered = pl.when(pl.col("text").str.contains(_PLAIN)).then(pl.col("text").str.to_lowercase())
    values = texts.to_frame("text").select(lowered).to_series()
    odd = values.is_null().arg_true()
    if not odd.is_empty():
        known = {text: email_of(text) for text in texts.gather(odd).unique()}
        values = values.scatter(odd, pl.Series([known[text] for text in texts.gather(odd)], dtype=pl.String))
    return Exact(values, pl.select(pl.when(values.is_null()).then(pl.lit(RULE))).to_series())
