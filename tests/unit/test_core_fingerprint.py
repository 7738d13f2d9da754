"""The fingerprint's text, held to literals: whoever changes it makes every stored record look changed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
import xxhash

from connector.core.fingerprint import fingerprint

RECORD: dict[str, Any] = {
    "local_id": "42",
    "name": "Zoë\n🙂",
    "none": None,
    "register_date": datetime(2024, 3, 1, 12, 34, 56, 123_456, tzinfo=UTC),
    "birth_date": date(1969, 12, 31),
    "count": -7,
    "consent": True,
    "custom.rate": 0.1,
}
SCHEMA: dict[str, Any] = {
    "none": pl.String,
    "register_date": pl.Datetime("us", "UTC"),
}


def of(record: dict[str, Any], **schema: Any) -> str:
    return fingerprint(pl.DataFrame([record], schema_overrides={**SCHEMA, **schema}))[0].hex()


def test_the_fingerprint_of_a_record_never_changes() -> None:
    assert of(RECORD) == "09e77e6349d90c7e035244af329bcf00"
    assert of({"a": "x\x1fy", "b": None}, b=pl.String) == "cbe7b0b4aa7bc4ad0311e912230b0d03"
    assert of({"custom.f": float("nan")}) == "375326f3aaa1f46bc5aa3180a814739f"


def test_the_fingerprint_is_that_of_the_documented_text() -> None:
    names = sorted(RECORD)
    header = xxhash.xxh3_128_hexdigest("".join(f"{len(name)}:{name}" for name in names).encode())
    cells = {**RECORD, "none": "\x1e", "register_date": "1709296496123456", "birth_date": "-1", "count": "-7"}
    cells |= {"consent": "1", "custom.rate": "4591870180066957722"}
    text = "\x1f".join([header, *(cells[name] for name in names)])
    assert of(RECORD) == xxhash.xxh3_128_hexdigest(text.encode())


def test_a_separator_in_a_text_changes_the_form() -> None:
    header = xxhash.xxh3_128_hexdigest(b"1:a1:b")
    text = header + "\x1e" + "5:é\x1f\x1e" + "n"
    assert of({"a": "é\x1f\x1e", "b": None}, b=pl.String) == xxhash.xxh3_128_hexdigest(
        text.replace("5:", "4:").encode()
    )


@pytest.mark.parametrize("separator", ["\x1e", "\x1f"])
@pytest.mark.parametrize("row", [0, 499, 500, 1_999])
def test_only_the_row_with_a_separator_changes_its_form(row: int, separator: str) -> None:
    texts = [f"text {number}" for number in range(2_000)]
    texts[row] += separator
    numbers = [None, *range(1_999)]
    together = fingerprint(pl.DataFrame({"a": texts, "b": None, "n": numbers}, schema_overrides={"b": pl.String}))
    header = xxhash.xxh3_128_hexdigest(b"1:a1:b1:n")
    cells = ["\x1e" if number is None else str(number) for number in numbers]
    short = [f"{header}\x1f{text}\x1f\x1e\x1f{cell}" for text, cell in zip(texts, cells, strict=True)]
    number = "n" if row == 0 else f"{len(cells[row])}:{cells[row]}"
    short[row] = f"{header}\x1e{len(texts[row])}:{texts[row]}n{number}"
    assert together.to_list() == [xxhash.xxh3_128_digest(text.encode()) for text in short]


def test_the_order_of_columns_does_not_matter() -> None:
    assert of(dict(reversed(RECORD.items()))) == of(RECORD)


@pytest.mark.parametrize(
    "changed",
    [
        {"none": ""},
        {"name": "Zoë"},
        {"name": None},
        {"count": 7},
        {"consent": False},
        {"consent": None},
        {"register_date": datetime(2024, 3, 1, 12, 34, 56, 123_457, tzinfo=UTC)},
        {"birth_date": date(1970, 1, 1)},
        {"custom.rate": 0.1 + 2**-56},
        {"another": None},
    ],
    ids=str,
)
def test_any_change_changes_it(changed: dict[str, Any]) -> None:
    types = {"name": pl.String, "consent": pl.Boolean, "another": pl.String}
    assert of({**RECORD, **changed}, **{k: v for k, v in types.items() if k in changed}) != of(RECORD)


def test_a_field_without_value_is_not_a_missing_field() -> None:
    assert of({key: value for key, value in RECORD.items() if key != "none"}) != of(RECORD)


def test_an_integer_is_the_same_whatever_its_width() -> None:
    assert of({"n": 5}) == of({"n": 5}, n=pl.UInt64) == of({"n": "5"})


def test_there_may_be_no_records() -> None:
    assert fingerprint(pl.DataFrame(schema={"a": pl.String})).len() == 0


def test_a_type_that_no_record_has_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="a record can't hold"):
        fingerprint(pl.DataFrame({"a": [[1]]}))
