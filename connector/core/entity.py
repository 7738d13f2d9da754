"""What an entity is: a declaration of fields, identity and parents that the core reads as data.

A new entity is one file in `core/entities/` and one line in the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class FieldType(StrEnum):
    """The normalised type of a field; `core/convert.py` says what each accepts."""

    TEXT = "text"
    TIMESTAMP = "timestamp"
    DATE = "date"
    DECIMAL = "decimal"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule may know besides the value: the stream's time zone, the latest year on Earth now, and the region.

    `region` (ISO 3166, two letters) is where phones without a country calling code are; None when that isn't known.
    """

    time_zone: str
    this_year: int
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Exact:
    """Exact values, and for each the rule that its source broke, or null."""

    values: pl.Series
    rules: pl.Series


def unsure(given: pl.Series, values: pl.Series) -> pl.Series:
    """Return the rows where a plain expression came to null although its source, whose nulls all stay, is not."""
    if values.null_count() == given.null_count():
        return pl.Series(dtype=pl.UInt32)
    return pl.select((pl.lit(values).is_null() & pl.lit(given).is_not_null()).arg_true()).to_series()


@dataclass(frozen=True, slots=True)
class Normaliser:
    """How a converted value becomes the field's one spelling.

    `plain` is cheap, and null for whatever it isn't sure of. `exact` is called with the values where plain is null,
    and knows for sure; only it may refuse. Without it plain knows for sure, and its null is the value.
    Both are pure: what a value becomes depends on nothing but the value, the context, and the version of a library.
    """

    plain: Callable[[pl.Expr], pl.Expr]
    exact: Callable[[pl.Series], Exact] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Refuse a value under the name `rule` unless `passes` holds. Checks never see null.

    `rule` is stored with quarantined rows and read by people and scripts: never rename one.
    """

    rule: str
    passes: Callable[[pl.Expr, Context], pl.Expr]


@dataclass(frozen=True, slots=True)
class EntityField:
    """Declare one field. `normalise` works on the converted value, `checks` on what it came to."""

    name: str
    type: FieldType = FieldType.TEXT
    required: bool = False
    normalise: Callable[[Context], Normaliser] | None = None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Parent:
    """Say that `field` holds the identity of a record of `entity`."""

    entity: str
    field: str


@dataclass(frozen=True, slots=True)
class Entity:
    """Declare an entity.

    `identity` names the text fields that together name one record within a client. When it is empty, a record is
    named by its own content and can only be created, never updated.
    `load_order` puts parents before children. Raise `rules` whenever a field, normaliser or check changes.
    """

    name: str
    fields: tuple[EntityField, ...]
    identity: tuple[str, ...]
    load_order: int
    rules: int
    parents: tuple[Parent, ...] = ()

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name} declares a field twice")
        for name in (*self.identity, *(parent.field for parent in self.parents)):
            if self.by_name[name].type is not FieldType.TEXT:
                raise ValueError(f"{self.name}.{name} must be text: identities are compared as text")

    @property
    def by_name(self) -> dict[str, EntityField]:
        return {field.name: field for field in self.fields}

    @property
    def references(self) -> frozenset[str]:
        """Name the fields that hold identities, the record's own or a parent's: kept to the last blank."""
        return frozenset((*self.identity, *(parent.field for parent in self.parents)))
