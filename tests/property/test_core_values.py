"""Conversions against Python's own decimals, dates and zones."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.core import times
from connector.core.entity import Context, Entity, EntityField, FieldType
from connector.core.validate import plan
from connector.model import Column, Kind

ZONES = ["UTC", "Europe/Kyiv", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
FIRST, LAST = datetime.fromisoformat("1975-01-01"), datetime.fromisoformat("2037-01-01")
MOMENTS = st.datetimes(FIRST, LAST).map(lambda moment: moment.replace(fold=0))  # a database has no fold


def convert(
    values: pl.Series, type_: FieldType, kind: Kind = Kind.TEXT, zone: str = "UTC"
) -> tuple[pl.Series, list[str]]:
    """Return the converted values and the rules that rows broke."""
    entity = Entity("thing", (EntityField("value", type_),), (), load_order=1, rules=1)
    columns = (("value", Column("value", kind, "")),)
    judged = plan(entity, Context(zone, 2026), columns, (("value", values.dtype),)).run(values.to_frame("value"))
    return judged.records["value"], judged.reasons["rule"].to_list() if judged.reasons.height else []


def plain(number: Decimal) -> str:
    """Return the canonical text by Python's decimals."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=None), min_size=1))
@example([Decimal("1E+400"), Decimal("-1E-400"), Decimal("-0E-5"), Decimal("10E-1")])
def test_a_decimals_text_becomes_its_plain_form(numbers: list[Decimal]) -> None:
    usable = [number for number in numbers if abs(int(number.as_tuple().exponent)) <= 400]
    texts = pl.Series([str(number) for number in usable], dtype=pl.String)
    assert convert(texts, FieldType.DECIMAL)[0].to_list() == [plain(number) for number in usable]


@given(st.lists(st.decimals(min_value=-(10**12), max_value=10**12, places=6), min_size=1))
def test_a_decimal_is_the_same_from_every_kind_of_column(numbers: list[Decimal]) -> None:
    expected = [plain(number) for number in numbers]
    for values in (
        pl.Series([str(number) for number in numbers]),
        pl.Series([f"{number:f}" for number in numbers]),
        pl.Series([f"{number:+024f}" for number in numbers]),
        pl.Series(numbers, dtype=pl.Decimal(38, 6)),
        pl.Series(numbers, dtype=pl.Decimal(38, 9)),
    ):
        for type_ in (FieldType.DECIMAL, FieldType.TEXT):
            assert convert(values, type_, Kind.DECIMAL)[0].to_list() == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_float_becomes_its_shortest_decimal(numbers: list[float]) -> None:
    converted, rules = convert(pl.Series(numbers, dtype=pl.Float64), FieldType.DECIMAL, Kind.FLOAT)
    assert converted.to_list() == [plain(Decimal(repr(number))) for number in numbers]
    assert not rules


@given(st.lists(st.text(alphabet="0123456789.-+eE ", max_size=12), min_size=1))
def test_what_is_taken_for_a_decimal_has_its_value(texts: list[str]) -> None:
    converted, _ = convert(pl.Series(texts), FieldType.DECIMAL)
    for text, value in zip(texts, converted, strict=True):
        if value is not None:
            assert value == plain(Decimal(text.strip()))


@given(st.lists(st.integers(min_value=-(2**70), max_value=2**70), min_size=1))
def test_an_integer_is_itself_or_refused(numbers: list[int]) -> None:
    converted, rules = convert(pl.Series([str(number) for number in numbers]), FieldType.INTEGER)
    assert converted.to_list() == [number if -(2**63) <= number < 2**63 else None for number in numbers]
    assert len(rules) == converted.null_count()


@pytest.mark.parametrize("zone", ZONES)
@given(st.lists(MOMENTS, min_size=1), st.sampled_from([" ", "T"]))
@example([datetime.fromisoformat("2024-03-31 03:30")], " ")
@example([datetime.fromisoformat("2024-10-27 03:30")], " ")
@example([datetime.fromisoformat("2011-12-30 12:00")], " ")
def test_a_local_time_becomes_the_instant_that_python_gives(zone: str, moments: list[datetime], between: str) -> None:
    # Python's fold=0 is the house's rule: the first of two, and the old offset in a gap.
    expected = [moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for moment in moments]
    texts = pl.Series([moment.isoformat(sep=between) for moment in moments])
    typed = pl.Series(moments, dtype=pl.Datetime("us"))
    for values in (texts, typed, typed.cast(pl.Datetime("ns"))):
        converted, rules = convert(values, FieldType.TIMESTAMP, Kind.TIMESTAMP, zone)
        assert converted.to_list() == expected
        assert not rules


@given(st.lists(st.datetimes(min_value=datetime.fromisoformat("0001-01-02")), min_size=1), st.integers(-840, 840))
def test_an_instant_with_an_offset_is_that_instant(moments: list[datetime], minutes: int) -> None:
    sign, away = "-" if minutes < 0 else "+", abs(minutes)
    texts = [f"{moment.isoformat(sep=' ')}{sign}{away // 60:02}:{away % 60:02}" for moment in moments]
    expected: list[datetime | None] = []
    for moment in moments:
        try:
            expected.append((moment - timedelta(minutes=minutes)).replace(tzinfo=UTC))
        except OverflowError:
            expected.append(None)
    assert convert(pl.Series(texts), FieldType.TIMESTAMP, Kind.TIMESTAMPTZ, "Europe/Kyiv")[0].to_list() == expected


@given(st.lists(st.dates(), min_size=1))
def test_a_date_is_itself_as_text_and_typed(days: list[date]) -> None:
    for values in (pl.Series([day.isoformat() for day in days]), pl.Series(days, dtype=pl.Date)):
        assert convert(values, FieldType.DATE, Kind.DATE, "Europe/Kyiv")[0].to_list() == days


