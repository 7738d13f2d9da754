"""Which source columns become which field types, and how.

| field type | from text | from other columns | else refused as |
|---|---|---|---|
| text | blanks around it stripped | as written below | never |
| timestamp | ISO 8601, blank or `T`, offset or none | dates, timestamps | `not_a_timestamp` |
| date | the same | dates, timestamps | `not_a_date` |
| decimal | sign, digits, dot, exponent | numbers | `not_a_decimal` |
| integer | a decimal without fraction, within 64 bits | numbers | `not_an_integer` |
| boolean | true/false, t/f, yes/no, y/n, on/off, 1/0 | booleans, the numbers 1 and 0 | `not_a_boolean` |
| json | what parses, at most 127 levels deep | numbers, booleans | `not_json` |

A timestamp finer than microseconds is refused as `finer_than_microseconds`, and a date with a zero for its year, month
or day as `zero_date`, with a time or without. What is done instead of refusing, `core/policies.py` says. As text,
numbers are plain decimals (`core/numbers.py`), booleans `true` and `false`, bytes hex, and times as the database writes
them, without zeros at the end of the fraction.

A value of another type than bytes that is not UTF-8 is refused as `not_utf8`, whatever its field (`core/decode.py`).

An empty text is null for every type. References (identities, the record's own or a parent's) keep blanks, because two
keys may differ in nothing else; only a fixed-length column's trailing blanks go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from connector.core import numbers, times
from connector.core.entity import Exact, FieldType
from connector.core.policies import ZERO_DATE
from connector.model import Column, Kind

_BOOLEANS: dict[str, bool] = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one source column becomes one field.

    `plain` is cheap, and null for whatever it isn't sure of. `exact` is called with the source's values where plain
    is null and the source is not, and knows for sure. Without it plain knows for sure.
    """

    plain: pl.Expr
    exact: Callable[[pl.Series], Exact] | None = None

    def then(self, step: Callable[[pl.Expr], pl.Expr]) -> Conversion:
        """Return the conversion followed by an expression over its value."""
        exact = self.exact
        if exact is None:
            return Conversion(step(self.plain))

        def and_then(given: pl.Series) -> Exact:
            read = exact(given)
            return Exact(read.values.to_frame("value").select(step(pl.col("value"))).to_series(), read.rules)

        return Conversion(step(self.plain), and_then)

    def exactly(self, given: pl.Series) -> Exact:
        """Convert values of the source's column, each for sure."""
        if self.exact is not None:
            return self.exact(given)
        return Exact(given.to_frame().select(self.plain).to_series(), _no_rules(given))


@dataclass(frozen=True, slots=True)
class Source:
    """One column of a batch: its name, what the source declares, and what the reader delivered."""

    column: Column
    name: str
    dtype: pl.DataType

    @property
    def expr(self) -> pl.Expr:
        return pl.col(self.name)

    @property
    def instant(self) -> bool:
        zoned = isinstance(self.dtype, pl.Datetime) and self.dtype.time_zone is not None
        return zoned or self.column.kind is Kind.TIMESTAMPTZ


def convert(source: Source, target: FieldType, zone: str, *, reference: bool = False) -> Conversion:
    """Return the conversion of a source column to a field's type."""
    match target:
        case FieldType.TEXT:
            return _to_text(source, reference=reference)
        case FieldType.TIMESTAMP:
            return _to_timestamp(source, zone)
        case FieldType.DATE:
            return _to_date(source, zone)
        case FieldType.DECIMAL:
            return _to_decimal(source)
        case FieldType.INTEGER:
            return _to_integer(source)
        case FieldType.BOOLEAN:
            return _to_boolean(source)
        case FieldType.JSON:
            return _to_json(source)


def keep(source: Source) -> Conversion:
    """Return a custom attribute: integers, floats and booleans stay, everything else is text, blanks and all."""
    if source.dtype in (pl.Float32, pl.Float64):
        # Through text: the nearest double of a 4-byte float's shortest decimal is what the other readers deliver.
        text = source.expr.cast(pl.String) if source.dtype == pl.Float32 else source.expr
        return Conversion(text.cast(pl.Float64))
    if source.dtype in (pl.UInt64, pl.Boolean):
        return Conversion(source.expr)
    if source.dtype.is_integer():
        return Conversion(source.expr.cast(pl.Int64))
    return keep_text(source)


