"""Create the store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _streams()
    _runs()
    _changes()


def _streams() -> None:
    op.create_table(
        "scopes",
        sa.Column("scope_id", sa.Integer, primary_key=True),
        sa.Column("client", sa.String(200), nullable=False),
        sa.Column("entity", sa.String(200), nullable=False),
        sa.UniqueConstraint("client", "entity", name="uq_scopes"),
    )
    op.create_table(
        "streams",
        sa.Column("stream_id", sa.Integer, primary_key=True),
        sa.Column("client", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("entity", sa.String(200), nullable=False),
        sa.Column("scope_id", sa.Integer, nullable=False),
        sa.Column("watermark", sa.Text),
        sa.Column("read_order", sa.BigInteger, nullable=False),
        sa.Column("renamed_from", sa.String(200)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("client", "name", name="uq_streams"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "lanes",
        sa.Column("stream_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("lane", sa.String(200), primary_key=True),
        sa.Column("open_pull", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.create_table(
        "watermark_moves",
        sa.Column("move_id", sa.Integer, primary_key=True),
        sa.Column("stream_id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("moved_at", sa.Double, nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_watermark_moves_stream", "watermark_moves", ["stream_id", "move_id"])


def _runs() -> None:
    op.create_table(
        "leases",
        sa.Column("stream_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("lane", sa.String(200), primary_key=True),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.String(200), nullable=False),
        sa.Column("host", sa.String(300), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process_started", sa.String(200), nullable=False),
        sa.Column("acquired_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Integer, primary_key=True),
        sa.Column("stream_id", sa.Integer, nullable=False),
        sa.Column("lane", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(50), nullable=False),
        sa.Column("state", sa.String(50), nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("counters", sa.Text, nullable=False),
        sa.Column("level", sa.String(50), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("error_class", sa.String(200), nullable=False),
        sa.Column("holder", sa.String(400), nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_stream", "runs", ["stream_id", "run_id"])


def _changes() -> None:
    op.create_table(
        "ledger",
        sa.Column("scope_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("stream_id", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(16), nullable=False),
        sa.Column("rules", sa.Integer, nullable=False),
        sa.Column("segment_id", sa.Integer, nullable=False),
        sa.Column("row_no", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("read_order", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.Integer, nullable=False),
    )
    op.create_table(
        "segments",
        sa.Column("segment_id", sa.Integer, primary_key=True),
        sa.Column("stream_id", sa.Integer, nullable=False),
        sa.Column("scope_id", sa.Integer, nullable=False),
        sa.Column("lane", sa.String(200), nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("committed_at", sa.Double, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("creates", sa.Integer, nullable=False),
        sa.Column("updates", sa.Integer, nullable=False),
        sa.Column("deletes", sa.Integer, nullable=False),
        sa.Column("live_rows", sa.Integer, nullable=False),
        sa.Column("stored_rows", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_segments_stream", "segments", ["stream_id", "segment_id"])
    op.create_table(
        "payloads",
        sa.Column("segment_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "quarantine",
        sa.Column("stream_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("row_key", sa.Text, primary_key=True),
        sa.Column("field", sa.String(200), nullable=False),
        sa.Column("rule", sa.String(200), nullable=False),
        sa.Column("row", sa.Text, nullable=False),
        sa.Column("first_at", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("read_order", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "destinations",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("offset_segment", sa.Integer, nullable=False),
    )
