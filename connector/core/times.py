"""Timestamps and dates, from the database's own text or from typed columns, to UTC microseconds.

Rules, the same for both forms:

- A value with an offset, or of a column that holds instants, is that instant.
- Any other value means the stream's time zone. In the autumn hour that happens twice it is the first of the two; in
  the spring hour that never happens it is moved forward by the gap, as if the clock had not been changed yet.
- A date given for a timestamp is its midnight. A timestamp given for a date is its local date; the time is dropped.
- Years 0001 to 9999, before and after conversion to UTC. Infinities and BC are refused, not bent.
- A date with a zero for its year, month or day is no date, and told apart (`zero_dates`): sources mean "unknown" by it.
- Digits finer than a microsecond are refused unless they are zeros.

As in `numbers.py`, `plain_*` are expressions for the usual shapes, and `exact_*` are called with the rest.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl

_SECONDS = "%Y-%m-%d %H:%M:%S"
_DAY = timedelta(days=1)  # no clock was ever moved by more

_LOW, _HIGH = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001 - compared with naive ones
_MS_LOW, _MS_HIGH = -62_135_596_800_000, 253_402_300_799_999  # the same in milliseconds since 1970

# The plain expressions leave the first and last centuries alone: no zone can move their values out of the range.
_PLAIN_LOW, _PLAIN_HIGH = datetime(1000, 1, 2), datetime(9899, 12, 31)  # noqa: DTZ001 - the same

# The parser behind polars takes single digits, signs and a 60th second, so every shape is checked first.
_PLAIN_YEAR = "(?:[1-8][0-9]{3}|9[0-8][0-9]{2})"
_PLAIN_TIME = rf"^{_PLAIN_YEAR}-[0-9]{{2}}-[0-9]{{2}} [0-9]{{2}}:[0-9]{{2}}:[0-5][0-9](?:\.[0-9]{{1,6}})?"
_PLAIN = rf"{_PLAIN_TIME}$"
_PLAIN_INSTANT = rf"{_PLAIN_TIME}(?:\+00)?$"
_PLAIN_DATE = rf"^{_PLAIN_YEAR}-[0-9]{{2}}-[0-9]{{2}}$"
_WHOLE_SECONDS = "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"
_CLOCK = r"(?:[ T]([0-9]{2}:[0-9]{2})(?::([0-5][0-9])(?:\.([0-9]+))?)? ?(Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
_ANY = rf"^([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}){_CLOCK}$"
_ZERO = rf"^[0-9]{{4}}-(?:0[0-9]|1[0-2])-(?:[0-2][0-9]|3[01]){_CLOCK}$"
_PARTS = ["day", "clock", "second", "fraction", "offset"]
# No zone was ever further from UTC; a larger "offset" is something else.
_MAX_OFFSET_MIN = 16 * 60


def plain_timestamp(text: pl.Expr, zone: str, *, instant: bool) -> pl.Expr:
    """Return the UTC timestamp of `yyyy-mm-dd hh:mm:ss[.ffffff]`, with `+00` too when `instant`, else null."""
    known, fraction = text.str.contains(_PLAIN), text.str.slice(20)
    if instant:
        known, fraction = text.str.contains(_PLAIN_INSTANT), fraction.str.strip_suffix("+00")
    whole = pl.when(known).then(text.str.slice(0, 19))
    seconds = whole.str.to_datetime(_SECONDS, time_unit="us", strict=False, cache=False)
    micros = fraction.str.pad_end(6, "0").cast(pl.Int64, strict=False)
    return _to_utc((seconds.to_physical() + micros).cast(pl.Datetime("us")), "UTC" if instant else zone)


def exact_timestamp(texts: pl.Series, zone: str, *, instant: bool) -> tuple[pl.Series, pl.Series]:
    """Return the UTC timestamp of every accepted text, and which are refused for being too fine."""
    read = _read(texts)
    values = _exact_utc(read["naive"], "UTC" if instant else zone)
    values = values.zip_with(read["offset"].is_null(), read["instant"])
    too_fine = read["too_fine"] & values.is_not_null()
    return values.set(too_fine, None), too_fine


def plain_typed_timestamp(column: pl.Expr, dtype: pl.Datetime, zone: str, *, instant: bool) -> pl.Expr:
    """Return the UTC timestamp of a datetime column, null in a gap, near the ends of the range, or too fine."""
    naive = _naive_us(column, dtype)
    usual = naive.is_between(_PLAIN_LOW, _PLAIN_HIGH)
    if dtype.time_unit == "ns":
        usual &= column.to_physical() % 1_000 == 0
    return _to_utc(pl.when(usual).then(naive), "UTC" if instant else zone)


def exact_typed_timestamp(
    values: pl.Series, dtype: pl.Datetime, zone: str, *, instant: bool
) -> tuple[pl.Series, pl.Series]:
    """Return the UTC timestamp of datetimes, and which are refused for being too fine."""
    naive = values.to_frame("at").select(_naive_us(pl.col("at"), dtype)).to_series()
    too_fine = (values.to_physical() % 1_000 != 0) & (dtype.time_unit == "ns")
    return _exact_utc(naive, "UTC" if instant else zone).set(too_fine, None), too_fine


def plain_midnight(column: pl.Expr, zone: str) -> pl.Expr:
    """Return the UTC timestamp of a date's local midnight, null where the clock skipped it and near the ends."""
    return plain_typed_timestamp(column.cast(pl.Datetime("us")), pl.Datetime("us"), zone, instant=False)


