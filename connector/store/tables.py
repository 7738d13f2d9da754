"""The store's tables. `migrations/` creates them; a test holds the two to each other.

    streams ─┬─ lanes            an open pull per lane
             ├─ watermark_moves  how the watermark came to be what it is
             ├─ leases, runs
             ├─ quarantine       refused rows, one entry per row key
             ├─ lateness         how late new versions came, a histogram
             └─ segments ── payloads     the change log
    scopes ─┬── ledger           a row per identity; (segment_id, row_no) says where its newest record lies
            └── sheets           the same of what one batch created, until there is a row

Times are seconds since 1970, UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

REVISIONS = ("0001", "0002", "0003")
"""Every revision of `migrations/versions`, oldest first."""
HEAD = REVISIONS[-1]

DAEMON_STREAM = 0
DAEMON_LANE = "daemon"

metadata = MetaData()

scopes = Table(
    "scopes",
    metadata,
    Column("scope_id", Integer, primary_key=True),
    Column("client", String(200), nullable=False),
    Column("entity", String(200), nullable=False),
    UniqueConstraint("client", "entity", name="uq_scopes"),
)

streams = Table(
    "streams",
    metadata,
    Column("stream_id", Integer, primary_key=True),
    Column("client", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    Column("entity", String(200), nullable=False),
    Column("scope_id", Integer, nullable=False),
    Column("watermark", Text),
    Column("read_order", BigInteger, nullable=False),
    Column("renamed_from", String(200)),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("client", "name", name="uq_streams"),
    # Without it the number of a removed stream would be given to the next one, with its runs and leases.
    sqlite_autoincrement=True,
)

lanes = Table(
    "lanes",
    metadata,
    Column("stream_id", Integer, primary_key=True, autoincrement=False),
    Column("lane", String(200), primary_key=True),
    Column("open_pull", Text, nullable=False),
    Column("updated_at", Double, nullable=False),
)

watermark_moves = Table(
    "watermark_moves",
    metadata,
    Column("move_id", Integer, primary_key=True),
    Column("stream_id", Integer, nullable=False),
    Column("run_id", Integer, nullable=False),
    Column("moved_at", Double, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("before", Text),
    Column("after", Text),
    Index("ix_watermark_moves_stream", "stream_id", "move_id"),
    sqlite_autoincrement=True,
)

leases = Table(
    "leases",
    metadata,
    Column("stream_id", Integer, primary_key=True, autoincrement=False),
    Column("lane", String(200), primary_key=True),
    Column("fence", BigInteger, nullable=False),
    Column("holder", String(200), nullable=False),
    Column("host", String(300), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", String(200), nullable=False),
    Column("acquired_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Integer, primary_key=True),
    Column("stream_id", Integer, nullable=False),
    Column("lane", String(200), nullable=False),
    Column("kind", String(50), nullable=False),
    Column("state", String(50), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("counters", Text, nullable=False),
    Column("level", String(50), nullable=False),
    Column("error", Text, nullable=False),
    Column("error_class", String(200), nullable=False),
    Column("holder", String(400), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Index("ix_runs_stream", "stream_id", "run_id"),
    # A run's number is its fence, so it must never come twice, not even after old runs are pruned.
    sqlite_autoincrement=True,
)

ledger = Table(
    "ledger",
    metadata,
    Column("scope_id", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("stream_id", Integer, nullable=False),
    Column("fingerprint", LargeBinary(16), nullable=False),
    Column("rules", Integer, nullable=False),
    Column("segment_id", Integer, nullable=False),
    Column("row_no", Integer, nullable=False),
    Column("read_order", BigInteger, nullable=False),
    Column("deleted", Integer, nullable=False),
)

sheets = Table(
    "sheets",
    metadata,
    Column("segment_id", Integer, primary_key=True, autoincrement=False),
    Column("scope_id", Integer, nullable=False),
    Column("stream_id", Integer, nullable=False),
    Column("read_order", BigInteger, nullable=False),
    Column("rules", Integer, nullable=False),
    Column("first_key", Text, nullable=False),
    Column("last_key", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("tails", LargeBinary, nullable=False),
    Column("fingerprints", LargeBinary, nullable=False),
    Column("row_nos", LargeBinary, nullable=False),
    Index("ix_sheets_keys", "scope_id", "last_key", "first_key"),
)
"""`tails` holds `width` bytes of each key, without what `first_key` and `last_key` have in common at their beginning,
`fingerprints` 16 and `row_nos` 4. A row of the ledger overrides what a sheet says of its key."""

segments = Table(
    "segments",
    metadata,
    Column("segment_id", Integer, primary_key=True),
    Column("stream_id", Integer, nullable=False),
    Column("scope_id", Integer, nullable=False),
    Column("lane", String(200), nullable=False),
    Column("run_id", Integer, nullable=False),
    Column("committed_at", Double, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("creates", Integer, nullable=False),
    Column("updates", Integer, nullable=False),
    Column("deletes", Integer, nullable=False),
    Column("live_rows", Integer, nullable=False),
    Column("stored_rows", Integer, nullable=False),
    Index("ix_segments_stream", "stream_id", "segment_id"),
    # Offsets of destinations are segment numbers: none may come twice.
    sqlite_autoincrement=True,
)
"""`rows` counts the changes as committed, `stored_rows` those still in the payload, `live_rows` those that the
ledger points at."""

payloads = Table(
    "payloads",
    metadata,
    Column("segment_id", Integer, primary_key=True, autoincrement=False),
    Column("payload", LargeBinary, nullable=False),
)
"""The segment's rows as an Arrow IPC stream, compressed by zstd. Apart from `segments`, whose `live_rows` changes
with every batch that supersedes a row: a change would rewrite the whole payload. No row once nothing is live."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("stream_id", Integer, primary_key=True, autoincrement=False),
    Column("row_key", Text, primary_key=True),
    Column("field", String(200), nullable=False),
    Column("rule", String(200), nullable=False),
    Column("row", Text, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("times", Integer, nullable=False),
    Column("run_id", Integer, nullable=False),
    Column("read_order", BigInteger, nullable=False),
)

lateness = Table(
    "lateness",
    metadata,
    Column("stream_id", Integer, primary_key=True, autoincrement=False),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("rows", BigInteger, nullable=False),
    Column("max_us", BigInteger, nullable=False),
)
"""At most 64 rows per stream: bucket n counts new versions that came 2^(n-1) up to 2^n microseconds late, 0 those that
were not late; `max_us` is the latest of them."""

destinations = Table(
    "destinations",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("offset_segment", Integer, nullable=False),
)
