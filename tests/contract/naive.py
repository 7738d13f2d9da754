"""Pullers as well-known tools have them, to run beside the connector: what they lose shows that a case is a case."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.contract.engines import ClientDatabase

PAGE = 5


@dataclass(slots=True)
class Naive:
    """One scheme's state: what it took, and the greatest watermark and id that it saw."""

    database: ClientDatabase
    taken: dict[str, str] = field(default_factory=dict)
    mark: str | None = None
    last_id: int = -(2**62)

    def select(self, where: str, order: str, limit: int | None = None) -> list[tuple[Any, ...]]:
        cut = "" if limit is None else f" LIMIT {limit}"
        text = "CAST(updated_at AS CHAR(40))" if self.database.engine.name == "mysql" else "updated_at::text"
        return self.database.execute(f"SELECT id, v, {text} FROM t WHERE {where} ORDER BY {order}{cut}")

    def take(self, rows: list[tuple[Any, ...]]) -> None:
        for key, value, mark in rows:
            self.taken[str(key)] = str(value)
            if mark is not None:
                self.mark = mark if self.mark is None else max(self.mark, mark)
            self.last_id = max(self.last_id, int(key))


class NewerThanMaximum(Naive):
    """`updated_at > max`, in one go."""

    def pull(self) -> None:
        self.take(self.select("1 = 1" if self.mark is None else f"updated_at > '{self.mark}'", "updated_at"))


class Keyset(Naive):
    """Pages in the order (updated_at, id), each behind the last row of the one before."""

    position: tuple[str, int] | None = None

    def pull(self) -> None:
        while True:
            where = "updated_at IS NOT NULL"
            if self.position is not None:
                mark, key = self.position
                where = f"updated_at > '{mark}' OR (updated_at = '{mark}' AND id > {key})"
            rows = self.select(where, "updated_at, id", PAGE)
            self.take(rows)
            if rows:
                self.position = (rows[-1][2], int(rows[-1][0]))
            if len(rows) < PAGE:
                return


class GreaterId(Naive):
    """`id > max`, beginning at 0 as serial numbers do."""

    def pull(self) -> None:
        self.last_id = max(self.last_id, 0)
        self.take(self.select(f"id > {self.last_id}", "id"))


SCHEMES = (NewerThanMaximum, Keyset, GreaterId)