def exact_midnight(days: pl.Series, zone: str) -> pl.Series:
    """Return the UTC timestamp of dates' local midnights; where the clock skipped it, moved forward by the gap."""
    frame = days.to_frame("day").select(date_in_range(pl.col("day")))
    return _exact_utc(frame["day"].cast(pl.Datetime("us")), zone)


def plain_date(text: pl.Expr) -> pl.Expr:
    """Return the date of `yyyy-mm-dd`, else null."""
    return pl.when(text.str.contains(_PLAIN_DATE)).then(text).str.to_date("%Y-%m-%d", strict=False, cache=False)


def exact_date(texts: pl.Series, zone: str, *, instant: bool) -> pl.Series:
    """Return the date of every accepted text, an instant's in the stream's time zone, null for any other text."""
    read = _read(texts)
    instants = read["instant"]
    if instant:
        instants = instants.zip_with(read["offset"].is_not_null(), _exact_utc(read["naive"], "UTC"))
    local = instants.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    zoned = read["timed"] & (read["offset"].is_not_null() | instant)
    days = local.zip_with(zoned, read["naive"]).dt.date()
    return days.to_frame("day").select(date_in_range(pl.col("day"))).to_series()


def typed_date(column: pl.Expr, dtype: pl.Datetime, zone: str, *, instant: bool) -> pl.Expr:
    """Return the local date of a datetime column, null out of range."""
    naive = _in_range(_naive_us(column, dtype))
    if instant:
        naive = _in_range(naive.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.replace_time_zone(None))
    return naive.dt.date()


def date_in_range(column: pl.Expr) -> pl.Expr:
    """Return the date, null outside years 0001 to 9999."""
    return pl.when(column.is_between(date.min, date.max)).then(column)


def zero_dates(texts: pl.Series) -> pl.Series:
    """Say which texts are a date with a zero for its year, month or day, with a time or without."""
    text = pl.col("text").str.strip_chars()
    parts = (text.str.slice(0, 4) == "0000", text.str.slice(5, 2) == "00", text.str.slice(8, 2) == "00")
    return texts.to_frame("text").select(text.str.contains(_ZERO) & pl.any_horizontal(parts)).to_series()


def plain_instant_text(text: pl.Expr) -> pl.Expr:
    """Return what `timestamp_text` makes of an instant's text that lacks at most the offset, else null."""
    as_it_is = text.str.ends_with("+00") & ~text.str.contains(r"\.[0-9]*0\+00$")
    return pl.when(as_it_is).then(text).when(text.str.contains(_WHOLE_SECONDS)).then(text + "+00")


def timestamp_text(text: pl.Expr, *, instant: bool) -> pl.Expr:
    """Drop from a timestamp's text what a typed column can't carry: zeros at the end, the spelling of offset zero."""
    if instant:
        return text.str.replace(r"(:[0-9]{2})(?:\.0+|(\.[0-9]*[1-9])0*)?(?:Z|[+-]00(?::?00)?)?$", "${1}${2}+00")
    zeros = text.str.contains(r":[0-9]{2}\.[0-9]*0$")  # a replace with groups costs two to four times as much
    return pl.when(zeros).then(text.str.strip_chars_end("0").str.strip_chars_end(".")).otherwise(text)


