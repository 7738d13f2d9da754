"""One per cent of the rows changes between two pulls, spread over the table, as an application's updates would be."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers import Database

if TYPE_CHECKING:
    import polars as pl

SHARE = 100  # one row in so many
TIED_IDS = 20 * SHARE  # about 20 rows share a stamp, as in the table's first state
STEP_US = 10

UPDATE = {
    "postgresql": """
        UPDATE {table} SET balance = balance + 1, updated_at = timestamp '{began}'
          + customer_id / {ids} * interval '{step} microseconds' WHERE customer_id % {share} = {remainder}""",
    "mysql": """
        UPDATE {table} SET balance = balance + 1, updated_at = '{began}'
          + INTERVAL customer_id DIV {ids} * {step} MICROSECOND WHERE customer_id % {share} = {remainder}""",
}


@dataclass(frozen=True, slots=True)
class Change:
    """The rows whose key leaves `remainder`, each with a new stamp (UTC, naive, from `began` on) and one more in
    its balance."""

    remainder: int
    began: dt.datetime

    def apply(self, database: Database, table: str) -> int:
        """Change the rows in one transaction and return how many there were."""
        update = UPDATE[database.server.engine].format(
            table=table, began=self.began, ids=TIED_IDS, step=STEP_US, share=SHARE, remainder=self.remainder
        )
        with closing(database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(update)
            return int(cursor.rowcount)

    def applied(self, truth: pl.DataFrame) -> pl.DataFrame:
        """Return the rows as they are after the change."""
        import polars as pl

        changed = pl.col("customer_id") % SHARE == self.remainder
        stamp = pl.lit(self.began) + pl.duration(microseconds=pl.col("customer_id") // TIED_IDS * STEP_US)
        balance = (pl.col("balance") + pl.lit(1, pl.Decimal(12, 2))).cast(pl.Decimal(12, 2))
        return truth.with_columns(
            updated_at=pl.when(changed).then(stamp).otherwise("updated_at"),
            balance=pl.when(changed).then(balance).otherwise("balance"),
        )


def now() -> dt.datetime:
    """Return the present as the tables hold it."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
