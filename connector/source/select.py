"""What is asked of a source, as a value. A dialect turns it into SQL text plus binds; nothing else builds SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from connector.model import Column


class Slot(StrEnum):
    """A place in a client's raw query that is bound to the run's watermark minus one unit."""

    LAST_ID = "last_id"
    LAST_DATE = "last_date"


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view; `parts` is its name, schema first where one is given."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Query:
    """One raw SELECT, its outer LIMIT removed, cut at its slots."""

    parts: tuple[str | Slot, ...]

    def __str__(self) -> str:
        return "query"


Relation: TypeAlias = Table | Query


@dataclass(frozen=True, slots=True)
class Output:
    """One selected value: a column of the relation, or an SQL expression that operations wrote, under an alias."""

    alias: str
    column: str | None = None
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """`column op value`, the value in the database's own text."""

    column: Column
    op: str  # one of = > >= < <=
    value: str


@dataclass(frozen=True, slots=True)
class OneOf:
    column: Column
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    column: Column
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """The row's version lies at or above a mark of the engine's own, or, `before`, below it."""

    mark: str
    before: bool = False


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[Predicate, ...]


Predicate: TypeAlias = Compare | OneOf | IsNull | Written | All | Any


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT over one relation. `where` is a conjunction; `limit` is in rows."""

    relation: Relation
    outputs: tuple[Output, ...]
    where: tuple[Predicate, ...] = ()
    order: tuple[Column, ...] = ()
    descending: bool = False
    limit: int | None = None
    slots: Mapping[Slot, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with the driver's placeholders, and the values bound to them."""

    sql: str
    binds: tuple[object, ...] = ()