def keep_text(source: Source) -> Conversion:
    """Return a column's own text as a custom attribute, blanks and all."""
    return as_text(source).then(_unpadded) if source.column.padded else as_text(source)


def as_text(source: Source) -> Conversion:
    """Return a column as the database would write it, the same for a typed and a text reader."""
    column, dtype, kind = source.expr, source.dtype, source.column.kind
    if dtype == pl.String:
        if kind in (Kind.DECIMAL, Kind.FLOAT):
            return _number_text(column)
        if kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
            return _instant_text(column) if source.instant else Conversion(times.timestamp_text(column, instant=False))
        return Conversion(column)
    if dtype.is_float() or dtype.is_decimal():
        return _number_text(column.cast(pl.String))
    if dtype.is_temporal() and dtype != pl.Duration:
        return Conversion(times.typed_text(column, dtype, instant=source.instant))
    if dtype == pl.Binary:
        return Conversion(column.bin.encode("hex"))
    if dtype.is_nested() or dtype in (pl.Duration, pl.Object):
        raise TypeError(f"a reader delivered {dtype} for column {source.name}; it must deliver text")
    return Conversion(column.cast(pl.String))


def _number_text(text: pl.Expr) -> Conversion:
    def exact(given: pl.Series) -> Exact:
        # NaN and infinities stay as they are written: a text field or custom attribute can hold them.
        texts = given.cast(pl.String)
        decimals = numbers.exact_decimal(texts)
        return Exact(decimals.zip_with(decimals.is_not_null(), texts), _no_rules(given))

    return Conversion(numbers.plain_decimal(text), exact)


def _instant_text(text: pl.Expr) -> Conversion:
    def exact(given: pl.Series) -> Exact:
        texts = given.to_frame("text").select(times.timestamp_text(pl.col("text"), instant=True)).to_series()
        return Exact(texts, _no_rules(given))

    return Conversion(times.plain_instant_text(text), exact)


