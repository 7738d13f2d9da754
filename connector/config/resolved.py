"""The configuration as the stages see it: defaults applied, secrets resolved, nothing optional by accident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from connector.model import Policies, Policy, StreamId


@dataclass(frozen=True, slots=True)
class Field:
    """Where a field's value comes from: a column of the source, or an SQL expression over its columns.

    A policy of its own stands in for the stream's.
    """

    column: str | None = None
    sql: str | None = None
    zero_dates: Policy | None = None
    invalid: Policy | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """The column = value that selects this client's rows; `accept` lists further spellings of the same value."""

    column: str
    value: str | int | bool | float
    accept: tuple[str | int | bool | float, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a stream is pulled: a five-field cron line or an interval, exactly one of them."""

    cron: str | None = None
    every_s: float | None = None
    time_zone: str = "UTC"
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Tls:
    mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client's database is asked to bear; each in the unit that its name ends with."""

    connections: int = 2
    connect_timeout_s: float = 10.0
    statement_timeout_s: float = 300.0
    read_timeout_s: float = 330.0
    snapshot_cap_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Source:
    """How to reach a client's database. `password` is never printed: repr is off, and errors never name it."""

    engine: str
    host: str = ""
    port: int | None = None
    database: str = ""  # a file's path for an embedded engine
    user: str = ""
    password: str = field(default="", repr=False)
    time_zone: str = "UTC"
    tls: Tls = Tls()
    limits: Limits = Limits()
    reader: Literal["columnar", "plain"] = "columnar"


@dataclass(frozen=True, slots=True)
class Stream:
    """One configured table, view or query feeding one entity. Either `table` or `query` is set."""

    id: StreamId
    entity: str
    watermark_column: str
    by: Literal["timestamp", "id"]
    table: str | None = None
    query: str | None = None
    key: tuple[str, ...] = ()  # empty: keyless, whole tie groups are read
    fields: Mapping[str, Field] = field(default_factory=dict)  # empty with a query: its own column names
    tenant: Tenant | None = None
    tenant_in_query: bool = False
    time_zone: str = "UTC"
    region: str | None = None  # ISO 3166: where phones without a country calling code are
    start: str | int | None = None  # None, "beginning", "now", or a value
    null_watermarks: Literal["read", "skip", "refuse"] = "read"
    zero_dates: Policy = "refuse"
    invalid: Policy = "refuse"
    batch_size: int = 10_000
    look_back_s: float = 900.0
    look_back_ids: int = 10_000
    slack_s: float = 120.0
    scan_below_bytes: int = 2 * 1024**3
    sweep_every_s: float = 86_400.0
    replica: bool = False  # its server is a copy of another one, whose writers it does not show
    max_equal: int = 20_000
    max_rejected: float = 0.5
    retries: int = 3
    schedule: Schedule = Schedule(every_s=21_600.0)
    renamed_from: str | None = None

    def policies(self, field: str) -> Policies:
        """Return what becomes of values that a field can't hold."""
        own = self.fields.get(field, Field())
        return Policies(own.zero_dates or self.zero_dates, own.invalid or self.invalid)


@dataclass(frozen=True, slots=True)
class Client:
    name: str
    source: Source
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class StoreSettings:
    path: Path
    min_free_bytes: int = 256 * 1024 * 1024
    runs_kept: int = 1_000


@dataclass(frozen=True, slots=True)
class LogSettings:
    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    workers: int = 4
    stop_timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Config:
    path: Path
    store: StoreSettings
    log: LogSettings
    daemon: DaemonSettings
    clients: tuple[Client, ...]

    def stream(self, stream_id: StreamId) -> tuple[Client, Stream] | None:
        for client in self.clients:
            for stream in client.streams:
                if stream.id == stream_id:
                    return client, stream
        return None