@given(st.lists(st.text(max_size=30), min_size=1), st.sampled_from(FieldType), st.sampled_from(Kind))
def test_no_text_breaks_a_conversion(texts: list[str], type_: FieldType, kind: Kind) -> None:
    values = pl.Series(texts, dtype=pl.String)
    converted, rules = convert(values, type_, kind, "Europe/Kyiv")
    assert converted.len() == len(texts)
    empty = ["", "null"] if type_ is FieldType.JSON else [""]
    assert len(rules) == (converted.is_null() & ~values.str.strip_chars().is_in(empty)).sum()


SHAPED = st.text(alphabet="0123456789-: .TZ+BC", min_size=8, max_size=34)

# Every part as databases write it, and as only a careless parser would take it.
YEARS = ["2024", "0001", "0000", "0999", "1000", "9899", "9900", "9999", "12024", "+202", "-202", " 202", "٢٠٢٤"]
DAYS = ["02-29", "02-30", "2-29", "+2-29", " 2-29", "02-+9", "02- 9", "12-31", "00-00"]
CLOCKS = ["12:34:56", "00:00:00", "23:59:60", "24:00:00", "12:34", "1:2:3", "+1:02:03", "1२:34:56", "12:34:5 "]
FRACTIONS = ["", ".", ".0", ".000000", ".5", ".50", ".123450", ".123456", ".1234560", ".1234567", ".-5", ".٥", ".5e3"]
OFFSETS = ["", "+00", "-00", "+00:00", "+0000", "0+00", "+000", "+00+00", "Z", "+02", "+00 BC", " BC", " "]
ALMOST = st.one_of(
    SHAPED,
    st.text(alphabet="0:.+Z5-", max_size=12),
    st.tuples(*map(st.sampled_from, (YEARS, "-", DAYS, " T", CLOCKS, FRACTIONS, OFFSETS))).map("".join),
    st.tuples(*map(st.sampled_from, (YEARS, "-", DAYS, ["", " "]))).map("".join),
)

USUAL = ("2024", "-", "02-29", " ", "12:34:56", "", "")
ODD_IN_ONE_PART = [
    "".join((*USUAL[:place], part, *USUAL[place + 1 :]))
    for place, parts in enumerate((YEARS, "-", DAYS, " T", CLOCKS, FRACTIONS, OFFSETS))
    for part in parts
]


def assert_sure(plain: pl.Series, exact: pl.Series) -> None:
    """Hold a plain expression to what it promises: the exact value or null."""
    sure = plain.is_not_null()
    assert plain.filter(sure).to_list() == exact.filter(sure).to_list()


@given(st.lists(ALMOST, min_size=1), st.booleans(), st.sampled_from(["UTC", "Europe/Kyiv"]))
@example(texts=ODD_IN_ONE_PART, instant=False, zone="UTC")
@example(texts=ODD_IN_ONE_PART, instant=True, zone="UTC")
@example(texts=[text[:10] for text in ODD_IN_ONE_PART], instant=False, zone="UTC")
def test_the_quick_way_to_read_a_time_knows_what_it_knows(texts: list[str], instant: bool, zone: str) -> None:
    values = pl.Series("text", texts, dtype=pl.String)
    rows, text = values.to_frame(), pl.col("text")
    plain = rows.select(times.plain_timestamp(text, zone, instant=instant)).to_series()
    exact, too_fine = times.exact_timestamp(values, zone, instant=instant)
    assert_sure(plain, exact)
    assert not (plain.is_not_null() & too_fine).any()
    assert_sure(rows.select(times.plain_date(text)).to_series(), times.exact_date(values, zone, instant=instant))


@given(st.lists(ALMOST, min_size=1))
@example(ODD_IN_ONE_PART)
def test_a_timestamps_text_loses_nothing_but_zeros_at_the_end(texts: list[str]) -> None:
    values = pl.Series("text", texts, dtype=pl.String)
    rows, text = values.to_frame(), pl.col("text")
    zeros = re.compile(r"(:[0-9]{2})(?:\.0+|(\.[0-9]*[1-9])0+)\Z")
    naive = rows.select(times.timestamp_text(text, instant=False)).to_series()
    assert naive.to_list() == [zeros.sub(r"\1\2", value) for value in texts]
    instants = rows.select(times.timestamp_text(text, instant=True)).to_series()
    assert_sure(rows.select(times.plain_instant_text(text)).to_series(), instants)


@pytest.mark.parametrize("instant", [False, True])
def test_the_quick_way_to_read_a_time_takes_what_databases_write(*, instant: bool) -> None:
    clocks = [f"12:34:{second}{fraction}" for second in ("56", "50", "00") for fraction in ("", ".5", ".123456")]
    offset = "+00" if instant else ""
    rows = pl.DataFrame({"text": [f"2024-02-29 {clock}{offset}" for clock in clocks]})
    text = pl.col("text")
    assert not rows.select(times.plain_timestamp(text, "UTC", instant=instant)).to_series().has_nulls()
    assert not rows.select(times.plain_date(text.str.slice(0, 10))).to_series().has_nulls()


@given(st.lists(SHAPED, min_size=1), st.sampled_from([FieldType.TIMESTAMP, FieldType.DATE]))
def test_almost_a_time_is_converted_or_refused(texts: list[str], type_: FieldType) -> None:
    converted, rules = convert(pl.Series(texts), type_, Kind.TIMESTAMP, "Europe/Kyiv")
    blank = sum(not text.strip() for text in texts)
    assert converted.null_count() == len(rules) + blank