def _unpadded(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars_end(" ")


def _to_text(source: Source, *, reference: bool) -> Conversion:
    text = as_text(source)
    if not reference:
        text = text.then(lambda value: value.str.strip_chars())
    elif source.column.padded:
        text = text.then(_unpadded)
    # Not when/then, which would convert the value twice.
    return text.then(lambda value: value.replace("", None))


def _no_rules(given: pl.Series) -> pl.Series:
    return pl.repeat(None, given.len(), dtype=pl.String, eager=True)


def _judged(given: pl.Series, values: pl.Series, rule: str, too_fine: pl.Series | None = None) -> Exact:
    """Refuse under `rule` what has no value, except empty texts."""
    broken = values.is_null()
    if given.dtype == pl.String:
        broken &= given.str.strip_chars() != ""
    rules = pl.select(pl.when(broken).then(pl.lit(rule))).to_series()
    if too_fine is not None:
        rules = rules.set(too_fine, "finer_than_microseconds")
    return Exact(values, rules)


def _judged_date(given: pl.Series, values: pl.Series, rule: str, too_fine: pl.Series | None = None) -> Exact:
    read = _judged(given, values, rule, too_fine)
    if given.dtype != pl.String:
        return read
    return Exact(read.values, read.rules.set(times.zero_dates(given), ZERO_DATE))


def _refused(dtype: pl.DataType, rule: str) -> Conversion:
    def exact(given: pl.Series) -> Exact:
        return _judged(given, pl.repeat(None, given.len(), dtype=dtype, eager=True), rule)

    return Conversion(pl.repeat(None, pl.len(), dtype=dtype), exact)


def _to_timestamp(source: Source, zone: str) -> Conversion:
    column, dtype, instant = source.expr, source.dtype, source.instant

    def exact(given: pl.Series) -> Exact:
        if isinstance(dtype, pl.Datetime):
            values, too_fine = times.exact_typed_timestamp(given, dtype, zone, instant=instant)
        elif dtype == pl.Date:
            values, too_fine = times.exact_midnight(given, zone), None
        else:
            values, too_fine = times.exact_timestamp(given, zone, instant=instant)
        return _judged_date(given, values, "not_a_timestamp", too_fine)

    if isinstance(dtype, pl.Datetime):
        return Conversion(times.plain_typed_timestamp(column, dtype, zone, instant=instant), exact)
    if dtype == pl.Date:
        return Conversion(times.plain_midnight(column, zone), exact)
    if dtype == pl.String:
        return Conversion(times.plain_timestamp(column, zone, instant=instant), exact)
    return _refused(pl.Datetime("us", "UTC"), "not_a_timestamp")


def _to_date(source: Source, zone: str) -> Conversion:
    column, dtype, instant = source.expr, source.dtype, source.instant

    def exact(given: pl.Series) -> Exact:
        if dtype == pl.String:
            values = times.exact_date(given, zone, instant=instant)
        else:  # the plain expression knows for sure
            values = pl.repeat(None, given.len(), dtype=pl.Date, eager=True)
        return _judged_date(given, values, "not_a_date")

    if isinstance(dtype, pl.Datetime):
        return Conversion(times.typed_date(column, dtype, zone, instant=instant), exact)
    if dtype == pl.Date:
        return Conversion(times.date_in_range(column), exact)
    if dtype == pl.String:
        return Conversion(times.plain_date(column), exact)
    return _refused(pl.Date(), "not_a_date")


def _to_decimal(source: Source) -> Conversion:
    def exact(given: pl.Series) -> Exact:
        return _judged(given, numbers.exact_decimal(given.cast(pl.String)), "not_a_decimal")

    if source.dtype.is_integer():
        return Conversion(source.expr.cast(pl.String))
    if source.dtype == pl.String or source.dtype.is_numeric():
        return Conversion(numbers.plain_decimal(source.expr.cast(pl.String)), exact)
    return _refused(pl.String(), "not_a_decimal")


def _to_integer(source: Source) -> Conversion:
    def exact(given: pl.Series) -> Exact:
        return _judged(given, numbers.exact_integer(given.cast(pl.String)), "not_an_integer")

    if source.dtype.is_integer():
        return Conversion(source.expr.cast(pl.Int64, strict=False), exact)
    if source.dtype == pl.String or source.dtype.is_numeric():
        return Conversion(numbers.plain_integer(source.expr.cast(pl.String)), exact)
    return _refused(pl.Int64(), "not_an_integer")


def _to_boolean(source: Source) -> Conversion:
    is_number = source.column.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT) or source.dtype != pl.String

    def exact(given: pl.Series) -> Exact:
        texts = given.cast(pl.String)
        if is_number:
            decimals = numbers.exact_decimal(texts)
            texts = decimals.zip_with(decimals.is_not_null(), texts)
        words = texts.str.strip_chars().str.to_lowercase()
        return _judged(given, words.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean), "not_a_boolean")

    if source.dtype == pl.Boolean:
        return Conversion(source.expr)
    if source.dtype == pl.String or source.dtype.is_numeric():
        words = source.expr.cast(pl.String).str.to_lowercase()
        return Conversion(words.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean), exact)
    return _refused(pl.Boolean(), "not_a_boolean")


def _to_json(source: Source) -> Conversion:
    if source.dtype == pl.Binary or source.dtype.is_temporal():
        return _refused(pl.String(), "not_json")
    text = as_text(source).then(_parsed)
    read = text.exact

    def exact(given: pl.Series) -> Exact:
        # Without an exact reading of the text, the plain expression knows for sure that it doesn't parse.
        values = pl.repeat(None, given.len(), dtype=pl.String, eager=True) if read is None else read(given).values
        if given.dtype == pl.String:
            given = given.set(given.str.strip_chars() == "null", "")  # JSON's null is no value
        return _judged(given, values, "not_json")

    return Conversion(text.plain, exact)


def _parsed(text: pl.Expr) -> pl.Expr:
    text = text.str.strip_chars()
    return pl.when(text.str.json_path_match("$").is_not_null()).then(text)


def raw_json(source: Source) -> pl.Expr:
    """Return a column for a JSON text: integers and booleans as such, bytes as hex, everything else as text."""
    dtype = source.dtype
    if dtype.is_integer() or dtype in (pl.Boolean, pl.String):
        return source.expr
    if dtype.is_float() or dtype.is_decimal():
        return source.expr.cast(pl.String)  # as a JSON number, NaN would become null
    return as_text(source).plain