def typed_text(column: pl.Expr, dtype: pl.DataType, *, instant: bool) -> pl.Expr:
    """Write a date, time or datetime as the database would."""
    if isinstance(dtype, pl.Datetime):
        naive = column.to_physical().cast(pl.Datetime(dtype.time_unit))
        naive = pl.when(_naive_us(column, dtype).is_between(_LOW, _HIGH)).then(naive)
        text = timestamp_text(naive.dt.to_string(f"{_SECONDS}%.f"), instant=instant)
        # Readers give other years as text; should one not, keep the value rather than lose it.
        return pl.coalesce(text, column.to_physical().cast(pl.String))
    if isinstance(dtype, pl.Time):
        return timestamp_text(column.dt.to_string("%H:%M:%S%.f"), instant=False)
    return column.dt.to_string("%Y-%m-%d").str.strip_prefix("+")


def _read(texts: pl.Series) -> pl.DataFrame:
    """Return for every text `naive` (as written, without the offset), `timed`, `too_fine`, `offset` and `instant`."""
    hour = pl.col("offset").str.slice(1, 2).cast(pl.Int64, strict=False)
    minute = pl.col("offset").str.slice(3).str.strip_prefix(":").cast(pl.Int64, strict=False).fill_null(0)
    ahead = pl.when(pl.col("offset").is_in(["Z", "UTC"])).then(0).otherwise(hour * 60 + minute)
    behind = pl.col("offset").str.starts_with("-")
    whole = pl.concat_str(
        "day",
        pl.lit(" "),
        pl.col("clock").fill_null("00:00"),
        pl.lit(":"),
        pl.col("second").fill_null("00"),
    )
    read = (
        texts.to_frame("text")
        .select(pl.col("text").str.strip_chars().str.extract_groups(_ANY).struct.rename_fields(_PARTS))
        .unnest("text")
        .with_columns(
            seconds=whole.str.to_datetime(_SECONDS, time_unit="us", strict=False),
            fraction=pl.col("fraction").fill_null("").str.pad_end(6, "0"),
            minutes=pl.when(behind).then(-ahead).otherwise(ahead),
        )
        .with_columns(
            naive=pl.col("seconds").to_physical() + pl.col("fraction").str.slice(0, 6).cast(pl.Int64),
        )
    )
    known = pl.col("minutes").abs() <= _MAX_OFFSET_MIN
    instant = pl.when(known).then(pl.col("naive") - pl.col("minutes") * 60_000_000).cast(pl.Datetime("us"))
    return read.select(
        pl.col("naive").cast(pl.Datetime("us")),
        "offset",
        timed=pl.col("clock").is_not_null(),
        too_fine=pl.col("fraction").str.slice(6).str.strip_chars("0") != "",
        instant=_in_range(instant).dt.replace_time_zone("UTC"),
    )


def _naive_us(column: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    physical = column.to_physical()  # a zoned column's is UTC
    if dtype.time_unit == "ms":
        physical = pl.when(physical.is_between(_MS_LOW, _MS_HIGH)).then(physical)
    return physical.cast(pl.Datetime(dtype.time_unit)).dt.cast_time_unit("us")


def _in_range(naive: pl.Expr) -> pl.Expr:
    # Before any zone conversion: polars panics on values that its calendar can't hold.
    return pl.when(naive.is_between(_LOW, _HIGH)).then(naive)


def _to_utc(naive: pl.Expr, zone: str) -> pl.Expr:
    if zone == "UTC":
        return naive.dt.replace_time_zone("UTC")
    return naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _exact_utc(naive: pl.Series, zone: str) -> pl.Series:
    # Where the wall time doesn't exist, the same a day earlier does, and has the offset from before the gap.
    return (
        naive.to_frame("at")
        .select(_in_range(pl.col("at")))
        .with_columns(utc=_to_utc(pl.col("at"), zone), earlier=_to_utc(pl.col("at") - _DAY, zone))
        .select(pl.coalesce(pl.col("utc"), pl.col("earlier") + _DAY).dt.replace_time_zone(None).alias("at"))
        .select(_in_range(pl.col("at")).dt.replace_time_zone("UTC"))
        .to_series()
    )
