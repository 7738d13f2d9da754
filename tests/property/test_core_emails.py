"""A column's e-mail addresses against the rule for one text."""

from __future__ import annotations

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from connector.core import emails
from connector.core.emails import email_of
from connector.core.entity import Context, Entity, EntityField
from connector.core.validate import plan
from connector.model import Column, Kind

ENTITY = Entity("thing", (EntityField("email", normalise=emails.normaliser),), (), load_order=1, rules=1)
COLUMNS = (("email", Column("email", Kind.TEXT, "")),)

ALPHABET = "aZ09.-_+'\"\\@@ \t\x1c\x7f\xa0\u2003äÄéE\u0301İıßẞΣКЙ\N{KELVIN SIGN}例。！\U0001d400"
ALMOST = st.builds(
    "{}@{}.{}".format,
    *(
        st.one_of(st.from_regex(pattern, fullmatch=True), st.text(ALPHABET, max_size=6))
        for pattern in ("[a-zA-Z0-9._+'À-ɏḀ-ỿЀ-ԯ-]{1,12}", "[a-zA-Z0-9À-ɏЀ-ԯ-]{1,9}", "[A-Za-zЀ-ԯ]{2,5}")
    ),
)
QUOTED = st.builds('"{}"@{}.de'.format, st.text(ALPHABET, max_size=6), st.text(ALPHABET, min_size=1, max_size=4))
TEXTS = st.one_of(ALMOST, QUOTED, st.emails(), st.text(ALPHABET, max_size=12), st.text(max_size=20))


@given(st.lists(TEXTS, min_size=1, max_size=20))
@example(["\x1ca@b.de\x1d", "a@b.de\x85", "@.", "a@b.c\n", "\ufeffa@b.de"])
def test_a_column_comes_to_what_each_text_comes_to(texts: list[str]) -> None:
    rows = pl.DataFrame({"email": pl.Series(texts, dtype=pl.String)})
    judged = plan(ENTITY, Context("UTC", 2026), COLUMNS, tuple(rows.schema.items())).run(rows)
    trimmed = rows["email"].str.strip_chars().to_list()  # what text conversion does before
    expected = [email_of(text) for text in trimmed]
    assert judged.records["email"].to_list() == expected
    assert judged.refused.to_list() == [
        address is None and text != "" for text, address in zip(trimmed, expected, strict=True)
    ]


@given(TEXTS)
def test_an_address_is_its_own_spelling(text: str) -> None:
    address = email_of(text)
    if address is not None:
        assert email_of(address) == address


@given(st.emails())
def test_an_address_of_the_standard_is_accepted(address: str) -> None:
    assert email_of(address) == address.lower()
