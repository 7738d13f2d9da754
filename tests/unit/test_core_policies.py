"""What becomes of values that a field can't hold: refused, null, or null with the source's text kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from connector.core.entity import Entity, EntityField, FieldType
from connector.core.ingest import Feed
from connector.model import Batch, Column, Kind, Policies, Policy
from connector.store.intake import Intake
from tests.unit.test_core_ingest import CUSTOMERS, STREAM, VISIT, batch, customer, take

T, D = FieldType.TIMESTAMP, FieldType.DATE
FINE = "2024-01-01 00:00:00.1234567"

ODD: list[tuple[FieldType, Kind, Any, Any, str, str]] = [
    # type of the field, kind and type of the column, its value, the rule, the text that is kept
    (D, Kind.DATE, pl.String(), "0000-00-00", "zero_date", "0000-00-00"),
    (D, Kind.TIMESTAMP, pl.String(), "2024-00-00 00:00:00", "zero_date", "2024-00-00 00:00:00"),
    (T, Kind.TIMESTAMP, pl.String(), "0000-00-00 00:00:00.000000", "zero_date", "0000-00-00 00:00:00"),
    (T, Kind.DATE, pl.String(), "2024-02-00", "zero_date", "2024-02-00"),
    (T, Kind.TEXT, pl.String(), " 2024-02-00T10:00 ", "zero_date", " 2024-02-00T10:00 "),
    (D, Kind.DATE, pl.String(), "infinity", "not_a_date", "infinity"),
    (D, Kind.DATE, pl.String(), "2024-02-30", "not_a_date", "2024-02-30"),
    (D, Kind.INTEGER, pl.Int64(), 20240101, "not_a_date", "20240101"),
    (D, Kind.BYTES, pl.Binary(), b"\xff", "not_a_date", "ff"),
    (T, Kind.TIMESTAMPTZ, pl.String(), "-infinity", "not_a_timestamp", "-infinity"),
    (T, Kind.BOOLEAN, pl.Boolean(), True, "not_a_timestamp", "true"),
    (T, Kind.TIMESTAMP, pl.String(), FINE, "finer_than_microseconds", FINE),
    (FieldType.DECIMAL, Kind.DECIMAL, pl.String(), "NaN", "not_a_decimal", "NaN"),
    (FieldType.DECIMAL, Kind.FLOAT, pl.Float64(), float("nan"), "not_a_decimal", "NaN"),
    (FieldType.DECIMAL, Kind.DECIMAL, pl.String(), "-Infinity", "not_a_decimal", "-Infinity"),
    (FieldType.INTEGER, Kind.DECIMAL, pl.String(), "1.50", "not_an_integer", "1.5"),
    (FieldType.INTEGER, Kind.INTEGER, pl.UInt64(), 2**64 - 1, "not_an_integer", "18446744073709551615"),
    (FieldType.BOOLEAN, Kind.TEXT, pl.String(), "ja", "not_a_boolean", "ja"),
    (FieldType.BOOLEAN, Kind.INTEGER, pl.Int64(), 2, "not_a_boolean", "2"),
    (FieldType.JSON, Kind.OTHER, pl.String(), "{", "not_json", "{"),
]  # fmt: skip

GOOD: dict[FieldType, tuple[str, Any]] = {
    D: ("2024-01-02", date(2024, 1, 2)),
    T: ("2024-01-02 03:04:05", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
    FieldType.DECIMAL: ("1.5", "1.5"),
    FieldType.INTEGER: ("7", 7),
    FieldType.BOOLEAN: ("yes", True),
    FieldType.JSON: ("[1]", "[1]"),
    FieldType.TEXT: ("Ann", "Ann"),
}


def feed(type_: FieldType, policies: Policies | None = None, **options: Any) -> Feed:
    entity = Entity(
        "thing", (EntityField("id"), EntityField("value", type_, **options)), ("id",), load_order=1, rules=1
    )
    return Feed(STREAM, entity, key=("id",), policies={} if policies is None else {"value": policies})


def column(values: list[Any], kind: Kind, dtype: Any = None, name: str = "value") -> Batch:
    """Make a batch of rows that are named by their number."""
    ids = pl.Series("id", [str(number) for number in range(len(values))], dtype=pl.String)
    rows = pl.DataFrame([ids, ids.alias("_key"), pl.Series(name, values, dtype=dtype)])
    columns = {"id": Column("id", Kind.TEXT, ""), name: Column(name, kind, "")}
    return Batch(rows.with_columns(pl.lit("1").alias("_watermark")), columns, None, last=True)


def outcome(intake: Intake) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    return intake.records.drop("_key", "_row_key", "_fingerprint", "id").to_dicts(), intake.refused.select(
        "_field", "_rule"
    ).rows()


def asked(rule: str, policy: Policy) -> tuple[Policies, Policies]:
    """Return the policies under which a rule has this policy, and those of everything else only."""
    zero, others = Policies(zero_dates=policy), Policies(invalid=policy)
    return (zero, others) if rule == "zero_date" else (others, zero)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: f"{odd[0]} of {odd[1]} {odd[3]!r}")
def test_a_value_that_a_field_can_not_hold_follows_its_policy(odd: tuple[FieldType, Kind, Any, Any, str, str]) -> None:
    type_, kind, dtype, value, rule, text = odd
    given = column([value, None], kind, dtype)
    null: dict[str, Any] = {"value": None}
    assert outcome(take(given, feed(type_))) == ([null], [("value", rule)])
    own, other = asked(rule, "null")
    assert outcome(take(given, feed(type_, own))) == ([null, null], [])
    assert outcome(take(given, feed(type_, other))) == ([null], [("value", rule)])
    own, other = asked(rule, "text")
    kept = [{**null, "custom.value": text}, {**null, "custom.value": None}]
    assert outcome(take(given, feed(type_, own))) == (kept, [])
    records, refused = outcome(take(given, feed(type_, other)))
    assert ([record["value"] for record in records], refused) == ([None], [("value", rule)])


@pytest.mark.parametrize("type_", GOOD)
def test_a_value_that_fits_is_the_same_under_every_policy(type_: FieldType) -> None:
    text, value = GOOD[type_]
    given = column([text, None], Kind.TEXT, pl.String())
    refusing = take(given, feed(type_)).records
    assert refusing["value"].to_list() == [value, None]
    assert take(given, feed(type_, Policies("null", "null"))).records.equals(refusing)
    keeping = take(given, feed(type_, Policies("text", "text"))).records
    if type_ is FieldType.TEXT:  # nothing could be kept
        assert keeping.equals(refusing)
    else:
        assert keeping["custom.value"].to_list() == [None, None]
        assert keeping.drop("custom.value", "_fingerprint").equals(refusing.drop("_fingerprint"))


@pytest.mark.parametrize("value", ["2024-01-01", "0000-00-00"])
def test_which_attributes_a_record_has_does_not_depend_on_the_batch(value: str) -> None:
    keeping = feed(D, Policies("text"))
    alone = take(column(["2024-01-01"], Kind.DATE, pl.String()), keeping).records
    beside = take(column(["2024-01-01", value], Kind.DATE, pl.String()), keeping).records
    assert alone["_fingerprint"][0] == beside["_fingerprint"][0]


def test_zero_dates_alone_give_no_attribute_to_other_fields() -> None:
    given = column(["1"], Kind.TEXT, pl.String())
    assert take(given, feed(FieldType.DECIMAL, Policies("text"))).records.columns[-1] == "value"


@pytest.mark.parametrize("policy", ["null", "text"])
def test_a_required_field_that_becomes_null_is_refused(policy: Policy) -> None:
    given = column(["0000-00-00", "2024-01-01"], Kind.DATE, pl.String())
    intake = take(given, feed(D, Policies(policy), required=True))
    assert intake.refused.select("_row_key", "_field", "_rule").rows() == [("0", "value", "required")]
    assert json.loads(intake.refused["_row"][0])["value"] == "0000-00-00"
    assert intake.records["value"].to_list() == [date(2024, 1, 1)]


def test_one_field_has_a_policy_and_another_none() -> None:
    given = batch([customer(birth_date="0000-00-00", register_date="0000-00-00 00:00:00"), customer(birth_date="x")])
    intake = take(given, replace(CUSTOMERS, policies={"birth_date": Policies("null", "null")}))
    assert intake.refused["_rule"].to_list() == ["zero_date"]
    assert intake.records["birth_date"].to_list() == [None]


@pytest.mark.parametrize("policy", ["null", "text"])
@pytest.mark.parametrize(
    "field, value, rule",
    [
        ("register_date", "2009-01-01", "before_2010"),
        ("sex", "robot", "not_a_sex"),
        ("email", "ann", "not_an_email"),
        ("phone", "12", "not_a_phone"),
        ("local_id", "a\0", "nul_character"),
    ],
)
def test_what_an_entity_refuses_has_no_policy(policy: Policy, field: str, value: str, rule: str) -> None:
    everything = {name: Policies(policy, policy) for name in ("register_date", "sex", "email", "phone", "local_id")}
    refused = take([customer(**{field: value})], replace(CUSTOMERS, policies=everything)).refused
    assert refused.select("_field", "_rule").rows() == [(field, rule)]


def as_bytes(given: Batch, damage: Mapping[tuple[str, int], bytes]) -> Batch:
    """Return the batch as a reader delivers it when these values, by column and row, are not UTF-8."""
    names = {name for name, _ in damage}
    texts = {name: [None if v is None else v.encode() for v in given.rows[name]] for name in names}
    for (name, row), value in damage.items():
        texts[name][row] = value
    columns = [pl.Series(name, values, dtype=pl.Binary) for name, values in texts.items()]
    return replace(given, rows=given.rows.with_columns(columns))


MIXED = [
    customer(local_id="1", full_name=" Ann ", birth_date="1980-01-01", email="A@b.cd", colour=" red ", city="Rome"),
    customer(local_id="2", full_name="Zoë 🙂", birth_date="1980-01-02", email=None, colour="", city="Oslo"),
    customer(local_id="3", full_name=None, birth_date=None, email="x", colour=None, city=None),
    customer(local_id="4", full_name="", birth_date="0000-00-00", email="", colour="\x1f", city="Bonn"),
    customer(local_id="5", full_name="broken", birth_date="1980-01-05", email="e@f.gh", colour="green", city="Paris"),
]
KINDS = {"birth_date": Kind.DATE, "colour": Kind.OTHER}


@pytest.mark.parametrize("field", ["full_name", "birth_date", "email", "colour", "register_date"])
@pytest.mark.parametrize("keyless", [False, True])
@pytest.mark.parametrize("policies", [Policies(), Policies("null", "null"), Policies("text", "text")])
def test_a_row_that_is_not_utf8_changes_no_other_row(field: str, keyless: bool, policies: Policies) -> None:
    fields = ("full_name", "birth_date", "email", "colour", "register_date")
    asked = replace(CUSTOMERS, key=() if keyless else ("id",), policies=dict.fromkeys(fields, policies))
    text = batch(MIXED, KINDS)
    expected, found = take(text, asked), take(as_bytes(text, {(field, 4): b"\xff\x00"}), asked)
    others = pl.col("_key") != "5"
    assert found.records.filter(others).equals(expected.records.filter(others))
    rest = expected.refused.filter(pl.col("_row_key").is_in(found.refused["_row_key"].implode()))
    assert rest.height == expected.refused.height
    assert found.refused.filter(pl.col("_row_key").is_in(rest["_row_key"].implode())).equals(rest)
    assert found.refused.height == expected.refused.height + (policies.invalid != "null" or field == "register_date")


@pytest.mark.parametrize("field", ["full_name", "birth_date", "email", "colour"])
@pytest.mark.parametrize("policy", ["refuse", "text"])
def test_text_that_is_not_utf8_is_refused_with_its_bytes_shown(field: str, policy: Policy) -> None:
    given = as_bytes(batch([MIXED[0], MIXED[4]], KINDS), {(field, 1): b"caf\xe9", ("city", 0): b"K\xc3\xb6ln"})
    intake = take(given, replace(CUSTOMERS, policies={field: Policies(invalid=policy)}))
    assert intake.refused.select("_row_key", "_field", "_rule").rows() == [("1", field, "not_utf8")]
    row = json.loads(intake.refused["_row"][0])
    assert row == {**MIXED[4], field: "636166e9", "city": "Paris"}
    assert intake.records["city"].to_list() == ["Köln"]


@pytest.mark.parametrize("field, output", [("full_name", "full_name"), ("colour", "custom.colour")])
def test_text_that_is_not_utf8_may_become_null(field: str, output: str) -> None:
    given = as_bytes(batch([MIXED[0], MIXED[4]], KINDS), {(field, 1): b"caf\xe9"})
    intake = take(given, replace(CUSTOMERS, policies={field: Policies(invalid="null")}))
    assert intake.refused.is_empty()
    nulled = take(batch([MIXED[0], {**MIXED[4], field: None}], KINDS))
    assert intake.records.equals(nulled.records)
    assert intake.records[output][1] is None


def test_an_identity_that_is_not_utf8_is_refused_whatever_its_policy() -> None:
    given = as_bytes(batch([customer(local_id="1"), customer(local_id="2")]), {("local_id", 1): b"\xff"})
    intake = take(given, replace(CUSTOMERS, policies={"local_id": Policies("null", "null")}))
    assert intake.refused.select("_field", "_rule").rows() == [("local_id", "not_utf8")]
    assert intake.records["_key"].to_list() == ["1"]


def test_a_field_that_is_not_utf8_is_the_reason_before_a_later_one() -> None:
    given = as_bytes(batch([customer(email="x", colour="a", city="b")]), {("colour", 0): b"\xff", ("city", 0): b"\xfe"})
    assert take(given).refused.select("_field", "_rule").rows() == [("email", "not_an_email")]
    given = as_bytes(batch([customer(colour="a", city="b")]), {("colour", 0): b"\xff", ("city", 0): b"\xfe"})
    refused = take(given).refused
    assert refused.select("_field", "_rule").rows() == [("city", "not_utf8")]
    assert json.loads(refused["_row"][0])["colour"] == "ff"


def test_a_column_of_bytes_is_hex_as_ever() -> None:
    given = as_bytes(batch([customer(colour="a", city="b")], {"colour": Kind.BYTES, "city": Kind.BYTES}), {})
    rows = given.rows.with_columns(pl.lit(b"\xff").alias("colour"), pl.lit(b"ok").alias("city"))
    record = take(replace(given, rows=rows)).records.row(0, named=True)
    assert (record["custom.colour"], record["city"]) == ("ff", "6f6b")


def test_keyless_rows_that_differ_in_bytes_only_have_stable_names() -> None:
    rows: list[dict[str, Any]] = [{"page": "home", "ip": ip, "_key": None} for ip in ("a", "b", "c")]
    damage = {("ip", 0): b"\xff", ("ip", 1): b"\xfe"}
    first = take(as_bytes(batch(rows), damage), Feed(STREAM, VISIT)).refused
    again = take(as_bytes(batch(rows), {("ip", 0): b"\xfe", ("ip", 1): b"\xff"}), Feed(STREAM, VISIT)).refused
    assert first["_row_key"].to_list() == again["_row_key"].to_list()[::-1]
    assert first["_row_key"].n_unique() == 2


def test_a_record_without_policies_keeps_its_fingerprint() -> None:
    intake = take([customer(birth_date="1980-01-01", colour="red")])
    assert intake.records["_fingerprint"][0].hex() == "394d568c9a8639dd8d8965b86a5b4be5"
