"""What an e-mail address becomes, and what is refused."""

from __future__ import annotations

import unicodedata
from typing import Any

import polars as pl
import pytest

from connector.core import emails
from connector.core.emails import email_of
from connector.core.entity import Context, Entity, EntityField
from connector.core.validate import plan
from connector.model import Column, Kind

EMAIL = Entity("thing", (EntityField("email", normalise=emails.normaliser),), (), load_order=1, rules=1)


def column(values: list[Any]) -> tuple[list[str | None], list[str]]:
    """Return what the rules make of a column, and the rules that were broken."""
    rows = pl.DataFrame({"email": pl.Series(values, dtype=pl.String)})
    columns = (("email", Column("email", Kind.TEXT, "")),)
    judged = plan(EMAIL, Context("UTC", 2026), columns, tuple(rows.schema.items())).run(rows)
    return judged.records["email"].to_list(), judged.reasons["rule"].to_list() if judged.reasons.height else []


@pytest.mark.parametrize(
    "text, address",
    [
        (" Ann.Smith@Example.COM\n", "ann.smith@example.com"),
        ("a+b=c/d@mail.example.co.uk", "a+b=c/d@mail.example.co.uk"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("a..b.@docomo.example", "a..b.@docomo.example"),  # no standard address, but there are such
        ("a_b@ex_ample.com", "a_b@ex_ample.com"),
        ("Ünal@Exämple.COM", "ünal@exämple.com"),
        ("ОЛЕНА@ПРИКЛАД.УКР", "олена@приклад.укр"),
        ("E\N{COMBINING ACUTE ACCENT}va@x.de", "\N{LATIN SMALL LETTER E WITH ACUTE}va@x.de"),
        ("\N{KELVIN SIGN}@x.de", "k@x.de"),
        ("ΟΔΥΣΣΕΥΣ@x.gr", "οδυσσευς@x.gr"),
        ('"Ann Smith"@Example.com', '"ann smith"@example.com'),
        ('"a@b\\"c"@x.de', '"a@b\\"c"@x.de'),
        ('a"b@x.de', 'a"b@x.de'),
        ("a@xn--exmple-cua.com", "a@xn--exmple-cua.com"),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert column([text]) == ([address], [])
    assert email_of(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "ann",
        "@x.de",
        "a@",
        "a@localhost",
        "a@.de",
        "a@x.",
        "a@x..de",
        "a b@x.de",
        "a@x y.de",
        "a@b@c.de",
        "a@\u2003x.de",
    ]
    + ['"a b@x.de', '"a\tb"@x.de', "a@x.de, b@x.de", "-", "a@x\u00a0.de", "a\x1cb@x.de"],
)
def test_what_no_mail_could_be_sent_to_is_refused(text: str) -> None:
    assert column([text]) == ([None], ["not_an_email"])
    assert email_of(text) is None


def test_each_row_gets_its_own_address_and_an_empty_one_none() -> None:
    texts = ["A@x.de", None, '"A b"@x.de', "", "x", " ", "Ä@x.de", "B@x.de"]
    found, broken = column(texts * 2)
    assert found == ["a@x.de", None, '"a b"@x.de', None, None, None, "ä@x.de", "b@x.de"] * 2
    assert broken == ["not_an_email"] * 2


@pytest.mark.parametrize(
    "shape",
    [
        "First.Last+{}@Mail-{}.Example.org",
        "first.last+{}@mail-{}.example.org",
        "Zoë.Müller{}@Exämple{}.DE",
        "łukasz.nguyễn{}@example{}.pl",
        "Олена.Їжак{}@Приклад{}.укр",
    ],
)
def test_usual_addresses_are_decided_without_python(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_to_answer(text: str) -> str:
        raise AssertionError(text)

    monkeypatch.setattr(emails, "email_of", refuse_to_answer)
    texts = [shape.format(number, number) for number in range(100)]
    assert column(texts) == ([text.lower() for text in texts], [])


def matched(pattern: str) -> list[str]:
    """Return every character that a pattern takes for a letter of an address."""
    characters = pl.DataFrame({"character": [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]})
    in_both_parts = pl.format("{}@{}.x", "character", "character")
    return characters.filter(in_both_parts.str.contains(pattern))["character"].to_list()


def test_columns_lower_only_letters_that_come_to_the_same_in_any_order() -> None:
    letters = matched(emails._PLAIN)
    assert len(letters) > 900
    pairs = ["".join(first + second for second in letters) for first in letters]
    lowered = pl.Series(pairs).str.to_lowercase().to_list()
    assert lowered == [pair.lower() for pair in pairs]
    assert all(unicodedata.is_normalized("NFC", pair) for pair in lowered)
    assert email_of(f"{''.join(letters)}@x.de") is not None  # none of them is a blank


def test_an_address_that_stays_has_only_letters_that_stay() -> None:
    assert matched(emails._LOWER) == [letter for letter in matched(emails._PLAIN) if letter.lower() == letter]
