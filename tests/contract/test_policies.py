"""What a stream's `zero_dates` and `invalid` make of values that fields can't hold, from the database to the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from connector import registry
from connector.config.resolved import Field
from connector.core.entity import Entity, EntityField, FieldType
from connector.model import Policy
from tests.contract.engines import needs
from tests.contract.pulling import NAME, Pulling, at
from tests.contract.types_reading import READERS, Reader

THING = Entity(
    "thing",
    (
        EntityField("local_id", required=True),
        EntityField("moment", FieldType.TIMESTAMP),
        EntityField("day", FieldType.DATE),
    ),
    ("local_id",),
    load_order=1,
    rules=1,
)
ROWS = 25
USUAL = {"moment": datetime(2024, 3, 1, 12, tzinfo=UTC), "day": date(2024, 3, 1)}


@dataclass(frozen=True, slots=True)
class Case:
    """Values that break a rule in fields of THING, and one of another rule, which has to be refused throughout."""

    policy: str
    rules: dict[str, str]
    odd: dict[tuple[int, str], str]
    other: tuple[int, str, str, str]


CASES = {
    "mysql": Case(
        "zero_dates",
        {"moment": "zero_date", "day": "zero_date"},
        {(4, "moment"): "0000-00-00 00:00:00", (14, "day"): "2024-00-00", (15, "moment"): "2024-02-00 01:02:03"},
        (24, "day", "2023-02-31", "not_a_date"),
    ),
    "postgresql": Case(
        "invalid",
        {"moment": "not_a_timestamp", "day": "not_a_date"},
        {(4, "moment"): "infinity", (14, "day"): "-infinity", (15, "moment"): "0044-03-15 00:00:00 BC"},
        (24, "local_id", "", "required"),
    ),
}


def filled(client: Pulling, reader: Reader, case: Case) -> None:
    client.patch.setitem(registry.ENTITIES, THING.name, THING)
    client.execute(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, local_id {name}, moment {stamp}, day {date}, updated_at {stamp})"
    )
    client.insert(*((i, str(i), "2024-03-01 12:00:00", "2024-03-01", at(i)) for i in range(1, ROWS + 1)))
    row, column, value, _ = case.other
    with client.database.raw() as run:
        if "zero_dates" in client.has:
            run("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        for (at_row, name), odd in {**case.odd, (row, column): value}.items():
            run(f"UPDATE t SET {name} = '{odd}' WHERE id = {at_row}")
    client.configure(
        source=replace(client.database.source, reader=reader),
        entity=THING.name,
        fields={name: Field(column=name) for name in THING.by_name},
    )


def stored(client: Pulling) -> dict[int, dict[str, Any]]:
    return {
        int(record["local_id"]): {name: value for name, value in record.items() if not name.startswith(("_", "local"))}
        for record in client.records()
    }


def refused(client: Pulling) -> dict[int, tuple[str, str]]:
    row = client.app.store.find_stream(NAME)
    assert row is not None
    return {int(each.row_key): (each.field, each.rule) for each in client.app.store.quarantine_entries(row, 100)}


def usual(left_out: Iterable[int]) -> dict[int, dict[str, Any]]:
    return {row: dict(USUAL) for row in range(1, ROWS + 1) if row not in set(left_out)}


@needs("server")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("policy", ["refuse", "null", "text"])
def test_a_value_that_a_field_can_not_hold_becomes_what_its_option_says(
    client: Pulling, reader: Reader, policy: Policy
) -> None:
    case = CASES[client.engine.name]
    filled(client, reader, case)
    asked: dict[str, Any] = {case.policy: policy}
    client.configure(**asked)
    counters = client.succeed().counters
    records, reasons = expected(case, policy)
    assert stored(client) == records
    assert refused(client) == reasons
    assert (counters.read, counters.created, counters.refused) == (ROWS, len(records), len(reasons))


def expected(case: Case, policy: Policy) -> tuple[dict[int, dict[str, Any]], dict[int, tuple[str, str]]]:
    """Return the records by identity, and of the refused rows the field and the rule."""
    row, column, _, rule = case.other
    if policy == "refuse":
        odd = {odd_row: (name, case.rules[name]) for odd_row, name in case.odd}
        return usual({row, *odd}), {row: (column, rule), **odd}
    records = usual({row})
    for odd_row, name in case.odd:
        records[odd_row][name] = None
    if policy == "text":
        for some_row, record in records.items():
            record |= {f"custom.{name}": case.odd.get((some_row, name)) for name in case.rules}
    return records, {row: (column, rule)}


@needs("server")
@pytest.mark.parametrize("reader", READERS)
def test_a_fields_own_option_comes_first_and_a_changed_one_takes_what_was_refused(
    client: Pulling, reader: Reader
) -> None:
    case = CASES[client.engine.name]
    filled(client, reader, case)
    asked: dict[str, Any] = {case.policy: "null"}
    client.configure(**asked, fields=with_option(client, "moment", case.policy, "refuse"))
    client.succeed()
    row, column, _, rule = case.other
    moments = {odd_row for odd_row, name in case.odd if name == "moment"}
    assert refused(client) == {row: (column, rule)} | dict.fromkeys(moments, ("moment", case.rules["moment"]))
    assert set(stored(client)) == {*range(1, ROWS + 1)} - moments - {row}
    client.configure(fields=with_option(client, "moment", case.policy, "text"))
    for odd_row in moments:
        client.execute(f"UPDATE t SET updated_at = '{at(60)}' WHERE id = {odd_row}")
    client.succeed()
    assert refused(client) == {row: (column, rule)}
    found = stored(client)
    assert {odd: (found[odd]["moment"], found[odd]["custom.moment"]) for odd in moments} == {
        odd: (None, text) for (odd, name), text in case.odd.items() if name == "moment"
    }


def with_option(client: Pulling, field: str, option: str, policy: Policy) -> dict[str, Field]:
    fields = dict(client.stream.fields)
    own: dict[str, Any] = {option: policy}
    return fields | {field: replace(fields[field], **own)}
