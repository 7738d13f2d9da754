"""From the rows of a batch to records and refused rows.

A plan holds the expressions for one entity and one schema of rows; building them costs milliseconds, so it is kept.
Running it has three steps:

1. the conversions: the plain expression of every field, in one pass over the batch; then for a field that became null
   where its source is not, the exact expression, on those rows only;
2. the normalisers, in the same two ways, over what the conversions came to;
3. the checks; only where one fails, the reason: the first failing field in the entity's order, and its rule.

A rule that a field's policies waive is broken by nobody: the value is null, and checked like any other null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from connector.core.checks import NO_NUL
from connector.core.convert import Conversion, Source, as_text, convert, keep, keep_text, raw_json
from connector.core.decode import decoded, shown
from connector.core.entity import Context, Entity, EntityField, Exact, FieldType, Normaliser, unsure
from connector.core.policies import NONE_WAIVED, NOT_UTF8, Waiver, waiver
from connector.errors import ConfigError
from connector.model import Column, Kind, Policies

NORMALISER = 1
"""Raise when the core's own rules change: conversions, custom attributes, the fingerprint's text."""

CUSTOM = "custom."
"""What a custom attribute's name begins with in a record."""

_BROKEN = "_broken."  # before a field's name: the rule that its conversion broke

_NO_TEXT = pl.repeat(None, pl.len(), dtype=pl.String)

_NONE_FAILS = pl.repeat(False, pl.len(), dtype=pl.Boolean)  # for an entity without a check

Columns = tuple[tuple[str, Column], ...]
Schema = tuple[tuple[str, pl.DataType], ...]
FieldPolicies = tuple[tuple[str, Policies], ...]


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
    """How one source column becomes one output column, and the rules that its conversion may break.

    With `text`, the source's own text is kept beside such values, as the custom attribute of the output's name.
    """

    output: str
    source: str
    conversion: Conversion
    normaliser: Normaliser | None = None
    waiver: Waiver = NONE_WAIVED
    text: Conversion | None = None

    @property
    def custom(self) -> str:
        return CUSTOM + self.output


@dataclass(frozen=True, slots=True)
class Plan:
    """The expressions for one entity and one schema. Running it is pure.

    `as_bytes` names the columns of texts that came as bytes; everything else here takes them for texts.
    """

    as_bytes: tuple[str, ...]
    steps: tuple[_Step, ...]
    texts: tuple[_Step, ...]
    fails: pl.Expr
    field: pl.Expr
    rule: pl.Expr
    raw: tuple[pl.Expr, ...]

    def run(self, rows: pl.DataFrame) -> Judged:
        """Convert and check every row."""
        records, broken = self._converted(rows)
        refused = records.select(self.fails.alias("refused"))["refused"]
        for rules in broken.values():
            refused = refused | rules.is_not_null()
        if not refused.any():
            return Judged(records, refused, pl.DataFrame())
        marks = [broken.get(step.output, pl.lit(None, pl.String)).alias(_BROKEN + step.output) for step in self.steps]
        reasons = records.with_columns(marks).filter(refused).select(self.field, self.rule)
        raw = shown(rows.filter(refused), self.as_bytes).select(pl.struct(self.raw).struct.json_encode().alias("row"))
        return Judged(records, refused, reasons.with_columns(raw["row"]))

    def as_texts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return every column as the database would write it, whichever reader delivered it."""
        return _convert(shown(rows, self.as_bytes), self.texts)[0]

    def _converted(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
        if not self.as_bytes:
            return _convert(rows, self.steps)
        texts = decoded(rows, self.as_bytes)
        records, broken = _convert(texts.rows, self.steps)
        for step in self.steps:
            damaged = texts.damaged.get(step.source)
            if damaged is not None and damaged.any() and NOT_UTF8 not in step.waiver.rules:
                broken[step.output] = broken.get(step.output, _nothing(rows)).set(damaged, NOT_UTF8)
        return records, broken


def _convert(rows: pl.DataFrame, steps: tuple[_Step, ...]) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """Return the outputs of all steps, and for those where a rule was broken the rule of every row or null."""
    outputs = rows.select(
        *(step.conversion.plain.alias(step.output) for step in steps),
        *(_NO_TEXT.alias(step.custom) for step in steps if step.text is not None),
    )
    broken: dict[str, pl.Series] = {}
    for step in steps:
        given, values = rows[step.source], outputs[step.output]
        exact = step.conversion.exact
        if exact is None:
            continue
        at = unsure(given, values)
        if at.is_empty():
            continue
        repaired = exact(given.gather(at))
        if step.waiver.rules and repaired.rules.null_count() < at.len():
            outputs = _with_texts(outputs, step, given, at.filter(step.waiver.kept(repaired.rules)))
            repaired = Exact(repaired.values, step.waiver.waived(repaired.rules))
        outputs = _repaired(outputs, broken, values, at, repaired)
    return _normalise(outputs, broken, steps), broken


def _normalise(outputs: pl.DataFrame, broken: dict[str, pl.Series], steps: tuple[_Step, ...]) -> pl.DataFrame:
    """Return the outputs in their one spelling; what can't be is added to `broken`."""
    normalisers = {step.output: step.normaliser for step in steps if step.normaliser is not None}
    plain = [each.plain(pl.col(name)).alias(name) for name, each in normalisers.items()]
    given, outputs = outputs, outputs.with_columns(plain)
    for name, normaliser in normalisers.items():
        if normaliser.exact is None:
            continue
        at = unsure(given[name], outputs[name])
        if not at.is_empty():
            repaired = normaliser.exact(given[name].gather(at))
            outputs = _repaired(outputs, broken, outputs[name], at, repaired)
    return outputs


