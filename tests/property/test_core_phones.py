"""A column's phones against the rule for one text, which asks the library."""

from __future__ import annotations

import re

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, SUPPORTED_REGIONS

from connector.core import numbering, phones
from connector.core.entity import Context, Entity, EntityField
from connector.core.phones import phone_of
from connector.core.validate import plan
from connector.model import Column, Kind

ENTITY = Entity("thing", (EntityField("phone", normalise=phones.normaliser),), (), load_order=1, rules=1)
COLUMNS = (("phone", Column("phone", Kind.TEXT, "")),)
CODES = sorted(COUNTRY_CODE_TO_REGION_CODE)

REGIONS = st.one_of(
    st.none(), st.sampled_from(["UA", "US", "RU", "GB", "DE", "IT"]), st.sampled_from(sorted(SUPPORTED_REGIONS))
)
PREFIXES = st.sampled_from(
    ["", "+", "00", "0", "8", "1", "011", "810", "+00", "++", "06", "15", "90", "180020", "tel:"]
)
BETWEEN = st.sampled_from(["", "", " ", "-", "(0)", ") ", "/", ".", "\xa0", "\u2011", "~", "x", "  ", "\t", "+", ","])
ENDS = st.sampled_from(
    ["", "", "", " ", ")", ".", " ext 12", "x5", ";7", ",3", "#", " Ann", " мама", ";phone-context=+1", "\0"]
)
ALPHABET = "0123456789+-() ./x~#,;:*extab\xa0\u2013\u00ad٠٥０９²Ⅷ\N{FULLWIDTH PLUS SIGN}\t\n\0АБ_"


@st.composite
def numbers(draw: st.DrawFn, code: int) -> str:
    """Draw national digits: of the plan's shape, nearly so, or any."""
    digits = st.text("0123456789", max_size=16)
    shaped = st.from_regex(re.compile(numbering.plan_of(code).shape), fullmatch=True)
    number = draw(st.one_of(shaped, shaped, digits))
    return draw(st.sampled_from(["", "", "", "0", "1", "8", "9"])) + number[: draw(st.sampled_from([99, 99, -1]))]


@st.composite
def written(draw: st.DrawFn, region: str | None) -> str:
    """Draw a number as people write them, of the region or of another one."""
    own = numbering.plan_at(region)
    code = draw(st.sampled_from(CODES)) if own is None or draw(st.integers(0, 3)) == 0 else int(own.code)
    number = draw(numbers(code))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(number)))
        number = number[:at] + draw(BETWEEN) + number[at:]
    with_code = f"{code}{draw(BETWEEN)}{number}" if draw(st.booleans()) else number
    return draw(PREFIXES) + with_code + draw(ENDS)


@st.composite
def columns(draw: st.DrawFn) -> tuple[str | None, list[str]]:
    region = draw(REGIONS)
    texts = st.one_of(written(region), written(region), st.text(ALPHABET, max_size=24), st.text(max_size=30))
    return region, draw(st.lists(texts, min_size=1, max_size=20))


@given(columns())
@example((None, ["+" + " " * 260 + "380501234567", "0" * 300, "+38050" + "1" * 400]))
@example(("UA", [" " * 260 + "0501234567", "0050" * 70, "+00380501234567", "+0501234567"]))
@example(("FI", ["+9901234567", "+990358401234567", "99035840123456"]))
@example(("BO", ["0010380501234567", "001038", "00100380501234567", "0010"]))
@example(("AR", ["01115 2345-6789", "1115 2345 6789", "+54 11 15 2345-6789", "+54 15 2345-6789", "+5491123456789"]))
@example(("DE", ["4912345678", "4930123456", "49" + "1" * 13, "0" + "1" * 15, "1" * 15, "+49" + "1" * 15, "1234"]))
@example(("BQ", ["59994351234", "+59994351234", "5997151234"]))  # shares its code with Curaçao, which has more digits
@example(("RU", ["88001234567", "8001234567", "+788001234567", "78001234567", "8" * 14]))
def test_a_column_comes_to_what_each_text_comes_to(column: tuple[str | None, list[str]]) -> None:
    region, texts = column
    rows = pl.DataFrame({"phone": pl.Series(texts, dtype=pl.String)})
    judged = plan(ENTITY, Context("UTC", 2026, region), COLUMNS, tuple(rows.schema.items())).run(rows)
    trimmed = rows["phone"].str.strip_chars().to_list()  # what text conversion does before
    expected = [phone_of(text, region) if text else None for text in trimmed]
    assert judged.records["phone"].to_list() == expected
    assert judged.refused.to_list() == [
        phone is None and text != "" for text, phone in zip(trimmed, expected, strict=True)
    ]


@given(columns())
@example(("DE", ["4912345678", "0491234567"]))
def test_each_step_is_right_wherever_it_is_sure(column: tuple[str | None, list[str]]) -> None:
    region, texts = column
    digits = pl.Series("digits", [re.sub("(?<!^)[+]|[^0-9+]", "", text) for text in texts], dtype=pl.String)
    expected = [phone_of(text, region) for text in digits]
    standing = digits.to_frame().select(numbering.as_it_stands(pl.col("digits"), region)).to_series()
    national = numbering.national_numbers(digits, region)
    assert all(found in {None, phone} for found, phone in zip(standing, expected, strict=True))
    assert all(found in {None, phone} for found, phone in zip(national, expected, strict=True))
    for text, number, sure, phone in zip(
        digits, *numbering.numbers(digits, region)["number", "sure"], expected, strict=True
    ):
        assert not sure or (number or text) == (phone or text)


@given(columns())
def test_a_phone_is_its_own_spelling(column: tuple[str | None, list[str]]) -> None:
    region, texts = column
    for text in texts:
        phone = phone_of(text, region)
        if phone is not None:
            assert re.fullmatch(r"\+?[0-9]{5,15}", phone)
            assert phone_of(phone, region) == phone


@given(st.sampled_from(CODES).flatmap(lambda code: st.tuples(st.just(code), numbers(code))), REGIONS)
def test_an_international_number_means_the_same_in_every_region(number: tuple[int, str], region: str | None) -> None:
    text = f"+{number[0]}{number[1]}"
    assert phone_of(text, region) == phone_of(text, None)
