"""From the rows of a batch to records and refused rows.

A plan holds the expressions for one entity and one schema of rows; building them costs milliseconds, so it is kept.
Running it has three steps, and rows that are as expected only see the first:

1. the plain expression of every field, in one pass over the batch;
2. for a field that became null where its source is not: the exact expression, on those rows only;
3. the checks; only where one fails, the reason: the first failing field in the entity's order, and its rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from connector.core.checks import NO_NUL
from connector.core.convert import Conversion, Source, as_text, convert, keep, raw_json
from connector.core.entity import Context, Entity, EntityField
from connector.errors import ConfigError
from connector.model import Column

NORMALISER = 1
"""Raise when the core's own rules change: conversions, custom attributes, the fingerprint's text."""

CUSTOM = "custom."
"""What a custom attribute's name begins with in a record."""

_BROKEN = "_broken."  # before a field's name: the rule that its conversion broke

_NONE_FAILS = pl.repeat(False, pl.len(), dtype=pl.Boolean)  # for an entity without a check

Columns = tuple[tuple[str, Column], ...]
Schema = tuple[tuple[str, pl.DataType], ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch after its plan ran: the records of all its rows, which rows are refused, and why.

    `reasons` holds `field`, `rule` and `row`, one row for each True in `refused`; without any, no columns at all.
    """

    records: pl.DataFrame
    refused: pl.Series
    reasons: pl.DataFrame


@dataclass(frozen=True, slots=True)
class _Step:
    """The conversion of one source column to one output column."""

    output: str
    source: str
    conversion: Conversion


@dataclass(frozen=True, slots=True)
class Plan:
    """The expressions for one entity and one schema. Running it is pure."""

    steps: tuple[_Step, ...]
    texts: tuple[_Step, ...]
    fails: pl.Expr
    field: pl.Expr
    rule: pl.Expr
    raw: tuple[pl.Expr, ...]

    def run(self, rows: pl.DataFrame) -> Judged:
        """Convert and check every row."""
        records, broken = _convert(rows, self.steps)
        refused = records.select(self.fails.alias("refused"))["refused"]
        for rules in broken.values():
            refused = refused | rules.is_not_null()
        if not refused.any():
            return Judged(records, refused, pl.DataFrame())
        marks = [broken.get(step.output, pl.lit(None, pl.String)).alias(_BROKEN + step.output) for step in self.steps]
        reasons = records.with_columns(marks).filter(refused).select(self.field, self.rule)
        raw = rows.filter(refused).select(pl.struct(self.raw).struct.json_encode().alias("row"))
        return Judged(records, refused, reasons.with_columns(raw["row"]))

    def as_texts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return every column as the database would write it, whichever reader delivered it."""
        return _convert(rows, self.texts)[0]


def _convert(rows: pl.DataFrame, steps: tuple[_Step, ...]) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """Return the outputs of all steps, and for those where a rule was broken the rule of every row or null."""
    outputs = rows.select(step.conversion.plain.alias(step.output) for step in steps)
    broken: dict[str, pl.Series] = {}
    for step in steps:
        given, values = rows[step.source], outputs[step.output]
        exact = step.conversion.exact
        if exact is None or not values.null_count():
            continue
        at = (given.is_not_null() & values.is_null()).arg_true()
        if at.is_empty():
            continue
        repaired = exact(given.gather(at))
        if repaired.rules.null_count() < at.len():
            nothing = pl.repeat(None, rows.height, dtype=pl.String, eager=True)
            broken[step.output] = nothing.scatter(at, repaired.rules)
        if repaired.values.null_count() < at.len():
            outputs = outputs.with_columns(values.scatter(at, repaired.values))
    return outputs, broken


@lru_cache(maxsize=256)
def plan(entity: Entity, context: Context, columns: Columns, schema: Schema) -> Plan:
    """Build the plan for an entity and the mapped columns of a batch."""
    dtypes = dict(schema)
    sources = {name: Source(column, name, dtypes[name]) for name, column in columns}
    _refuse_unusable(entity, sources)
    mapped = [field for field in entity.fields if field.name in sources]
    steps = [_field_step(field, entity, sources[field.name], context) for field in mapped]
    custom = [name for name in sources if name not in entity.by_name]
    steps += [_Step(CUSTOM + name, name, keep(sources[name])) for name in custom]
    failures = [(field, failure) for field in mapped for failure in _failures(field, entity, context)]
    reasons = [(field, failure) for field in mapped for failure in (_broken(field), *_failures(field, entity, context))]
    return Plan(
        steps=tuple(steps),
        texts=tuple(_Step(name, name, as_text(source)) for name, source in sources.items()),
        fails=pl.any_horizontal(_NONE_FAILS, *(failed for _, (failed, _) in failures)),
        field=pl.coalesce(pl.when(failed).then(pl.lit(field.name)) for field, (failed, _) in reasons).alias("field"),
        rule=pl.coalesce(pl.when(failed).then(rule) for _, (failed, rule) in reasons).alias("rule"),
        raw=tuple(raw_json(source).alias(name) for name, source in sources.items()),
    )


def _refuse_unusable(entity: Entity, names: Iterable[str]) -> None:
    missing = [field.name for field in entity.fields if field.required and field.name not in names]
    if missing:
        raise ConfigError(
            f"a {entity.name} needs {', '.join(missing)}, which the stream doesn't map",
            remedy="Map a column or an expression to it under `fields`",
        )
    for name in names:
        # polars reads these as patterns over column names
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise ConfigError(f"a field can't be named {name!r}", remedy="Give it another name under `fields`")


def _field_step(field: EntityField, entity: Entity, source: Source, context: Context) -> _Step:
    conversion = convert(source, field.type, context.time_zone, reference=field.name in entity.references)
    if field.normalise is not None:
        conversion = conversion.then(field.normalise)
    return _Step(field.name, field.name, conversion)


def _broken(field: EntityField) -> tuple[pl.Expr, pl.Expr]:
    rule = pl.col(_BROKEN + field.name)
    return rule.is_not_null(), rule


def _failures(field: EntityField, entity: Entity, context: Context) -> list[tuple[pl.Expr, pl.Expr]]:
    value = pl.col(field.name)
    failures = [(value.is_null(), pl.lit("required"))] if field.required else []
    asked = (NO_NUL, *field.checks) if field.name in entity.identity else field.checks
    checks = ((~check.passes(value, context), check.rule) for check in asked)
    return failures + [(failed.fill_null(False), pl.lit(rule)) for failed, rule in checks]
