"""PostgreSQL's way of writing."""

from __future__ import annotations

from connector.model import Column, Kind
from connector.source.dialect import joined, quoted

NARROW = frozenset({"smallint", "integer"})
"""A bound may lie outside of them; compared as bigint it uses the same index."""


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
        if column.native in NARROW:
            return "CAST(%s AS bigint)", value
        return f"CAST(%s AS {column.native.replace('%', '%%')})", value

    def written(self, alias: str, mark: str, *, before: bool) -> tuple[str, object]:
        """Compare a row's xmin as the server compares ages; before a mark, those that went round stay in."""
        age = f"age({alias}.xmin)"
        mark_age = "age(CAST(%s AS xid))"
        low_half = str(int(mark) % 2**32)
        if before:
            return f"{age} NOT BETWEEN 0 AND {mark_age}", low_half
        return f"{age} <= {mark_age}", low_half

    def limited(self, select: str, limit: int) -> str:
        return f"{select} LIMIT {int(limit)}"
