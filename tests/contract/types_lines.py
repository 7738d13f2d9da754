"""Tables of values, one line each: what the readers deliver of it, and what the core makes of that.

A line is a column of its own in a table `t`, with its value in one row and NULL in all others, so that one pull per
type of field shows what becomes of every line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from connector import registry
from connector.config.resolved import Field
from connector.core.entity import Entity, EntityField, FieldType
from connector.model import RunState, StreamId
from connector.source.select import Output, Select
from tests.contract.pulling import Pulling
from tests.contract.types_reading import Reader, T, by, opened, read

CUSTOM = "custom"
TARGETS = (CUSTOM, *FieldType)
"""What a column may be mapped to: a custom attribute, or a field of a type."""

RULES: dict[str, str] = {
    FieldType.TIMESTAMP: "not_a_timestamp",
    FieldType.DATE: "not_a_date",
    FieldType.DECIMAL: "not_a_decimal",
    FieldType.INTEGER: "not_an_integer",
    FieldType.BOOLEAN: "not_a_boolean",
    FieldType.JSON: "not_json",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """The row goes to quarantine under this rule."""

    rule: str


@dataclass(frozen=True, slots=True)
class Line:
    """One value of one type. Without a type the literal is an expression, with the row's number for `{row}`.

    The reader delivers `value` in a column of type `dtype`. What the core takes is told by what the value stands for: a
    plain decimal, a moment in UTC, a truth, a JSON document. Fields of other types refuse it, but for text, which takes
    anything. An empty text is nothing to every type of field, and a custom attribute is the value itself, bytes as hex.
    `fields` names what is otherwise, by what the column is mapped to.
    """

    label: str
    type: str
    literal: str
    dtype: Any
    value: Any
    number: str = ""
    moment: str = ""
    truth: bool | None = None
    document: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""

    def recorded(self, target: str) -> Any:
        """Return what is to arrive in the store."""
        if target in self.fields:
            return self.fields[target]
        kept = self.value.hex() if isinstance(self.value, bytes) else self.value
        if self.dtype == pl.String:
            kept = self.number or kept
        if target == CUSTOM or kept is None:
            return kept
        if self.dtype == pl.String and not kept.strip():
            return None
        return self._taken().get(target, Refused(RULES.get(target, "")))

    def _taken(self) -> dict[str, Any]:
        """Return what the types of fields take of the value."""
        taken: dict[str, Any] = {FieldType.TEXT: str(self.recorded(CUSTOM)).strip()}
        if self.number:
            taken |= dict.fromkeys((FieldType.TEXT, FieldType.DECIMAL, FieldType.JSON), self.number)
            if "." not in self.number and -(2**63) <= int(self.number) < 2**63:
                taken[FieldType.INTEGER] = int(self.number)
            if self.number in ("0", "1"):
                taken[FieldType.BOOLEAN] = self.number == "1"
        if self.moment:
            at = datetime.fromisoformat(self.moment).replace(tzinfo=UTC)
            taken |= {FieldType.TIMESTAMP: at, FieldType.DATE: at.date()}
        if self.truth is not None:
            taken[FieldType.BOOLEAN] = self.truth
        if self.document:
            taken[FieldType.JSON] = self.value
        if self.dtype == pl.Boolean:
            taken |= dict.fromkeys((FieldType.TEXT, FieldType.JSON), str(self.truth).lower())
        return taken


@dataclass(frozen=True, slots=True)
class Specimens:
    """Lines in a client's database, and the program that reads them."""

    client: Pulling
    lines: Sequence[Line]

    def create(self, *settings: str) -> None:
        typed = [(name, line) for name, line in self._named() if line.type]
        with self.client.database.raw() as run:
            for statement in settings:
                run(statement)
            columns = ", ".join(f"{name} {line.type}" for name, line in typed)
            run(f"CREATE TABLE t (id BIGINT PRIMARY KEY, updated_at TIMESTAMP NOT NULL, {columns})")
            for row, (name, line) in enumerate(self._named(), 1):
                names, values = (f", {name}", f", {line.literal}") if line.type else ("", "")
                run(f"INSERT INTO t (id, updated_at{names}) VALUES ({row}, '2024-03-01 12:00:00'{values})")

    def delivered(self, reader: Reader, *, text: bool = False, limit: int | None = None) -> dict[str, tuple[Any, str]]:
        """Return what a reader makes of every line: the column's type and the value as Python writes it."""
        select = Select(T, tuple(self._outputs()), order=by("id"), limit=limit)
        with opened(self.client.database.source, reader) as session:
            frame = read(session, select, text=text)
        return {
            line.label: (frame[name].dtype, written(frame[name][row]))
            for row, (name, line) in enumerate(self._named())
            if frame[name].null_count() >= frame.height - 1 or pytest.fail(f"{line.label}: in other rows too")
        }

    def recorded(self, reader: Reader, target: str) -> dict[str, str]:
        """Pull every line into a field of one type, and return what came of it, as Python writes it."""
        client, names = self.client, [name for name, _ in self._named()]
        typed = () if target == CUSTOM else tuple(EntityField(name, FieldType(target)) for name in names)
        entity = Entity(f"{target}_{reader}", (EntityField("local_id"), *typed), ("local_id",), load_order=1, rules=1)
        client.patch.setitem(registry.ENTITIES, entity.name, entity)
        stream = StreamId("acme", entity.name)
        client.configure(
            source=replace(client.database.source, reader=reader),
            id=stream,
            entity=entity.name,
            fields={"local_id": Field(column="id"), **{output.alias: _field(output) for output in self._outputs()}},
            batch_size=1_000,
            max_rejected=1.0,
        )
        result = client.app.run_stream(str(stream))
        assert result.state is RunState.SUCCEEDED, result.error
        row = client.app.store.find_stream(stream)
        assert row is not None
        prefix = "custom." if target == CUSTOM else ""
        found: dict[str, str] = {}
        records = (record for frame in client.app.store.iter_records(row) for record in frame.to_dicts())
        for record in records:
            at = int(record["local_id"]) - 1
            found[self.lines[at].label] = written(record[prefix + names[at]])
        for entry in client.app.store.quarantine_entries(row, 1_000):
            at = int(entry.row_key) - 1
            assert entry.field == names[at], self.lines[at].label
            found[self.lines[at].label] = written(Refused(entry.rule))
        assert len(found) == len(self.lines)
        return found

    def _named(self) -> Iterable[tuple[str, Line]]:
        return [(f"c{number}", line) for number, line in enumerate(self.lines, 1)]

    def _outputs(self) -> list[Output]:
        return [
            Output(name, name) if line.type else Output(name, sql=line.literal.format(row=row))
            for row, (name, line) in enumerate(self._named(), 1)
        ]


def written(value: Any) -> str:
    """Write a value so that equal texts mean equal values: NaN, minus zero, texts and bytes are told apart."""
    return repr(value.astimezone(UTC) if isinstance(value, datetime) else value)


def _field(output: Output) -> Field:
    return Field(column=output.column, sql=output.sql)
