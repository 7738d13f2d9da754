"""What a phone becomes, and which texts the library is asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import phonenumbers
import polars as pl
import pytest
from phonenumbers import SUPPORTED_REGIONS, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from connector.config.resolved import Stream
from connector.core import phones
from connector.core.entities.customer import CUSTOMER
from connector.core.entity import Context, Entity, EntityField
from connector.core.phones import phone_of
from connector.core.validate import plan
from connector.model import Column, Kind, StreamId
from connector.runs import pull
from connector.runs.job import Job
from connector.source.layout import Layout

PHONE = Entity("thing", (EntityField("phone", normalise=phones.normaliser),), (), load_order=1, rules=1)


def column(values: list[Any], region: str | None, kind: Kind = Kind.TEXT, dtype: Any = None) -> list[str | None]:
    """Return what the rules make of a column, refused values as None; the only rule to break is `not_a_phone`."""
    rows = pl.DataFrame({"phone": pl.Series(values, dtype=dtype)})
    columns = (("phone", Column("phone", kind, "")),)
    judged = plan(PHONE, Context("UTC", 2026, region), columns, tuple(rows.schema.items())).run(rows)
    found: list[str | None] = judged.records["phone"].to_list()
    if judged.reasons.height:
        assert judged.reasons["rule"].unique().to_list() == ["not_a_phone"]
    refused = judged.refused.to_list()
    assert all(phone is None for phone, bad in zip(found, refused, strict=True) if bad)
    return found


@pytest.mark.parametrize(
    "text, at_home, anywhere",
    [
        ("+380501234567", "+380501234567", "+380501234567"),
        ("+38 (050) 123-45-67", "+380501234567", "+380501234567"),
        (" (+380) 50.123.45/67 ", "+380501234567", "+380501234567"),
        ("+380 (0) 50 123 45 67", "+380501234567", "+380501234567"),
        ("+380\xa050\u2011123\u201345\u201067", "+380501234567", "+380501234567"),
        ("00380501234567", "+380501234567", "+380501234567"),
        ("00 38 050 123 45 67", "+380501234567", "+380501234567"),
        ("0501234567", "+380501234567", "0501234567"),
        ("(050) 123-45-67", "+380501234567", "0501234567"),
        ("501234567", "+380501234567", "501234567"),
        ("380501234567", "+380501234567", "380501234567"),
        ("050 123 45 67 ext. 8", "+380501234567", "05012345678"),
        ("tel:+380-50-123-45-67", "+380501234567", "+380501234567"),
        ("моб. 050 123 45 67", "+380501234567", "0501234567"),
        ("050 123 45 67 Ann", "+380501234567", "0501234567"),  # letters are tried as a keypad's first
        ("+٣٨٠٥٠١٢٣٤٥٦٧", "+380501234567", "+380501234567"),
        ("\N{FULLWIDTH PLUS SIGN}３８０５０１２３４５６７", "+380501234567", "+380501234567"),
        ("+44 (0)20 7946 0958", "+442079460958", "+442079460958"),
        ("+39 06 1234 5678", "+390612345678", "+390612345678"),  # Italy's 0 belongs to the number
        ("+800 1234 5678", "+80012345678", "+80012345678"),
        ("+7 8 (495) 123-45-67", "+74951234567", "+74951234567"),
        ("1234567", "1234567", "1234567"),  # lacks its area code
        ("050123456", "050123456", "050123456"),  # lacks a digit
        ("000000000", "000000000", "000000000"),
        ("+999 123456", "+999123456", "+999123456"),  # no such country
        ("+380 12", "+38012", "+38012"),
        ("12.05.1980", "12051980", "12051980"),
        ("050+1234567", "+380501234567", "0501234567"),
        ("0501234567 / 0671234567", None, None),
        ("4711", None, None),
        ("+4711", None, None),
        ("+1234567890123456", None, None),
        ("-", None, None),
        ("n/a", None, None),
        ("+", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_a_phone_is_e164_where_the_plans_leave_no_doubt_else_its_digits(
    text: str | None, at_home: str | None, anywhere: str | None
) -> None:
    assert (column([text], "UA", dtype=pl.String()), column([text], None, dtype=pl.String())) == ([at_home], [anywhere])
    if text is not None:
        assert (phone_of(text, "UA"), phone_of(text, None)) == (at_home, anywhere)


@pytest.mark.parametrize(
    "region, text, phone",
    [
        ("US", "(201) 555-0123", "+12015550123"),
        ("US", "1-201-555-0123", "+12015550123"),
        ("US", "1-800-FLOWERS", "+18003569377"),
        ("US", "011 380 50 123 45 67", "+380501234567"),
        ("US", "00380501234567", "+380501234567"),  # not dialled so there, but understood everywhere
        ("US", "555-0123", "5550123"),
        ("KZ", "8 (495) 123-45-67", "+74951234567"),  # a neighbour of the same calling code
        ("AR", "011 15 2345-6789", "+5491123456789"),
        ("BR", "0 15 11 96123-4567", "+5511961234567"),
        ("BM", "234-5678", "+14412345678"),
        ("DE", "0171 1234567", "+491711234567"),
        ("IT", "06 1234 5678", "+390612345678"),
        ("CO", "0057 321 1234567", "+573211234567"),  # not +7 3211234567, although 005 dials abroad there
        ("CO", "009 380 50 1234567", "+380501234567"),
        ("DE", "0049 30 123456 ext. 12", "+4930123456"),
        ("XX", "0501234567", "0501234567"),
    ],
)
def test_a_national_number_is_read_as_its_region_dials_it(region: str, text: str, phone: str) -> None:
    assert column([text], region) == [phone] == [phone_of(text, region)]


def test_an_empty_phone_is_none_and_breaks_no_rule() -> None:
    rows = pl.DataFrame({"phone": ["", " ", None, "x"]})
    columns = (("phone", Column("phone", Kind.TEXT, "")),)
    judged = plan(PHONE, Context("UTC", 2026, "UA"), columns, tuple(rows.schema.items())).run(rows)
    assert judged.refused.to_list() == [False, False, False, True]


@pytest.mark.parametrize(
    "value, dtype",
    [(380501234567, pl.Int64()), (Decimal("380501234567.0000"), pl.Decimal(20, 4)), (380501234567.0, pl.Float64())],
)
def test_a_phone_may_be_a_number(value: Any, dtype: pl.DataType) -> None:
    assert column([value, None], "UA", Kind.DECIMAL, dtype) == ["+380501234567", None]
    assert column([value, None], None, Kind.DECIMAL, dtype) == ["380501234567", None]


def test_each_row_gets_its_own_phone() -> None:
    texts = ["0501234567", "x", None, "+380501234568", "050 123 45 69 ext 1", "", "4711", "380501234570", "+999123456"]
    of = "+38050123456"
    expected = [f"{of}7", None, None, f"{of}8", f"{of}9", None, None, "+380501234570", "+999123456"]
    assert column(texts * 3, "UA") == expected * 3


def refuse_to_answer(text: str, region: str | None) -> str:
    raise AssertionError("the library was asked")


@pytest.mark.parametrize(
    "region, shape",
    [
        (None, lambda n: f"+{1 + n % 98}{10**9 + n * 899_981}"),
        ("UA", lambda n: f"+{1 + n % 98}{10**9 + n * 899_981}"),
        (None, lambda n: f"00380{500_000_000 + n * 7_919}"),
        (None, lambda n: f"+38 (050) {n % 1000:03}-{n % 99:02}-{n % 97:02}"),
        ("UA", lambda n: f"050 {n % 1000:03} {n % 99:02} {n % 97:02}"),
        ("UA", lambda n: f"380{500_000_000 + n * 7_919}"),
        ("UA", lambda n: f"{n * 7_919}"),  # mostly of no plan
        ("UA", lambda n: f"+38005{n * 7_919}"),
        ("US", lambda n: f"1 ({201 + n % 700}) 555-{n % 9999:04}"),
        ("GB", lambda n: f"0{7_400_000_000 + n * 7_919}"),
        ("RU", lambda n: f"8 (9{n % 99:02}) {n % 1000:03}-{n % 99:02}-{n % 97:02}"),
        ("RU", lambda n: f"79{n * 7_919 % 10**9:09}"),
        ("BR", lambda n: f"(11) 9{n * 7_919 % 10**8:08}"),
    ],
)
def test_usual_texts_are_decided_without_the_library(
    region: str | None, shape: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [shape(n) for n in range(10_000)]
    expected = {text: phone_of(text, region) for text in texts[::97]}
    asked: set[str] = set()

    def noting(text: str, region: str | None) -> str | None:
        asked.add(text)
        return phone_of(text, region)

    monkeypatch.setattr(phones, "phone_of", noting)
    found = dict(zip(texts, column(texts, region), strict=True))
    assert len(asked) < 0.001 * len(texts)
    assert {text: found[text] for text in expected} == expected


def examples() -> Iterator[tuple[str, PhoneNumber]]:
    """Yield the metadata's example number of each kind, for every region."""
    for region in sorted(SUPPORTED_REGIONS):
        for kind in PhoneNumberType.values():
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                yield region, number


