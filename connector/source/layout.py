"""How a stream reads its source: which columns are selected, under which alias, and what the catalogue says of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import xxhash

from connector.config.resolved import Stream
from connector.errors import ConfigError, KeyViolation
from connector.model import Bound, Column, Kind
from connector.source import tenant
from connector.source.dialect import Capabilities, TableFacts
from connector.source.frames import Wanted
from connector.source.keyset import key_columns
from connector.source.select import OneOf, Output, Predicate, Relation, Select, Slot, Table
from connector.source.window import Window, number, read_stamp, write_stamp

WATERMARK, TENANT, KEY, LATE = "_watermark", "_tenant", "_key", "_late"

SAME_AS_TEXT = frozenset(
    {Kind.INTEGER, Kind.DECIMAL, Kind.TEXT, Kind.UUID, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ}
)
"""Kinds whose text is the same whether a column was read as text or by its type."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A stream resolved against its source.

    `outputs` are what every batch selects, and `wanted` what is read of them, one by one. A column that is wanted
    twice, as a field and as a part of the key, say, is selected once: `copies` name such a column and its original.
    """

    relation: Relation
    outputs: tuple[Output, ...]
    fields: dict[str, Column]
    watermark: Column
    key: tuple[Column, ...]
    tenant: Column | None
    spellings: tuple[str, ...]
    window: Window
    watermark_nullable: bool
    facts: TableFacts | None = None  # None for a query
    wanted: tuple[Wanted, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()

    @property
    def order(self) -> tuple[Column, ...]:
        return (self.watermark, *key_columns(self.watermark, self.key))

    @property
    def where(self) -> tuple[Predicate, ...]:
        return () if self.tenant is None else (OneOf(self.tenant, self.spellings),)

    @property
    def basis(self) -> str:
        """What marks are values of: a mark of another column, relation or tenant must not be used."""
        owner = "" if self.tenant is None else self.tenant.name
        rows = xxhash.xxh3_64_hexdigest(repr((self.relation, owner, sorted(self.spellings))).encode())
        return f"{self.relation}|{self.watermark.name}|{self.watermark.kind}|{rows}"

    @property
    def indexed(self) -> bool:
        """Say whether an index begins with the watermark column, behind the tenant's where there is one."""
        if self.facts is None:
            return False
        watermark = self.facts.named(self.watermark.name)
        tenant = None if self.tenant is None else self.facts.named(self.tenant.name)
        return any(
            columns[:1] == (watermark,) or (tenant is not None and columns[:2] == (tenant, watermark))
            for columns in self.facts.indexes
        )

    @property
    def unique_ids(self) -> bool:
        """Say whether the watermark alone identifies a row, so that a number that was seen comes no second time."""
        if self.facts is None or self.watermark.kind is not Kind.INTEGER:
            return False
        return (self.facts.named(self.watermark.name),) in self.facts.unique

    @property
    def keyset(self) -> str:
        return "|".join(column.name for column in (self.watermark, *self.key))

    def slots(self, lower: Bound | None, capabilities: Capabilities) -> dict[Slot, str | int]:
        """Bind a raw query's slots to one unit below where the run begins, so that its own `>` cuts nothing off.

        Never to the position: a query may use them for more than the comparison that the keyset makes anyway.
        """
        last_id, last_date = capabilities.lowest_id, capabilities.lowest_date
        if lower is not None and self.watermark.kind.temporal:
            stamp = read_stamp(lower.value, self.window)
            if stamp is not None:
                earlier_us = stamp.instant_us - stamp.ambiguous_us - stamp.unit_us
                with suppress(OverflowError):  # nothing lies before the calendar's beginning
                    last_date = write_stamp(earlier_us, self.window, stamp)
        elif lower is not None:
            last_id = max(int(number(lower.value)) - 1, capabilities.lowest_id)
        return bound_slots(self.relation, last_id, last_date)


def relation_of(stream: Stream, capabilities: Capabilities) -> Relation:
    if stream.query is not None:
        from connector.source.query import parse_query  # its parser takes 0.1 s to import, and few streams need it

        return parse_query(stream.query, capabilities.sqlglot)
    return Table(tuple((stream.table or "").split(".")))


def describing(stream: Stream, capabilities: Capabilities) -> Select:
    """Return the select whose cursor describes everything that the stream needs; a query's own columns come by `*`."""
    relation = relation_of(stream, capabilities)
    outputs = _outputs(stream) if stream.fields else ()
    lowest = bound_slots(relation, capabilities.lowest_id, capabilities.lowest_date)
    return Select(relation, outputs, limit=capabilities.describe_rows, slots=lowest)


