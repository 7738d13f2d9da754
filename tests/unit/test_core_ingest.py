"""What the one door to the core hands to the store."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from connector.core.entities.customer import CUSTOMER
from connector.core.entities.receipt import RECEIPT
from connector.core.entity import Entity, EntityField, FieldType
from connector.core.ingest import ROWS_TO_JUDGE, Feed, Progress, ingest
from connector.errors import ConfigError, KeyViolation, StreamStopped
from connector.model import Batch, Column, Counters, Kind, Level, Marks, OpenPull, StreamId, Watermark
from connector.store.intake import Intake

NOW = datetime(2026, 6, 1, tzinfo=UTC)
STREAM = StreamId("acme", "people")
CUSTOMERS = Feed(STREAM, CUSTOMER, "Europe/Kyiv", key=("id",))
VISIT = Entity("visit", (EntityField("page", required=True),), (), load_order=6, rules=3)
LINE = Entity(
    "line",
    (EntityField("receipt", required=True), EntityField("line", required=True)),
    ("receipt", "line"),
    load_order=5,
    rules=1,
)


@dataclass
class FakeStore:
    """A store that remembers what it was given."""

    intakes: list[Intake] = field(default_factory=list)

    def commit_batch(self, run: str, intake: Intake) -> Counters:
        assert run == "run"
        self.intakes.append(intake)
        return Counters(read=intake.read, created=intake.records.height, refused=intake.refused.height)


def batch(rows: list[dict[str, Any]], kinds: Mapping[str, Kind] | None = None) -> Batch:
    """Make a batch of text columns, except for `kinds`; `_key` is the row's number if it isn't given."""
    keyed = [{"_key": str(number), "_watermark": "1", **row} for number, row in enumerate(rows)]
    frame = pl.DataFrame(keyed, infer_schema_length=None)
    names = [name for name in frame.columns if not name.startswith("_")]
    columns = {name: Column(name, (kinds or {}).get(name, Kind.TEXT), "native") for name in names}
    return Batch(frame, columns, None, last=True)


def customer(**values: Any) -> dict[str, Any]:
    return {"local_id": "1", "register_date": "2024-01-01 00:00:00", **values}


def take(rows: Batch | list[dict[str, Any]], feed: Feed = CUSTOMERS, **progress: Any) -> Intake:
    store = FakeStore()
    given = rows if isinstance(rows, Batch) else batch(rows)
    ingest(store, "run", feed, given, Progress(read_order=7, **progress), NOW)
    return store.intakes[0]


def reason(**values: Any) -> tuple[str, str] | None:
    refused = take([customer(**values)]).refused
    return (refused["_field"][0], refused["_rule"][0]) if refused.height else None


def test_a_row_becomes_a_record_with_its_keys() -> None:
    intake = take([customer(local_id="A 1", full_name=" Ann ", colour="red", _key="17")])
    row = intake.records.drop("_fingerprint").row(0, named=True)
    assert row == {
        "_key": "A 1",
        "_row_key": "17",
        "local_id": "A 1",
        "full_name": "Ann",
        "register_date": datetime(2023, 12, 31, 22, tzinfo=UTC),
        "custom.colour": "red",
    }
    assert [len(value) for value in intake.records["_fingerprint"]] == [16]
    assert intake.refused.is_empty()
    assert (intake.read, intake.rules, intake.read_order) == (1, 2_001, 7)


def test_progress_travels_with_the_batch() -> None:
    watermark = Watermark(Level.EXACT, Marks(id="9"))
    intake = take([customer()], open_pull=OpenPull(watermark), watermark=watermark)
    assert intake.open_pull == OpenPull(watermark)
    assert intake.watermark == watermark


def test_what_the_store_counted_is_returned() -> None:
    counters = ingest(FakeStore(), "run", CUSTOMERS, batch([customer()]), Progress(1), NOW)
    assert counters == Counters(read=1, created=1)


def test_broken_rows_are_refused_and_stop_nothing() -> None:
    broken = [
        (customer(local_id="good 1"), None),
        (customer(local_id=""), ("local_id", "required")),
        (customer(local_id=None), ("local_id", "required")),
        (customer(register_date=None), ("register_date", "required")),
        (customer(register_date="0000-00-00 00:00:00"), ("register_date", "zero_date")),
        (customer(register_date="2009-12-31 23:59:59"), ("register_date", "before_2010")),
        (customer(register_date="2027-01-01 00:00:00"), ("register_date", "after_this_year")),
        (customer(register_date="2024-01-01 00:00:00.0000001"), ("register_date", "finer_than_microseconds")),
        (customer(sex="robot"), ("sex", "not_a_sex")),
        (customer(email="ann"), ("email", "not_an_email")),
        (customer(email="ann@localhost"), ("email", "not_an_email")),
        (customer(email="a b@c.de"), ("email", "not_an_email")),
        (customer(email="a@b@c.de"), ("email", "not_an_email")),
        (customer(phone="1234"), ("phone", "not_a_phone")),
        (customer(phone="1234567890123456"), ("phone", "not_a_phone")),
        (customer(birth_date="2023-02-29"), ("birth_date", "not_a_date")),
        (customer(email_consent="maybe"), ("email_consent", "not_a_boolean")),
        (customer(email="ann", phone="1", register_date="soon"), ("register_date", "not_a_timestamp")),
        (customer(local_id="good 2"), None),
    ]
    names = ["local_id", "register_date", "sex", "email", "phone", "birth_date", "email_consent"]
    intake = take([{**dict.fromkeys(names), **row} for row, _ in broken])
    assert intake.records["local_id"].to_list() == ["good 1", "good 2"]
    expected = [(str(number), *why) for number, (_, why) in enumerate(broken) if why]
    assert intake.refused.select("_row_key", "_field", "_rule").rows() == expected
    assert intake.read == len(broken)


def test_a_receipt_has_its_own_rules() -> None:
    feed = Feed(STREAM, RECEIPT, key=("id",))
    good = {"local_id": "1", "date": "2001-01-01", "total": "10.00", "customer_local_id": " 7 ", "items_count": "3.0"}
    rows = [good, {**good, "total": "1,5"}, {**good, "total": ""}, {**good, "items_count": "1.5"}]
    intake = take(batch(rows), feed)
    record = intake.records.row(0, named=True)
    assert (record["total"], record["items_count"], record["customer_local_id"]) == ("10", 3, " 7 ")
    assert intake.refused.select("_field", "_rule").rows() == [
        ("total", "not_a_decimal"),
        ("total", "required"),
        ("items_count", "not_an_integer"),
    ]


@pytest.mark.parametrize(
    "given, kept",
    [("m", "M"), ("FEMALE", "F"), (" Ж ", "F"), ("1", "M"), ("2", "F"), ("9", None), ("?", None), ("", None)],
)
def test_a_sex_is_m_or_f_or_unknown(given: str, kept: str | None) -> None:
    assert take([customer(sex=given)]).records["sex"].to_list() == [kept]


def test_a_sex_may_be_a_number() -> None:
    given = batch([customer(sex=2)], {"sex": Kind.INTEGER})
    assert take(given).records["sex"].to_list() == ["F"]


def test_addresses_and_numbers_are_cleaned() -> None:
    record = take([customer(email=" Ünal@Exämple.COM ", phone=" +38 (044) 123-45-67 ")]).records.row(0, named=True)
    assert record["email"] == "ünal@exämple.com"
    assert record["phone"] == "+380441234567"


def test_a_phone_is_read_in_the_streams_region() -> None:
    rows = [customer(phone="050 123 45 67"), customer(local_id="2", phone="+44 20 7946 0958")]
    for region, phone in (("UA", "+380501234567"), ("DE", "+49501234567"), (None, "0501234567")):
        records = take(rows, replace(CUSTOMERS, region=region)).records
        assert records["phone"].to_list() == [phone, "+442079460958"]


def test_the_year_is_judged_in_the_streams_time_zone() -> None:
    assert reason(register_date="2010-01-01 00:00:00") is None  # 2009 in UTC
    assert reason(register_date="2009-12-31 23:59:59") == ("register_date", "before_2010")


def test_a_year_has_begun_once_it_has_begun_anywhere() -> None:
    given = batch([customer(register_date="2027-01-01 00:00:00")])
    for now, refused in ((datetime(2026, 12, 31, 9, 59, tzinfo=UTC), 1), (datetime(2026, 12, 31, 10, tzinfo=UTC), 0)):
        store = FakeStore()
        ingest(store, "run", CUSTOMERS, given, Progress(1), now)
        assert store.intakes[0].refused.height == refused


def test_a_refused_row_is_kept_as_the_source_gave_it() -> None:
    row = customer(local_id=5, email="x\x00\x1f\"'", photo=b"\x00\xff", score=float("nan"), note=None, total=2**64 - 1)
    kinds = {"local_id": Kind.INTEGER, "photo": Kind.BYTES, "score": Kind.FLOAT, "total": Kind.INTEGER}
    given = batch([row], kinds)
    given = replace(given, rows=given.rows.with_columns(pl.lit(2**64 - 1, pl.UInt64).alias("total")))
    refused = take(given).refused
    assert json.loads(refused["_row"][0]) == {**row, "photo": "00ff", "score": "NaN"}


def test_a_batch_of_refused_rows_only_still_commits() -> None:
    intake = take([customer(email="x"), customer(email="y")])
    assert intake.records.height == 0
    assert intake.refused.height == 2
    assert {"_key", "_fingerprint", "_row_key"} <= set(intake.records.columns)


def test_an_empty_batch_still_commits() -> None:
    given = batch([customer()])
    intake = take(replace(given, rows=given.rows.clear()))
    assert (intake.read, intake.records.height, intake.refused.height) == (0, 0, 0)


def test_an_identity_twice_in_a_batch_stops_the_stream() -> None:
    with pytest.raises(
        KeyViolation, match="acme/people: local_id, the identity of a customer, is not unique"
    ) as raised:
        take([customer(local_id="secret"), customer(local_id="secret")])
    assert "secret" not in str(raised.value)


def test_a_refused_row_may_share_an_identity() -> None:
    assert take([customer(email="x"), customer(email="a@b.cd")]).records.height == 1


def test_a_key_twice_in_a_batch_stops_the_stream() -> None:
    with pytest.raises(KeyViolation, match=r"acme/people: the key \[id\] is not unique"):
        take([customer(local_id="1", _key="a"), customer(local_id="2", _key="a", email="x")])


def test_a_key_that_is_null_stops_the_stream() -> None:
    with pytest.raises(KeyViolation, match=r"the key \[id\] is NULL in 1 of 2 rows"):
        take([customer(local_id="1"), customer(local_id="2", _key=None)])


def test_a_required_field_must_be_mapped() -> None:
    with pytest.raises(ConfigError, match="acme/people: a customer needs register_date, which the stream doesn't map"):
        take([{"local_id": "1"}])


def test_a_field_name_that_is_a_pattern_is_refused() -> None:
    with pytest.raises(ConfigError, match="can't be named"):
        take([customer(**{"^.*$": "1"})])


def test_an_identity_of_two_fields_cannot_be_confused() -> None:
    pairs = [("a", "b|c"), ("a|b", "c"), ("a\\", "|b"), ("a\\|", "b"), ("a", "b")]
    intake = take(batch([{"receipt": a, "line": b} for a, b in pairs]), Feed(STREAM, LINE, key=("id",)))
    assert intake.records["_key"].n_unique() == len(pairs)
    assert intake.records["_key"][4] == "a|b"


def test_equal_rows_of_a_tie_group_are_numbered() -> None:
    feed = Feed(STREAM, VISIT)
    home: dict[str, Any] = {"page": "home", "_key": None}
    rows = [home, home, {**home, "_watermark": "2"}]
    first, again = take(batch(rows), feed).records, take(batch(rows[::-1]), feed).records
    assert first["_key"].n_unique() == first["_row_key"].n_unique() == 3
    assert sorted(first["_key"]) == sorted(again["_key"])
    assert first["_fingerprint"].n_unique() == 1


def test_equal_rows_of_two_tie_groups_are_two_records() -> None:
    feed = Feed(STREAM, VISIT)
    earlier, later = ([{"page": "home", "_key": None, "_watermark": mark}] for mark in ("1", "2"))
    assert take(batch(earlier), feed).records["_key"][0] != take(batch(later), feed).records["_key"][0]


def test_keyless_rows_that_are_refused_have_stable_names() -> None:
    feed = Feed(STREAM, VISIT)
    pages = (("", "1"), ("", "2"), ("a", "1"))
    rows: list[dict[str, Any]] = [{"page": page, "ip": ip, "_key": None} for page, ip in pages]
    first, again = take(batch(rows), feed).refused, take(batch(rows[:2][::-1]), feed).refused
    assert first["_row_key"].n_unique() == 2
    assert sorted(first["_row_key"]) == sorted(again["_row_key"])


def test_a_record_without_identity_is_named_by_its_content_and_key() -> None:
    feed = Feed(STREAM, VISIT, key=("id",))
    first = take(batch([{"page": "a"}, {"page": "a"}]), feed).records["_key"]
    touched = take(batch([{"page": "a", "_watermark": "2"}, {"page": "b", "_watermark": "2"}]), feed).records["_key"]
    assert first.n_unique() == 2
    assert touched[0] == first[0]
    assert touched[1] != first[1]


def test_whole_rows_that_repeat_without_a_key_are_one_record() -> None:
    feed = replace(CUSTOMERS, key=())
    assert take([customer(_key=None), customer(_key=None)], feed).records.height == 1
    with pytest.raises(KeyViolation, match="is not unique"):
        take([customer(_key=None), customer(_key=None, email="a@b.cd")], feed)


def with_lateness(given: Batch, *times_us: int | None) -> Batch:
    return replace(given, rows=given.rows.with_columns(pl.Series("_late", times_us, dtype=pl.Int64)))


def test_lateness_goes_along_with_the_accepted_rows() -> None:
    rows = batch([customer(local_id="1"), customer(local_id=""), customer(local_id="2"), customer(local_id="3")])
    intake = take(with_lateness(rows, 5, 6, None, -7))
    assert dict(intake.records.select("_key", "_late").iter_rows()) == {"1": 5, "2": None, "3": -7}
    assert "_late" not in json.loads(intake.refused["_row"][0])


@pytest.mark.parametrize("feed", [CUSTOMERS, replace(CUSTOMERS, key=()), Feed(STREAM, VISIT), Feed(STREAM, LINE)])
def test_lateness_changes_nothing_else(feed: Feed) -> None:
    given = batch([{**customer(local_id=str(n)), "page": "a", "receipt": str(n), "line": "1"} for n in range(3)])
    plain, told = take(given, feed), take(with_lateness(given, 1, 2, 3), feed)
    assert told.records.drop("_late").equals(plain.records)
    assert "_late" not in plain.records.columns


def test_a_row_that_repeats_without_a_key_is_as_late_as_the_first() -> None:
    rows = batch([customer(_key=None), customer(_key=None)])
    assert take(with_lateness(rows, 9, 4), replace(CUSTOMERS, key=())).records["_late"].to_list() == [9]


def test_too_many_refused_rows_stop_the_stream() -> None:
    bad, good = customer(email="x"), customer()
    rows = [{**(bad if n % 2 else good), "local_id": str(n), "phone": None} for n in range(ROWS_TO_JUDGE)]
    rows = [{"email": None, **row} for row in rows]
    take(rows, replace(CUSTOMERS, max_rejected=0.5))
    with pytest.raises(StreamStopped, match=r"50 of 100 rows were refused.*email: not_an_email"):
        take(rows, replace(CUSTOMERS, max_rejected=0.49))
    take(rows[:-1], replace(CUSTOMERS, max_rejected=0.1))
    take(rows, replace(CUSTOMERS, max_rejected=0.1), so_far=Counters(read=1_000))


def test_a_good_batch_passes_after_a_bad_start() -> None:
    rows = [customer(local_id=str(n)) for n in range(9)]
    take(rows, replace(CUSTOMERS, max_rejected=0.5), so_far=Counters(read=99, refused=99))


def typed(given: Batch) -> Batch:
    """Return the same batch as a reader with typed columns would deliver it."""
    rows = given.rows.with_columns(
        pl.col("register_date").str.to_datetime(time_unit="us"),
        pl.col("seen").str.strip_suffix("+00").str.to_datetime(time_unit="ms", time_zone="UTC"),
        pl.col("birth_date").str.to_date(),
        pl.col("rating", "phone").cast(pl.Decimal(20, 4)),
    )
    return replace(given, rows=rows)


@pytest.mark.parametrize("keyless", [False, True])
def test_a_typed_reader_and_a_text_reader_give_the_same(keyless: bool) -> None:
    kinds = {
        "local_id": Kind.INTEGER,
        "register_date": Kind.TIMESTAMP,
        "seen": Kind.TIMESTAMPTZ,
        "birth_date": Kind.DATE,
        "rating": Kind.DECIMAL,
        "phone": Kind.DECIMAL,
    }
    dates = ["2024-03-31 03:30:00.5", "2024-10-27 03:30:00", "2024-07-01 00:00:00.123456", "2005-01-01 00:00:00", None]
    rows = [
        {
            "local_id": number,
            "register_date": date,
            "seen": f"2024-01-0{number} 10:00:00.120+00",
            "birth_date": f"1980-02-1{number}",
            "rating": ["-0.00", "1.50", "12", "0.0001", None][number - 1],
            "phone": "380441234567.0000",
            "full_name": f"Name {number}",
            "_key": None if keyless else str(number),
        }
        for number, date in enumerate(dates, 1)
    ]
    feed = replace(CUSTOMERS, key=() if keyless else ("id",))
    text = batch(rows, kinds)
    from_text, from_typed = take(text, feed), take(typed(text), feed)
    assert from_text.records.height == 3
    assert from_text.records.equals(from_typed.records, null_equal=True)
    assert from_text.refused.drop("_row").equals(from_typed.refused.drop("_row"))


def test_a_batch_of_ten_thousand_refused_rows_takes_less_than_a_second() -> None:
    rows = [customer(local_id=str(n), register_date="0000-00-00 00:00:00", email="x") for n in range(10_000)]
    given = batch(rows)
    take(given)  # builds the plan
    started_s = time.perf_counter()
    assert take(given).refused.height == 10_000
    assert time.perf_counter() - started_s < 1


def test_entities_declare_what_they_mean() -> None:
    with pytest.raises(ValueError, match="twice"):
        Entity("thing", (EntityField("a"), EntityField("a")), (), load_order=1, rules=1)
    with pytest.raises(ValueError, match="must be text"):
        Entity("thing", (EntityField("a", FieldType.INTEGER),), ("a",), load_order=1, rules=1)
