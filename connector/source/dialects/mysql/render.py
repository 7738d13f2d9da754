"""MySQL's and MariaDB's way of writing."""

from __future__ import annotations

from decimal import Decimal

from connector.model import Column, Kind
from connector.source.dialect import joined, quoted


class MysqlGrammar:
    placeholder = "%s"

    def name(self, name: str) -> str:
        return self.raw(quoted(name, "`"))

    def table(self, parts: tuple[str, ...]) -> str:
        return self.raw(joined(parts, "`"))

    def raw(self, sql: str) -> str:
        return sql.replace("%", "%%")

    def bind(self, column: Column, value: str) -> tuple[str, object]:
        """Send numbers as numbers and texts as bare literals, so that the column's own type and collation compare.

        A text compared with a number column would go through floating point, and a number compared with a text
        column would match every text that begins with it.
        """
        match column.kind:
            case Kind.INTEGER:
                return "%s", int(value)
            case Kind.DECIMAL:
                return "%s", Decimal(value)
            case Kind.BYTES:
                return "%s", bytes.fromhex(value)
            case Kind.DATE:
                return "CAST(%s AS DATE)", value
            case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
                return "CAST(%s AS DATETIME(6))", value
            case _:
                return "%s", value

    def written(self, alias: str, mark: str, *, before: bool) -> tuple[str, object]:
        raise NotImplementedError("rows show no version here")

    def limited(self, select: str, limit: int) -> str:
        return f"{select} LIMIT {int(limit)}"