def written(number: PhoneNumber) -> list[str]:
    """Return ways to write a number: E.164 first, then what means the same, then what might not."""
    formats = (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966)
    e164, international, rfc = (phonenumbers.format_number(number, each) for each in formats)
    national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    significant = phonenumbers.national_significant_number(number)
    arabic = e164.translate({ord("0") + digit: chr(0x660 + digit) for digit in range(10)})
    wide = e164.translate({ord("0") + digit: chr(0xFF10 + digit) for digit in range(10)})
    same = [e164, international, rfc, f"00{e164[1:]}", f"({e164}) ", f"{international} ext 12", arabic, wide]
    return [
        *same,
        *(national, significant, e164[1:], f"{national} x34", f"{national};5", f"{national} Ann", f" {national},"),
        *(f"+{number.country_code}0{significant}", f"+{number.country_code} (0) {significant}", f"0{significant}"),
        *(f"00 {international[1:]}", f"011{e164[1:]}", f"810{e164[1:]}", f"+00{e164[1:]}", f"1{significant}"),
        *(f"8{significant}", significant[:-1], f"{significant}0", f"{e164}0", f"{national}/{national}"),
    ]


def test_every_regions_examples_become_what_the_library_says() -> None:
    by_region: dict[str, list[str]] = {}
    for region, number in examples():
        by_region.setdefault(region, []).extend(written(number))
    assert len(by_region) == len(SUPPORTED_REGIONS)
    for region, texts in by_region.items():
        assert column(texts, region) == [phone_of(text, region) for text in texts]
        everywhere = texts[::3]
        assert column(everywhere, None) == [phone_of(text, None) for text in everywhere]


def test_examples_come_to_their_e164_however_they_are_written() -> None:
    different = []
    for region, number in examples():
        e164, *same = written(number)[:8]
        national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        different += [text for text in (e164, *same, national) if phone_of(text, region) != e164]
    # Toronto's 310-1234 is only dialled within Canada, and the library counts its plan with the United States'.
    assert different == ["0013101234", "+1 310-1234 ext 12", "310-1234"]


def test_the_rules_rise_with_the_metadata() -> None:
    """Raise the rules of the customer whenever this version changes: what a phone becomes may change with it."""
    assert (CUSTOMER.rules, phonenumbers.__version__) == (2, "9.0.43")


def test_a_pull_hands_on_the_streams_region() -> None:
    stream = Stream(StreamId("acme", "people"), "customer", "updated_at", "timestamp", table="t", region="UA")
    job = cast("Job", SimpleNamespace(stream=stream, entity=CUSTOMER))
    assert pull._feed(job, cast("Layout", SimpleNamespace(key=(), fields={}))).region == "UA"
