"""PostgreSQL's way of writing."""

from __future__ import annotations

from connector.model import Column, Kind
from connector.source.dialect import joined, quoted


class PostgresqlGrammar:
    placeholder = "%s"

    def name(self, name: str) -> str:
        return self.raw(quoted(name, '"'))

    def table(self, parts: tuple[str, ...]) -> str:
        return self.raw(joined(parts, '"'))

    def raw(self, sql: str) -> str:
        return sql.replace("%", "%%")

    def bind(self, column: Column, value: str) -> tuple[str, object]:
        """Send the text and cast it in the database, to the type without its length: `varchar(3)` would cut."""
        if column.kind is Kind.BYTES:
            return "CAST(%s AS bytea)", bytes.fromhex(value)
        return f"CAST(%s AS {column.native.replace('%', '%%')})", value

    def limited(self, select: str, limit: int) -> str:
        return f"{select} LIMIT {int(limit)}"
