"""Odd values through whole pulls, by both readers: stored or refused by the rules, and all around them arrive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from connector import registry
from connector.config.resolved import Field
from connector.core.entity import Entity, EntityField, FieldType
from connector.model import RunState
from tests.contract.engines import needs
from tests.contract.pulling import NAME, Pulling, at
from tests.contract.types_lines import Refused, written
from tests.contract.types_reading import READERS, Reader

each_reader = pytest.mark.parametrize("reader", READERS)

THING = Entity(
    "thing",
    (EntityField("local_id", required=True), EntityField("note"), EntityField("amount", FieldType.DECIMAL)),
    ("local_id",),
    load_order=1,
    rules=1,
)
ROWS, BATCH = 40, 10
TYPES = {
    "postgresql": "code text, note text, amount float8, v text, y float8, n numeric, b bytea",
    "mysql": "code VARCHAR(20), note VARCHAR(20), amount DOUBLE, v VARCHAR(20), y DOUBLE, n DECIMAL(9, 2), b BLOB",
}
USUAL = {"note": "fine", "amount": "1.5", "custom.v": "v", "custom.y": 0.25, "custom.n": "7", "custom.b": "ff"}


@dataclass(frozen=True, slots=True)
class Odd:
    """A value in one column of one row, and what is to become of it in the store, under which name."""

    row: int
    column: str
    literal: str
    becomes: Any
    name: str = ""

    @property
    def output(self) -> str:
        return self.name or f"custom.{self.column}"


NOT_UTF8 = "_utf8mb4 x'eda080'"  # half of a character, which the server takes for one
ODD = {
    "postgresql": (
        Odd(2, "b", r"'\x00ff00'", "00ff00"),
        Odd(3, "amount", "'NaN'", Refused("not_a_decimal")),
        Odd(13, "amount", "'-Infinity'", Refused("not_a_decimal")),
        Odd(14, "y", "'NaN'", float("nan")),
        Odd(15, "y", "'Infinity'", float("inf")),
        Odd(16, "n", "'NaN'", "NaN"),
        Odd(17, "n", "'-Infinity'", "-Infinity"),
        Odd(18, "v", r"E'\x01\x7f\t\\N\n'", "\x01\x7f\t\\N\n"),
        Odd(40, "amount", "'Infinity'", Refused("not_a_decimal")),
    ),
    "mysql": (
        Odd(2, "b", "x'00ff00'", "00ff00"),
        Odd(3, "code", r"'3\0'", Refused("nul_character"), "local_id"),
        Odd(13, "note", NOT_UTF8, Refused("not_utf8")),
        Odd(14, "v", NOT_UTF8, Refused("not_utf8")),
        Odd(15, "note", r"'a\0b'", "a\0b", "note"),
        Odd(16, "v", r"'\0'", "\0"),
        Odd(18, "v", r"'\Z\t\\N\n'", "\x1a\t\\N\n"),
        Odd(40, "note", NOT_UTF8, Refused("not_utf8")),
    ),
}


def expected(engine: str) -> tuple[dict[str, dict[str, str]], dict[str, tuple[str, str]]]:
    """Return what is to be recorded, as Python writes it, by identity, and what is to be refused and why, by key."""
    records = {str(row): {name: written(value) for name, value in USUAL.items()} for row in range(1, ROWS + 1)}
    refused = {}
    for odd in ODD[engine]:
        if isinstance(odd.becomes, Refused):
            del records[str(odd.row)]
            refused[str(odd.row)] = (odd.name or odd.column, odd.becomes.rule)
        else:
            records[str(odd.row)][odd.output] = written(odd.becomes)
    return records, refused


@needs("server")
@each_reader
def test_an_odd_value_is_stored_or_refused_and_all_other_rows_arrive(client: Pulling, reader: Reader) -> None:
    columns = TYPES[client.engine.name]
    client.patch.setitem(registry.ENTITIES, THING.name, THING)
    client.execute(f"CREATE TABLE t (id BIGINT PRIMARY KEY, {columns}, updated_at {{stamp}})")
    client.insert(*((i, str(i), "fine", 1.5, "v", 0.25, 7, b"\xff", at(i)) for i in range(1, ROWS + 1)))
    with client.database.raw() as run:
        for odd in ODD[client.engine.name]:
            run(f"UPDATE t SET {odd.column} = {odd.literal} WHERE id = {odd.row}")
    client.configure(
        source=replace(client.database.source, reader=reader),
        entity=THING.name,
        fields={"local_id": Field(column="code"), **{n: Field(column=n) for n in "note amount v y n b".split()}},
        batch_size=BATCH,
    )
    records, refused = expected(client.engine.name)
    counters = client.succeed().counters
    assert (counters.read, counters.created, counters.refused) == (ROWS, len(records), len(refused))
    assert {
        record["local_id"]: {name: written(record[name]) for name in USUAL} for record in client.records()
    } == records
    assert quarantine(client) == refused
    assert client.mark() is not None
    again = client.succeed().counters
    assert (again.created, again.updated) == (0, 0)


def quarantine(client: Pulling) -> dict[str, tuple[str, str]]:
    row = client.app.store.find_stream(NAME)
    assert row is not None
    return {entry.row_key: (entry.field, entry.rule) for entry in client.app.store.quarantine_entries(row, 1_000)}


@needs("unsigned")
@each_reader
@pytest.mark.parametrize("size", [1, 2, 3])
def test_unsigned_keys_are_paged_over_the_signed_range(client: Pulling, reader: Reader, size: int) -> None:
    keys = (0, 1, 2**63 - 2, 2**63 - 1, 2**63, 2**63 + 1, 2**63 + 2, 2**64 - 2, 2**64 - 1)
    client.execute("CREATE TABLE t (id {unsigned} PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(*((key, f"v{key}", at(0)) for key in keys))
    client.configure(source=replace(client.database.source, reader=reader), batch_size=size)
    for _ in range(2):
        client.stop_after(1)
    assert client.succeed().counters.created == len(keys) - 2 * size
    assert client.final() == {str(key): f"v{key}" for key in keys}
    client.execute(f"UPDATE t SET v = 'again' WHERE id >= {2**63}")
    client.execute(f"UPDATE t SET updated_at = '{at(9)}' WHERE id >= {2**63}")
    assert client.succeed().counters.updated == 5
    assert client.final() == client.expected()


@needs("unsigned")
@each_reader
def test_a_key_that_is_not_utf8_stops_the_stream_and_says_what_to_do(client: Pulling, reader: Reader) -> None:
    """No pull could go on behind it."""
    client.execute("CREATE TABLE t (id VARCHAR(9) COLLATE utf8mb4_bin PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(("a", "v", at(0)), ("b", "v", at(0)), ("\uffff", "v", at(0)))
    client.execute(f"INSERT INTO t VALUES ({NOT_UTF8}, 'v', '{at(0)}')")
    client.configure(source=replace(client.database.source, reader=reader), batch_size=1)
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "key column id is not UTF-8" in result.error
    assert set(client.final()) == {"a", "b"}
    assert client.watermark() is None
