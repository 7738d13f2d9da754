"""The tenant filter: which value selects a client's rows, and whether every returned row really is the client's.

The value is bound in the column's own type, and only where nothing of it is lost on the way: `42` against a text
column is the text 42, the text `042` against a number column is refused. The database may match more than is meant
(collations fold case and accents, some engines ignore trailing blanks), so each returned row is compared again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

import polars as pl

from connector.errors import ConfigError, TenantViolation
from connector.model import Column, Kind


def spelled(value: str | float, column: Column) -> str:
    """Return a configured value as the text to bind for `column`; ConfigError when it would have to change."""
    lossy = ConfigError(
        f"the tenant's value can't be compared with column {column.name} ({column.native or column.kind}) as it stands",
        remedy="Write it in tenant.value as the column holds it: a number for a number column, else quoted text",
    )
    if isinstance(value, bool):
        if column.kind is Kind.BOOLEAN:
            return "true" if value else "false"
        raise lossy
    if isinstance(value, float):
        raise lossy
    text = str(value)
    match column.kind:
        case Kind.TEXT | Kind.OTHER:
            return text
        case Kind.INTEGER if _integer(text) == text:
            return text
        case Kind.DECIMAL if _integer(text) == text:
            return text
        case Kind.UUID:
            try:
                return str(uuid.UUID(text))
            except ValueError:
                raise lossy from None
        case _:
            raise lossy


def recheck(returned: pl.Series, spellings: Iterable[str], column: Column) -> None:
    """Raise TenantViolation when a row's tenant is none of the spellings; only padding to a length is ignored."""
    if returned.dtype == pl.Binary:  # not UTF-8: certainly none of the spellings
        returned = pl.Series(returned.name, [value.decode(errors="replace") for value in returned], pl.String)
    texts = returned.cast(pl.String)
    if column.kind is Kind.BOOLEAN:
        texts = texts.replace({"1": "true", "0": "false"})
    if column.kind is Kind.DECIMAL:
        texts = pl.Series(texts.name, [_integer(text) if text is not None else None for text in texts], pl.String)
    if column.padded:
        texts = texts.str.strip_chars_end(" ")
    wanted = [text.rstrip(" ") if column.padded else text for text in spellings]
    foreign = len(texts) - int(texts.is_in(wanted).fill_null(False).sum())
    if foreign:
        raise TenantViolation(
            f"{foreign} of {len(texts)} rows came back with another value in tenant column {column.name}; "
            "the batch was thrown away",
            remedy="If the database spells this client in several ways, list the others in tenant.accept; "
            "otherwise the view or query returns other tenants' rows and has to be repaired",
        )


def _integer(text: str) -> str | None:
    """Return the plain spelling of a whole number, or None."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return str(int(value)) if value.is_finite() and value == value.to_integral_value() else None
