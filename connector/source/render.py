"""Turn a `Select` into SQL. What engines write differently, each dialect's `Grammar` says."""

from __future__ import annotations

from typing import Protocol

from connector.model import Column
from connector.source.select import (
    All,
    Any,
    Compare,
    IsNull,
    OneOf,
    Output,
    Predicate,
    Query,
    Relation,
    Select,
    Slot,
    Statement,
    Table,
    Written,
)

ALIAS = "s"
"""The relation's alias. Columns are always qualified: an unqualified name in ORDER BY may mean an output alias."""


class Grammar(Protocol):
    placeholder: str

    def name(self, name: str) -> str:
        """Quote one identifier."""
        ...

    def table(self, parts: tuple[str, ...]) -> str: ...

    def raw(self, sql: str) -> str:
        """Escape what a driver would take for a placeholder in SQL that operations wrote."""
        ...

    def bind(self, column: Column, value: str) -> tuple[str, object]:
        """Return the fragment that stands for a value of `column`, and what is bound to its placeholder."""
        ...

    def written(self, alias: str, mark: str, *, before: bool) -> tuple[str, object]:
        """Return the predicate over a row's version, with one placeholder, and what is bound to it."""
        ...

    def limited(self, select: str, limit: int) -> str: ...


class Renderer:
    """Render one select; the binds are collected in the order of their placeholders."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._binds: list[object] = []

    def render(self, select: Select) -> Statement:
        outputs = ", ".join(self._output(output) for output in select.outputs) or f"{ALIAS}.*"
        relation = self._relation(select.relation, dict(select.slots))
        sql = f"SELECT {outputs} FROM {relation}"  # noqa: S608 - values are bound; names are quoted
        if select.where:
            sql += " WHERE " + " AND ".join(self._predicate(part) for part in select.where)
        if select.order:
            direction = " DESC" if select.descending else ""
            sql += " ORDER BY " + ", ".join(self._column(column) + direction for column in select.order)
        if select.limit is not None:
            sql = self._grammar.limited(sql, select.limit)
        return Statement(sql, tuple(self._binds))

    def _output(self, output: Output) -> str:
        if output.column is not None:
            value = f"{ALIAS}.{self._grammar.name(output.column)}"
        else:
            value = f"({self._grammar.raw(output.sql or '')})"
        return f"{value} AS {self._grammar.name(output.alias)}"

    def _relation(self, relation: Relation, slots: dict[Slot, str | int]) -> str:
        if isinstance(relation, Table):
            return f"{self._grammar.table(relation.parts)} AS {ALIAS}"
        return f"({self._query(relation, slots)}\n) AS {ALIAS}"

    def _query(self, query: Query, slots: dict[Slot, str | int]) -> str:
        pieces: list[str] = []
        for part in query.parts:
            if isinstance(part, Slot):
                self._binds.append(slots[part])
                pieces.append(self._grammar.placeholder)
            else:
                pieces.append(self._grammar.raw(part))
        return "".join(pieces)

    def _column(self, column: Column) -> str:
        return f"{ALIAS}.{self._grammar.name(column.name)}"

    def _value(self, column: Column, value: str) -> str:
        fragment, bound = self._grammar.bind(column, value)
        self._binds.append(bound)
        return fragment

    def _predicate(self, predicate: Predicate) -> str:
        match predicate:
            case Compare(column, op, value):
                return f"{self._column(column)} {op} {self._value(column, value)}"
            case OneOf(column, (value,)):
                return f"{self._column(column)} = {self._value(column, value)}"
            case OneOf(column, values):
                return f"{self._column(column)} IN ({', '.join(self._value(column, value) for value in values)})"
            case IsNull(column, negated):
                return f"{self._column(column)} IS {'NOT ' if negated else ''}NULL"
            case Written(mark, before):
                fragment, bound = self._grammar.written(ALIAS, mark, before=before)
                self._binds.append(bound)
                return fragment
            case All(parts):
                return "(" + " AND ".join(self._predicate(part) for part in parts) + ")"
            case Any(parts):
                return "(" + " OR ".join(self._predicate(part) for part in parts) + ")"