def resolve(
    stream: Stream,
    relation: Relation,
    described: tuple[Column, ...],
    facts: TableFacts | None,
    *,
    capabilities: Capabilities,
    known_fields: frozenset[str],
) -> Layout:
    """Return the stream's layout; ConfigError or KeyViolation names what does not fit."""
    found = {column.name: column for column in described}
    outputs = _outputs(stream) if stream.fields else _all(stream, found, known_fields)
    if any(name.startswith("_") for name in (stream.fields or found)):
        raise ConfigError(
            "a field's name begins with _, which is kept for the connector", remedy="Give it another alias"
        )
    fields = {output.alias: found[output.alias] for output in outputs if not output.alias.startswith("_")}

    def source_column(name: str, alias: str) -> Column:
        holder = alias if stream.fields else name
        if holder not in found:
            raise ConfigError(
                f"the query returns no column {name}", remedy=f"It returns: {', '.join(sorted(found)) or 'nothing'}"
            )
        column = found[holder]
        nullable = None if facts is None else facts.may_be_null(name)
        return Column(name, column.kind, column.native, nullable, column.padded, column.unit_us)

    watermark = _watermark(source_column(stream.watermark_column, WATERMARK), stream, capabilities)
    key = tuple(_never_null(source_column(name, f"{KEY}{index}")) for index, name in enumerate(stream.key))
    owner = None if stream.tenant is None else source_column(stream.tenant.column, TENANT)
    window = Window(
        watermark,
        ZoneInfo(stream.time_zone),
        round(stream.look_back_s * 1_000_000),
        stream.look_back_ids,
        round(stream.slack_s * 1_000_000),
    )
    wanted = _wanted(fields, watermark, key, owner)
    copies = _copies(outputs, wanted) if capabilities.typed_timestamps else {}
    outputs = tuple(output for output in outputs if output.alias not in copies)
    return Layout(
        relation,
        outputs,
        fields,
        watermark,
        key,
        owner,
        _spellings(stream, owner),
        window,
        watermark.nullable is not False,
        facts,
        wanted=tuple(wanted[output.alias] for output in outputs),
        copies=tuple(copies.items()),
    )


def _never_null(column: Column) -> Column:
    if column.nullable:
        raise KeyViolation(
            f"key column {column.name} may be NULL, so rows could be skipped",
            remedy="Choose columns that are NOT NULL, or set `key: none` to read whole groups of equal watermarks",
        )
    return column


def _outputs(stream: Stream) -> tuple[Output, ...]:
    outputs = [Output(alias, field.column, field.sql) for alias, field in stream.fields.items()]
    return (*outputs, *_system(stream))


def _system(stream: Stream) -> list[Output]:
    system = [Output(WATERMARK, stream.watermark_column)]
    system += [Output(f"{KEY}{index}", name) for index, name in enumerate(stream.key)]
    if stream.tenant is not None:
        system.append(Output(TENANT, stream.tenant.column))
    return system


def _spellings(stream: Stream, owner: Column | None) -> tuple[str, ...]:
    if stream.tenant is None or owner is None:
        return ()
    values = (stream.tenant.value, *stream.tenant.accept)
    return tuple(dict.fromkeys(tenant.spelled(value, owner) for value in values))


def _wanted(
    fields: Mapping[str, Column], watermark: Column, key: tuple[Column, ...], owner: Column | None
) -> dict[str, Wanted]:
    system = {WATERMARK: watermark, **{f"{KEY}{index}": column for index, column in enumerate(key)}}
    if owner is not None:
        system[TENANT] = owner
    return {
        **{name: Wanted(name, column) for name, column in fields.items()},
        **{name: Wanted(name, column, text=True) for name, column in system.items()},
    }


def _copies(outputs: tuple[Output, ...], wanted: Mapping[str, Wanted]) -> dict[str, str]:
    """Return which texts can be had from a column that is selected anyway: those that a typed column gives back."""
    first: dict[str, str] = {}
    copies: dict[str, str] = {}
    for output in outputs:
        if output.column is None or wanted[output.alias].kind not in SAME_AS_TEXT:
            continue
        original = first.setdefault(output.column, output.alias)
        if original != output.alias and wanted[output.alias].text:
            copies[output.alias] = original
    return copies


def _all(stream: Stream, found: dict[str, Column], known_fields: frozenset[str]) -> tuple[Output, ...]:
    """Select a query's own columns as fields, but for the tenant and a watermark that is no field of the entity."""
    left_out = {stream.tenant.column} if stream.tenant is not None else set()
    left_out |= {stream.watermark_column} - known_fields
    return (*(Output(name, name) for name in found if name not in left_out), *_system(stream))


def _watermark(column: Column, stream: Stream, capabilities: Capabilities) -> Column:
    if not capabilities.typed_timestamps and column.kind in (Kind.TEXT, Kind.OTHER):
        if stream.by == "timestamp":
            return Column(column.name, Kind.TIMESTAMP, column.native, column.nullable)
        if column.kind is Kind.OTHER:  # a column of which no value is there yet to tell by
            return Column(column.name, Kind.INTEGER, column.native, column.nullable)
    if column.kind.numeric or (column.kind.temporal and stream.by == "timestamp"):
        return column
    wanted = "a number that rises with every insert" if stream.by == "id" else "a timestamp, a date or a whole number"
    raise ConfigError(
        f"watermark column {column.name} is {column.native or column.kind}, and `by: {stream.by}` needs {wanted}",
        remedy="Choose another column, or change `by`",
    )


def bound_slots(relation: Relation, last_id: int, last_date: str) -> dict[Slot, str | int]:
    """Return what a query's slots are bound to; a table has none."""
    values: dict[Slot, str | int] = {Slot.LAST_ID: last_id, Slot.LAST_DATE: last_date}
    return {part: values[part] for part in relation.parts if isinstance(part, Slot)}
