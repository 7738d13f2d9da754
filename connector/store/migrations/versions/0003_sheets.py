"""Keep what a batch created as one sheet of the ledger instead of a row for each record.

When a record was created and changed, the change log says; nothing ever read it from the ledger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "sheets",
        sa.Column("segment_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("scope_id", sa.Integer, nullable=False),
        sa.Column("stream_id", sa.Integer, nullable=False),
        sa.Column("read_order", sa.BigInteger, nullable=False),
        sa.Column("rules", sa.Integer, nullable=False),
        sa.Column("first_key", sa.Text, nullable=False),
        sa.Column("last_key", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("tails", sa.LargeBinary, nullable=False),
        sa.Column("fingerprints", sa.LargeBinary, nullable=False),
        sa.Column("row_nos", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_sheets_keys", "sheets", ["scope_id", "last_key", "first_key"])
    op.drop_column("ledger", "created_at")
    op.drop_column("ledger", "updated_at")