def _repaired(
    outputs: pl.DataFrame, broken: dict[str, pl.Series], values: pl.Series, at: pl.Series, repaired: Exact
) -> pl.DataFrame:
    """Return the outputs with exact values in these rows; the rules that those broke are added to `broken`."""
    if repaired.rules.null_count() < at.len():
        broken[values.name] = broken.get(values.name, _nothing(outputs)).scatter(at, repaired.rules)
    if repaired.values.null_count() == at.len():
        return outputs
    return outputs.with_columns(values.scatter(at, repaired.values))


def _with_texts(outputs: pl.DataFrame, step: _Step, given: pl.Series, at: pl.Series) -> pl.DataFrame:
    """Keep the source's own text in these rows."""
    if step.text is None or at.is_empty():
        return outputs
    return outputs.with_columns(outputs[step.custom].scatter(at, step.text.exactly(given.gather(at)).values))


def _nothing(rows: pl.DataFrame) -> pl.Series:
    return pl.repeat(None, rows.height, dtype=pl.String, eager=True)


@lru_cache(maxsize=256)
def plan(entity: Entity, context: Context, columns: Columns, schema: Schema, policies: FieldPolicies = ()) -> Plan:
    """Build the plan for an entity and the mapped columns of a batch; `policies` of all fields that have any."""
    dtypes = dict(schema)
    as_bytes = tuple(name for name, column in columns if dtypes[name] == pl.Binary and column.kind is not Kind.BYTES)
    dtypes |= dict.fromkeys(as_bytes, pl.String())
    sources = {name: Source(column, name, dtypes[name]) for name, column in columns}
    _refuse_unusable(entity, sources)
    mapped = [field for field in entity.fields if field.name in sources]
    asked = {name: each for name, each in policies if name not in entity.identity}
    steps = [_field_step(field, entity, sources[field.name], context, asked) for field in mapped]
    custom = [name for name in sources if name not in entity.by_name]
    steps += [_custom_step(sources[name], asked) for name in custom]
    own = {field.name: _failures(field, entity, context, dtypes[field.name]) for field in mapped}
    reasons = [(field.name, failure) for field in mapped for failure in (_broken(field.name), *own[field.name])]
    reasons += [(name, _broken(CUSTOM + name)) for name in custom if name in as_bytes]
    return Plan(
        as_bytes=as_bytes,
        steps=tuple(steps),
        texts=tuple(_Step(name, name, as_text(source)) for name, source in sources.items()),
        fails=pl.any_horizontal(_NONE_FAILS, *(failed for failures in own.values() for failed, _ in failures)),
        field=pl.coalesce(pl.when(failed).then(pl.lit(name)) for name, (failed, _) in reasons).alias("field"),
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


def _field_step(
    field: EntityField, entity: Entity, source: Source, context: Context, policies: Mapping[str, Policies]
) -> _Step:
    conversion = convert(source, field.type, context.time_zone, reference=field.name in entity.references)
    normaliser = None if field.normalise is None else field.normalise(context)
    waives = waiver(policies.get(field.name, Policies()), field.type)
    return _Step(field.name, field.name, conversion, normaliser, waives, keep_text(source) if waives.texts else None)


def _custom_step(source: Source, policies: Mapping[str, Policies]) -> _Step:
    waives = waiver(policies.get(source.name, Policies()), FieldType.TEXT)
    return _Step(CUSTOM + source.name, source.name, keep(source), waiver=waives)


def _broken(output: str) -> tuple[pl.Expr, pl.Expr]:
    rule = pl.col(_BROKEN + output)
    return rule.is_not_null(), rule


def _failures(
    field: EntityField, entity: Entity, context: Context, source: pl.DataType
) -> list[tuple[pl.Expr, pl.Expr]]:
    value = pl.col(field.name)
    failures = [(value.is_null(), pl.lit("required"))] if field.required else []
    may_hold_nul = field.name in entity.identity and source == pl.String  # a number's text does not
    asked = (NO_NUL, *field.checks) if may_hold_nul else field.checks
    checks = ((~check.passes(value, context), check.rule) for check in asked)
    return failures + [(failed.fill_null(False), pl.lit(rule)) for failed, rule in checks]
