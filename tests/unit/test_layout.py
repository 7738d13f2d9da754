"""How a stream is resolved against what its source shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connector.config.resolved import Field, Stream, Tenant
from connector.errors import ConfigError, ConnectorError, KeyViolation
from connector.model import Column, Kind, StreamId
from connector.registry import DIALECTS
from connector.source.dialect import TableFacts
from connector.source.layout import Layout, relation_of, resolve

STREAM = Stream(
    id=StreamId("acme", "customers"),
    entity="customer",
    watermark_column="changed",
    by="timestamp",
    table="shop.customers",
    key=("id",),
    fields={"local_id": Field(column="id"), "full_name": Field(sql="f || l")},
    tenant=Tenant("owner", "acme"),
)
DESCRIBED = {
    "local_id": Kind.INTEGER,
    "full_name": Kind.TEXT,
    "_watermark": Kind.TIMESTAMP,
    "_key0": Kind.INTEGER,
    "_tenant": Kind.TEXT,
}
FACTS = TableFacts(nullable={"id": False, "changed": False, "owner": False}, unique=(), indexes=(), view=False)
TYPED = next(dialect.capabilities for dialect in DIALECTS.values() if dialect.capabilities.typed_timestamps)


def layout(stream: Stream = STREAM, facts: TableFacts | None = FACTS, **kinds: Kind) -> Layout:
    found = {**DESCRIBED, **kinds}
    columns = tuple(Column(name, kind, kind.value) for name, kind in found.items())
    relation = relation_of(stream, TYPED)
    return resolve(stream, relation, columns, facts, capabilities=TYPED, known_fields=frozenset({"local_id"}))


def test_the_order_is_the_watermark_and_then_the_key_by_the_tables_own_names() -> None:
    assert [column.name for column in layout().order] == ["changed", "id"]


def test_the_fields_are_what_is_configured_and_nothing_of_ours() -> None:
    assert set(layout().fields) == {"local_id", "full_name"}


def test_a_schema_is_a_part_of_the_name() -> None:
    assert str(layout().relation) == "shop.customers"


def test_a_watermark_that_can_t_be_null_needs_no_second_pass() -> None:
    assert not layout().watermark_nullable
    assert layout(facts=replace(FACTS, nullable={**FACTS.nullable, "changed": True})).watermark_nullable
    assert layout(facts=None).watermark_nullable
    assert layout(facts=replace(FACTS, view=True)).watermark_nullable


def test_a_key_that_may_be_null_is_refused() -> None:
    with pytest.raises(KeyViolation, match="id may be NULL"):
        layout(facts=replace(FACTS, nullable={**FACTS.nullable, "id": True}))


@pytest.mark.parametrize(
    "by, kind",
    [
        ("timestamp", Kind.TIMESTAMP),
        ("timestamp", Kind.TIMESTAMPTZ),
        ("timestamp", Kind.DATE),
        ("timestamp", Kind.INTEGER),
        ("timestamp", Kind.DECIMAL),
        ("id", Kind.INTEGER),
        ("id", Kind.DECIMAL),
    ],
)
def test_kinds_that_have_an_exact_order_may_be_watermarks(by: Any, kind: Kind) -> None:
    assert layout(replace(STREAM, by=by), _watermark=kind).watermark.kind is kind


@pytest.mark.parametrize(
    "by, kind",
    [
        ("timestamp", Kind.TEXT),
        ("timestamp", Kind.FLOAT),
        ("timestamp", Kind.BYTES),
        ("timestamp", Kind.BOOLEAN),
        ("timestamp", Kind.UUID),
        ("timestamp", Kind.OTHER),
        ("id", Kind.TIMESTAMP),
        ("id", Kind.DATE),
        ("id", Kind.TEXT),
        ("id", Kind.UUID),
        ("id", Kind.FLOAT),
    ],
)
def test_other_kinds_are_refused_as_watermarks(by: Any, kind: Kind) -> None:
    with pytest.raises(ConfigError, match="changed"):
        layout(replace(STREAM, by=by), _watermark=kind)


def test_a_field_whose_name_is_kept_for_us_is_refused() -> None:
    with pytest.raises(ConfigError, match="_"):
        layout(replace(STREAM, fields={**STREAM.fields, "_key0": Field(column="x")}))


@pytest.mark.parametrize(
    "changes",
    [
        {"table": "shop.clients"},
        {"table": None, "query": "SELECT * FROM shop.customers"},
        {"tenant": Tenant("owner", "globex")},
        {"tenant": Tenant("owner", "acme", accept=("ACME",))},
        {"tenant": None},
    ],
)
def test_marks_of_other_rows_are_of_no_use(changes: dict[str, Any]) -> None:
    assert layout(replace(STREAM, **changes), changed=Kind.TIMESTAMP).basis != layout().basis


def test_marks_of_another_kind_are_of_no_use() -> None:
    assert layout(_watermark=Kind.DATE).basis != layout().basis


@pytest.mark.parametrize("changes", [{"batch_size": 5}, {"look_back_s": 1.0}, {"key": ()}, {"retries": 9}])
def test_marks_outlive_what_does_not_change_their_meaning(changes: dict[str, Any]) -> None:
    assert layout(replace(STREAM, **changes)).basis == layout().basis


def test_the_order_of_accepted_spellings_means_nothing() -> None:
    one, other = (Tenant("owner", "a", accept=accept) for accept in (("b", "c"), ("c", "b")))
    assert layout(replace(STREAM, tenant=one)).basis == layout(replace(STREAM, tenant=other)).basis


def test_another_key_is_another_keyset() -> None:
    assert layout(replace(STREAM, key=())).keyset != layout().keyset


def test_errors_never_hold_the_tenants_value() -> None:
    with pytest.raises(ConnectorError) as caught:
        layout(replace(STREAM, tenant=Tenant("owner", "s3cret-tenant")), _tenant=Kind.INTEGER)
    assert "s3cret-tenant" not in str(caught.value)
