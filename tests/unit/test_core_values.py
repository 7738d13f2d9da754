"""What the core makes of one value of one column: its type, or the rule that it breaks."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from connector.core.entity import Context, Entity, EntityField, FieldType, Parent
from connector.core.validate import CUSTOM, plan
from connector.model import Column, Kind

KYIV = "Europe/Kyiv"


def entity(type_: FieldType, **options: Any) -> Entity:
    return Entity("thing", (EntityField("value", type_, **options),), (), load_order=1, rules=1)


def judge(
    value: Any,
    type_: FieldType,
    kind: Kind = Kind.TEXT,
    *,
    dtype: pl.DataType | None = None,
    zone: str = "UTC",
    of: Entity | None = None,
    padded: bool = False,
    field: str = "value",
) -> tuple[Any, str | None]:
    """Return the converted value and the rule it broke."""
    rows = pl.DataFrame({field: pl.Series([value], dtype=dtype)})
    known = of or entity(type_)
    column = Column(field, kind, "native", padded=padded)
    judged = plan(known, Context(zone, 2026), ((field, column),), tuple(rows.schema.items())).run(rows)
    rule = judged.reasons["rule"][0] if judged.reasons.height else None
    return judged.records.to_series()[0], rule


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # year, month, day and so on


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2024-03-01 12:34:56", utc(2024, 3, 1, 12, 34, 56)),
        ("2024-03-01 12:34:56.5", utc(2024, 3, 1, 12, 34, 56, 500_000)),
        ("2024-03-01 12:34:56.123456", utc(2024, 3, 1, 12, 34, 56, 123_456)),
        ("2024-03-01 12:34:56.1234560", utc(2024, 3, 1, 12, 34, 56, 123_456)),
        ("2024-03-01T12:34:56", utc(2024, 3, 1, 12, 34, 56)),
        ("2024-03-01 12:34", utc(2024, 3, 1, 12, 34)),
        ("2024-03-01", utc(2024, 3, 1)),
        ("  2024-03-01 12:34:56 ", utc(2024, 3, 1, 12, 34, 56)),
        ("2024-03-01T12:34:56Z", utc(2024, 3, 1, 12, 34, 56)),
        ("2024-03-01 12:34:56+02", utc(2024, 3, 1, 10, 34, 56)),
        ("2024-03-01 12:34:56.25-05:30", utc(2024, 3, 1, 18, 4, 56, 250_000)),
        ("2024-03-01 12:34:56 +0200", utc(2024, 3, 1, 10, 34, 56)),
        ("0001-01-01 00:00:00", utc(1, 1, 1)),
        ("9999-12-31 23:59:59.999999", utc(9999, 12, 31, 23, 59, 59, 999_999)),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
def test_a_timestamp_is_read_to_the_microsecond(text: str | None, expected: datetime | None) -> None:
    assert judge(text, FieldType.TIMESTAMP, dtype=pl.String()) == (expected, None)


@pytest.mark.parametrize(
    "text",
    [
        "2024-13-00 00:00:00",
        "2024-00-32",
        "00-00-00 00:00:00",
        "0000-00-00 BC",
        "2024-02-30 00:00:00",
        "2023-02-29",
        "20000-01-01 00:00:00",
        "0044-03-15 00:00:00 BC",
        "infinity",
        "-infinity",
        "2024-03-01 24:00:00",
        "2024-03-01 12:60:00",
        "2016-12-31 23:59:60",
        "2024-3-1 1:2:3",
        "+2024-03-01 12:00:0",
        "٢٠٢٤-03-01 12:34:56",
        "20240301",
        "1709296496",
        "2024-03-01 12:34:56+99",
        "2024-03-01 12:34:56 Europe/Kyiv",
        "01.03.2024",
        "soon",
    ],
)
def test_what_is_no_timestamp_is_refused_rather_than_bent(text: str) -> None:
    assert judge(text, FieldType.TIMESTAMP) == (None, "not_a_timestamp")
    assert judge(text, FieldType.TIMESTAMP, Kind.TIMESTAMP, zone=KYIV) == (None, "not_a_timestamp")


@pytest.mark.parametrize("day", ["0000-00-00", "2024-00-00", "2024-02-00", "2024-00-31", "0000-05-17"])
@pytest.mark.parametrize(
    "clock",
    [
        "",
        " 00:00:00",
        "T00:00:00",
        " 12:34:56.123456",
        " 00:00:00.0000000",
        " 00:00:00+00",
        " 00:00:00.5 -05:30",
        " 0:0",
    ],
)
def test_a_date_with_a_zero_part_is_told_apart(day: str, clock: str) -> None:
    told = clock != " 0:0"
    for type_, kind in itertools.product((FieldType.DATE, FieldType.TIMESTAMP), (Kind.TEXT, Kind.TIMESTAMPTZ)):
        expected = (None, "zero_date" if told else f"not_a_{type_}")
        assert judge(day + clock, type_, kind, zone=KYIV) == expected
        assert judge(f"  {day}{clock} ", type_, kind, zone=KYIV) == expected


@pytest.mark.parametrize("zone", ["UTC", KYIV])
def test_digits_finer_than_a_microsecond_are_refused_rather_than_cut(zone: str) -> None:
    assert judge("2024-03-01 12:34:56.1234567", FieldType.TIMESTAMP, zone=zone) == (None, "finer_than_microseconds")
    typed = pl.Series([1_709_296_496_123_456_700]).cast(pl.Datetime("ns"))[0:1]
    rows = pl.DataFrame({"value": typed})
    known = entity(FieldType.TIMESTAMP)
    columns = (("value", Column("value", Kind.TIMESTAMP, "")),)
    judged = plan(known, Context(zone, 2026), columns, tuple(rows.schema.items())).run(rows)
    assert judged.reasons["rule"].to_list() == ["finer_than_microseconds"]


@pytest.mark.parametrize(
    "local, expected",
    [
        ("2024-03-31 02:59:59", utc(2024, 3, 31, 0, 59, 59)),
        ("2024-03-31 03:00:00", utc(2024, 3, 31, 1, 0)),  # doesn't exist: 04:00 summer time
        ("2024-03-31 03:30:00", utc(2024, 3, 31, 1, 30)),  # doesn't exist: 04:30 summer time
        ("2024-03-31 04:00:00", utc(2024, 3, 31, 1, 0)),
        ("2024-10-27 02:59:59", utc(2024, 10, 26, 23, 59, 59)),
        ("2024-10-27 03:30:00", utc(2024, 10, 27, 0, 30)),  # happens twice: the first, still summer time
        ("2024-10-27 04:00:00", utc(2024, 10, 27, 2, 0)),
    ],
)
def test_the_nights_of_a_clock_change_have_one_answer(local: str, expected: datetime) -> None:
    text = judge(local, FieldType.TIMESTAMP, Kind.TIMESTAMP, zone=KYIV)
    typed = judge(datetime.fromisoformat(local), FieldType.TIMESTAMP, Kind.TIMESTAMP, zone=KYIV)
    assert text == typed == (expected, None)


def test_a_day_that_a_zone_skipped_moves_to_the_next() -> None:
    skipped = judge("2011-12-30 12:00:00", FieldType.TIMESTAMP, zone="Pacific/Apia")
    assert skipped == judge("2011-12-31 12:00:00", FieldType.TIMESTAMP, zone="Pacific/Apia")


def test_an_instant_ignores_the_streams_zone() -> None:
    expected = (utc(2024, 3, 31, 3, 30, 0, 120_000), None)
    for text in ("2024-03-31 03:30:00.12+00", "2024-03-31 03:30:00.120000", "2024-03-31 05:30:00.12+02:00"):
        assert judge(text, FieldType.TIMESTAMP, Kind.TIMESTAMPTZ, zone=KYIV) == expected
    assert judge(utc(2024, 3, 31, 3, 30, 0, 120_000), FieldType.TIMESTAMP, Kind.TIMESTAMPTZ, zone=KYIV) == expected


def test_the_conversion_to_utc_may_not_leave_the_calendar() -> None:
    for kyiv in ("0001-01-01 00:00:00", datetime.fromisoformat("0001-01-01")):
        assert judge(kyiv, FieldType.TIMESTAMP, Kind.TIMESTAMP, zone=KYIV) == (None, "not_a_timestamp")
    lima = judge("9999-12-31 23:00:00", FieldType.TIMESTAMP, Kind.TIMESTAMP, zone="America/Lima")
    assert lima == (None, "not_a_timestamp")


@pytest.mark.parametrize("physical", [2**63 - 1, -(2**63) + 1, -62_167_219_200_000_000])
@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("type_", [FieldType.TIMESTAMP, FieldType.DATE])
def test_typed_values_beyond_the_calendar_are_refused(physical: int, unit: Any, type_: FieldType) -> None:
    rows = pl.DataFrame({"value": pl.Series([physical]).cast(pl.Datetime(unit))})
    columns = (("value", Column("value", Kind.TIMESTAMP, "")),)
    judged = plan(entity(type_), Context(KYIV, 2026), columns, tuple(rows.schema.items())).run(rows)
    assert judged.reasons["rule"].to_list() == [f"not_a_{type_}"]


def test_a_date_given_for_a_timestamp_is_its_local_midnight() -> None:
    expected = (utc(2024, 7, 1, 21, 0), None)
    assert judge("2024-07-02", FieldType.TIMESTAMP, Kind.DATE, zone=KYIV) == expected
    assert judge(date(2024, 7, 2), FieldType.TIMESTAMP, Kind.DATE, zone=KYIV) == expected
    beirut = judge(date(2024, 3, 31), FieldType.TIMESTAMP, Kind.DATE, zone="Asia/Beirut")  # no midnight that day
    assert beirut == (utc(2024, 3, 30, 22, 0), None)


@pytest.mark.parametrize(
    "value, kind, expected",
    [
        ("2024-02-29", Kind.DATE, date(2024, 2, 29)),
        (date(2024, 2, 29), Kind.DATE, date(2024, 2, 29)),
        ("2024-02-29 00:00:00", Kind.TIMESTAMP, date(2024, 2, 29)),
        ("2024-02-29 23:59:59.9", Kind.TIMESTAMP, date(2024, 2, 29)),
        (datetime.fromisoformat("2024-02-29 23:59:59"), Kind.TIMESTAMP, date(2024, 2, 29)),
        ("2024-02-29 22:30:00+00", Kind.TIMESTAMPTZ, date(2024, 3, 1)),
        ("2024-02-29 22:30:00", Kind.TIMESTAMPTZ, date(2024, 3, 1)),
        (utc(2024, 2, 29, 22, 30), Kind.TIMESTAMPTZ, date(2024, 3, 1)),
        ("2024-02-29T22:30:00Z", Kind.TEXT, date(2024, 3, 1)),
        ("", Kind.TEXT, None),
    ],
)
def test_a_date_is_the_local_one(value: Any, kind: Kind, expected: date | None) -> None:
    assert judge(value, FieldType.DATE, kind, zone=KYIV) == (expected, None)


@pytest.mark.parametrize("text", ["2024-13-00", "2024-02-30", "20240229", "2024-02-29 25:00:00", "0044-03-15 BC", "x"])
def test_what_is_no_date_is_refused(text: str) -> None:
    assert judge(text, FieldType.DATE) == (None, "not_a_date")


@pytest.mark.parametrize(
    "value, expected",
    [
        ("12.50", "12.5"),
        ("12.00", "12"),
        ("+0012.50", "12.5"),
        ("-0.00", "0"),
        ("-0.50", "-0.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("100", "100"),
        ("0", "0"),
        (" 7 ", "7"),
        ("1.5e3", "1500"),
        ("-12E-4", "-0.0012"),
        ("0e400", "0"),
        ("99999999999999999999999999999999999999.99", "99999999999999999999999999999999999999.99"),
        (Decimal("12.50"), "12.5"),
        (Decimal("-0.00"), "0"),
        (12.5, "12.5"),
        (-0.0, "0"),
        (1e22, "10000000000000000000000"),
        (1e-7, "0.0000001"),
        (0.1, "0.1"),
        (12, "12"),
        ("", None),
    ],
)
def test_a_decimal_has_one_spelling(value: Any, expected: str | None) -> None:
    assert judge(value, FieldType.DECIMAL, Kind.DECIMAL) == (expected, None)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "1,5", "1 000", "1e999", "1e400000", ".", "-", "٥", "0x10", float("nan"), float("inf")]
)
def test_what_is_no_decimal_is_refused(value: Any) -> None:
    assert judge(value, FieldType.DECIMAL) == (None, "not_a_decimal")


@pytest.mark.parametrize(
    "value, expected",
    [
        ("12", 12),
        ("12.0", 12),
        ("-0", 0),
        ("007", 7),
        ("1e3", 1000),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("", None),
        (12.0, 12),
        (Decimal("12.00"), 12),
        (12, 12),
    ],
)
def test_an_integer_is_a_number_without_a_fraction(value: Any, expected: int | None) -> None:
    assert judge(value, FieldType.INTEGER) == (expected, None)


@pytest.mark.parametrize("value", ["12.5", "9223372036854775808", "x", 12.5, 1e19, True, b"1"])
def test_what_is_no_64_bit_integer_is_refused(value: Any) -> None:
    assert judge(value, FieldType.INTEGER, Kind.BYTES if isinstance(value, bytes) else Kind.TEXT) == (
        None,
        "not_an_integer",
    )


def test_an_unsigned_integer_that_does_not_fit_is_refused() -> None:
    assert judge(2**63, FieldType.INTEGER, dtype=pl.UInt64()) == (None, "not_an_integer")
    assert judge(2**63 - 1, FieldType.INTEGER, dtype=pl.UInt64()) == (2**63 - 1, None)


@pytest.mark.parametrize(
    "value, expected",
    [(word, True) for word in (True, "true", "T", "Y", " yes ", "1", 1, 1.0, Decimal("1.0"))]
    + [(word, False) for word in (False, "FALSE", "f", "n", "no", "0", 0, 0.0)]
    + [("", None)],
)
def test_a_boolean_has_many_spellings(value: Any, expected: bool | None) -> None:
    assert judge(value, FieldType.BOOLEAN) == (expected, None)


@pytest.mark.parametrize("text, expected", [("1.000", True), ("-0.00", False), ("1.5", None), ("NaN", None)])
def test_a_numeric_columns_text_is_a_boolean_by_its_value(text: str, expected: bool | None) -> None:
    refused = (None, "not_a_boolean")
    for kind in Kind:
        numeric = kind in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT) and expected is not None
        assert judge(text, FieldType.BOOLEAN, kind) == ((expected, None) if numeric else refused)


@pytest.mark.parametrize("value", ["2", 2, "ja", 0.5, b"1"])
def test_what_is_no_boolean_is_refused(value: Any) -> None:
    assert judge(value, FieldType.BOOLEAN, Kind.BYTES if isinstance(value, bytes) else Kind.TEXT) == (
        None,
        "not_a_boolean",
    )


@pytest.mark.parametrize("text", ['{"a": [1, null]}', "[]", '"x"', "12", "[null]", "true"])
def test_json_is_kept_as_it_is_written(text: str) -> None:
    assert judge(f" {text} ", FieldType.JSON) == (text, None)


@pytest.mark.parametrize("text", ["null", " null", ""])
def test_null_of_json_is_null(text: str) -> None:
    assert judge(text, FieldType.JSON) == (None, None)


@pytest.mark.parametrize("value", ['{"a":', "x", "{'a': 1}", "NaN", "[" * 200 + "]" * 200, b"{}", date(2024, 1, 1)])
def test_what_does_not_parse_as_json_is_refused(value: Any) -> None:
    assert judge(value, FieldType.JSON, Kind.BYTES if isinstance(value, bytes) else Kind.TEXT) == (None, "not_json")


@pytest.mark.parametrize(
    "value, kind, expected",
    [
        ("  Ann \n", Kind.TEXT, "Ann"),
        ("", Kind.TEXT, None),
        (" \t ", Kind.TEXT, None),
        ("a\x00b", Kind.TEXT, "a\x00b"),
        (7, Kind.INTEGER, "7"),
        ("18446744073709551616", Kind.INTEGER, "18446744073709551616"),
        ("1.50", Kind.DECIMAL, "1.5"),
        ("-0.50", Kind.DECIMAL, "-0.5"),
        ("NaN", Kind.DECIMAL, "NaN"),
        (Decimal("1.50"), Kind.DECIMAL, "1.5"),
        (1e22, Kind.FLOAT, "10000000000000000000000"),
        (float("nan"), Kind.FLOAT, "NaN"),
        (True, Kind.BOOLEAN, "true"),
        (b"\x00\xff", Kind.BYTES, "00ff"),
        ("2024-03-01 12:34:56.500000", Kind.TIMESTAMP, "2024-03-01 12:34:56.5"),
        ("2024-03-01 12:34:50.000000", Kind.TIMESTAMP, "2024-03-01 12:34:50"),
        (datetime.fromisoformat("2024-03-01 12:34:56.5"), Kind.TIMESTAMP, "2024-03-01 12:34:56.5"),
        ("2024-03-01 12:34:50.120+00", Kind.TIMESTAMPTZ, "2024-03-01 12:34:50.12+00"),
        ("2024-03-01 12:34:50", Kind.TIMESTAMPTZ, "2024-03-01 12:34:50+00"),
        (utc(2024, 3, 1, 12, 34, 50), Kind.TIMESTAMPTZ, "2024-03-01 12:34:50+00"),
        ("infinity", Kind.TIMESTAMP, "infinity"),
        (date(24, 3, 1), Kind.DATE, "0024-03-01"),
    ],
)
def test_text_is_what_the_database_writes(value: Any, kind: Kind, expected: str | None) -> None:
    assert judge(value, FieldType.TEXT, kind) == (expected, None)


def test_references_keep_their_blanks_unless_the_column_is_padded() -> None:
    child = Entity(
        "child",
        (EntityField("id", required=True), EntityField("parent_id")),
        ("id",),
        load_order=1,
        rules=1,
        parents=(Parent("parent", "parent_id"),),
    )
    rows = pl.DataFrame({"id": [" a  "], "parent_id": [""]})
    for padded, kept in ((False, " a  "), (True, " a")):
        columns = tuple((name, Column(name, Kind.TEXT, "", padded=padded)) for name in rows.columns)
        records = plan(child, Context("UTC", 2026), columns, tuple(rows.schema.items())).run(rows).records
        assert records.row(0) == (kept, None)


@pytest.mark.parametrize(
    "value, kind, dtype, expected",
    [
        (7, Kind.INTEGER, pl.Int32(), 7),
        (2**64 - 1, Kind.INTEGER, pl.UInt64(), 2**64 - 1),
        (0.5, Kind.FLOAT, pl.Float64(), 0.5),
        (0.1, Kind.FLOAT, pl.Float32(), 0.1),
        (True, Kind.BOOLEAN, pl.Boolean(), True),
        ("  a ", Kind.TEXT, pl.String(), "  a "),
        ("", Kind.TEXT, pl.String(), ""),
        ("1.50", Kind.DECIMAL, pl.String(), "1.5"),
        (Decimal("1.50"), Kind.DECIMAL, pl.Decimal(10, 4), "1.5"),
        (b"\xab", Kind.BYTES, pl.Binary(), "ab"),
        ("0000-00-00", Kind.DATE, pl.String(), "0000-00-00"),
    ],
)
def test_a_custom_attribute_is_kept(value: Any, kind: Kind, dtype: pl.DataType, expected: Any) -> None:
    known = Entity("thing", (EntityField("id"),), (), load_order=1, rules=1)
    rows = pl.DataFrame({"id": ["1"], "colour": pl.Series([value], dtype=dtype)})
    columns = (("id", Column("id", Kind.TEXT, "")), ("colour", Column("colour", kind, "")))
    records = plan(known, Context("UTC", 2026), columns, tuple(rows.schema.items())).run(rows).records
    assert records[f"{CUSTOM}colour"].to_list() == [expected]
