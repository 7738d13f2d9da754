"""The shape of the YAML files, as frozen pydantic models; each description is what an editor shows for its key.

Only what one value must look like is said here. What values mean together stands in `rules.py`, what they come to in
`resolve.py`. Engines and entities are the registry's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from connector.config import values
from connector.config.scalars import (
    WHOLE,
    Cron,
    Duration,
    FieldName,
    KeyColumns,
    Name,
    Policy,
    Region,
    Share,
    Size,
    StartValue,
    TenantValue,
    Text,
    TimeZone,
)


class Section(BaseModel):
    """A mapping of the YAML. Prints the names of its keys and none of their values, any of which may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [(None, sorted(self.model_fields_set))]


class FieldSection(Section):
    """A column or an SQL expression over columns, and what becomes of values that the field can't hold."""

    column: Text | None = Field(
        default=None, description="Column of the table or query. Either this or sql.", examples=["b_date"]
    )
    sql: Text | None = Field(
        default=None,
        description="SQL expression in the words of the source's engine. Either this or column.",
        examples=["upper(code)"],
    )
    zero_dates: Policy | None = Field(
        default=None,
        description="The stream's zero_dates, for this field of dates or timestamps. Default: the stream's.",
    )
    invalid: Policy | None = Field(
        default=None, description="The stream's invalid, for this field. Default: the stream's."
    )


FieldSource = Annotated[
    Annotated[Text, Tag("<column>")] | Annotated[FieldSection, Tag("<section>")],
    Discriminator(
        values.field_kind,
        custom_error_type="field_source",
        custom_error_message='must be a column name, {column: ...} or {sql: "expression"}',
    ),
]


class TenantSection(Section):
    """Which rows are this client's: those whose column holds the value."""

    column: Text = Field(
        description="Column of the table or query that names the owner of a row.", examples=["user_id"]
    )
    value: TenantValue = Field(
        description='This client\'s value. 42 is a number and "42" a text; write it as the column holds it.',
        examples=["acme-corp"],
    )
    accept: tuple[TenantValue, ...] = Field(
        default=(), description="Further spellings that the database treats as the same value, e.g. ACME-CORP."
    )


TenantChoice = Annotated[
    Annotated[Literal["none", "in_query"], Tag("<word>")] | Annotated[TenantSection, Tag("<filter>")],
    Discriminator(
        values.tenant_kind,
        custom_error_type="tenant",
        custom_error_message="must be {column: ..., value: ...}, none, or in_query",
    ),
]


class ScheduleSection(Section):
    """When to pull. `cron` or `every`; each level may add or replace keys of the level around it."""

    cron: Cron | None = Field(
        default=None,
        description="Five-field cron line: minute hour day-of-month month day-of-week (0 and 7 are Sunday).",
        examples=["15 */4 * * *"],
    )
    every: Duration | None = Field(
        default=None, description="Interval between pulls, e.g. 6h. Default: 6h.", examples=["6h"]
    )
    time_zone: TimeZone | None = Field(default=None, description="Time zone that the cron line means. Default: UTC.")
    jitter: Duration | None = Field(
        default=None, description="Largest random delay, so that clients don't start all at once. Default: 0s."
    )


class StreamOptions(Section):
    """What a stream, its client's defaults and connector.yaml's defaults may say; the innermost wins."""

    batch_size: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] | None = Field(
        default=None,
        description="Rows that are read, stored and committed at a time. Default: 10000.",
    )
    look_back: Duration | None = Field(
        default=None,
        description="How far below the watermark a pull reads again when the database can't tell which "
        "transactions are still open. Default: 15m.",
    )
    look_back_ids: Annotated[int, Field(ge=0), WHOLE] | None = Field(
        default=None, description="The same for `by: id`, counted in ids. Default: 10000."
    )
    slack: Duration | None = Field(
        default=None,
        description="Longest time from a row's stamp to its first write, and what clocks may differ by, where the "
        "database shows writers in flight. Default: 2m.",
    )
    scan_below: Size | None = Field(
        default=None,
        description="Size up to which a table is looked at as a whole on every pull, where that finds every change. "
        "Larger ones are looked at above a day before the last pull, and as a whole at a sweep. Default: 2GiB.",
    )
    sweep_every: Duration | None = Field(
        default=None, description="How often a larger table is looked at as a whole. Default: 24h."
    )
    max_equal: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        default=None, description="Most rows that may share one value of the watermark column. Default: 20000."
    )
    max_rejected: Share | None = Field(
        default=None,
        description="Share of a pull's rows (100 at least) that may be refused before the stream stops. Default: 0.5.",
    )
    null_watermarks: Literal["read", "skip", "refuse"] | None = Field(
        default=None, description="What to do with rows whose watermark column is NULL. Default: read."
    )
    zero_dates: Policy | None = Field(
        default=None,
        description="What becomes of dates and timestamps whose year, month or day is zero: refuse the row, make the "
        "field null (with or without quotes), or null and the source's text as custom.<field>. Default: refuse.",
    )
    invalid: Policy | None = Field(
        default=None,
        description="The same for every other value that its field's type can't hold, such as infinity or NaN, and "
        "for text that is not UTF-8, which text refuses. Default: refuse.",
    )
    start: StartValue | None = Field(
        default=None,
        description="Where a new stream starts: beginning, now, or a value of the watermark column. "
        "Required when the table is large.",
        examples=["beginning"],
    )
    retries: Annotated[int, Field(ge=0, le=20), WHOLE] | None = Field(
        default=None,
        description="How often a failed call to the source is tried again within a run. Default: 3.",
    )
    time_zone: TimeZone | None = Field(
        default=None, description="Time zone that timestamps without one mean. Default: the source's."
    )
    region: Region | None = Field(
        default=None,
        description="Country whose phones are written without a calling code (two letters, ISO 3166). Without one "
        "they keep their digits. Default: the client's.",
    )
    schedule: ScheduleSection | None = Field(default=None, description="When to pull.")


class WatermarkSection(Section):
    """The column that tells what changed."""

    column: Text = Field(description="Name of the column; it should be indexed.", examples=["updated_at"])
    by: Literal["timestamp", "id"] = Field(
        description="timestamp: set on every write, so updates are seen (also a number that rises on every write). "
        "id: rises on insert only, so updates are not seen.",
        examples=["timestamp"],
    )


class StreamSection(StreamOptions):
    """One table, view or query that feeds one entity."""

    entity: Text = Field(description="Kind of record that the rows become, e.g. customer.", examples=["customer"])
    table: Text | None = Field(
        default=None, description="Table or view, with its schema where needed. Either this or query."
    )
    query: Text | None = Field(
        default=None,
        description="One SELECT. {$last_id} and {$last_date} stand for the watermark. Either this or table.",
    )
    watermark: WatermarkSection = Field(
        description="The column that tells what changed.", examples=[{"column": "updated_at", "by": "timestamp"}]
    )
    key: KeyColumns = Field(
        description="Column or columns that identify a row and are never NULL; `none` for rows without a key.",
        examples=["customer_id"],
    )
    fields: Annotated[Mapping[FieldName, FieldSource], Field(min_length=1)] | None = Field(
        default=None,
        description="Field of the record: column, or {sql: expression}; {column: ...} where policies follow. "
        "A query may do without: its column names are the fields.",
        examples=[{"local_id": "customer_id"}],
    )
    tenant: TenantChoice | None = Field(
        default=None, description="Replaces the client's tenant filter for this stream."
    )
    renamed_from: Name | None = Field(
        default=None, description="Former name of this stream, whose watermark and records it goes on with."
    )


class TlsSection(Section):
    """Encryption of the connection."""

    mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="verify-full checks the server's certificate and its name. Default: prefer."
    )
    ca: Text | None = Field(default=None, description="File with the certificates to trust, relative to this file.")
    cert: Text | None = Field(default=None, description="File with the client's certificate, relative to this file.")
    key: Text | None = Field(default=None, description="File with the client certificate's key, relative to this file.")


class LimitsSection(Section):
    """What the client's database is asked to bear."""

    connections: Annotated[int, Field(ge=1, le=32), WHOLE] | None = Field(
        default=None, description="Most connections at a time. Default: 2."
    )
    connect_timeout: Duration | None = Field(default=None, description="Longest wait for a connection. Default: 10s.")
    statement_timeout: Duration | None = Field(
        default=None, description="Longest time a statement may take. Default: 5m."
    )
    read_timeout: Duration | None = Field(
        default=None, description="Longest silence of the server. Default: statement_timeout and 30s."
    )
    snapshot_cap: Duration | None = Field(
        default=None, description="Longest time one snapshot of the database is held open. Default: 5m."
    )


class SourceSection(Section):
    """The client's database and the read-only login."""

    url: Text | None = Field(
        default=None,
        description="engine://user:${PASSWORD}@host:port/database, instead of the keys that it holds. "
        "What ${...} stands for is taken as it is and need not be percent-encoded.",
    )
    engine: Text | None = Field(
        default=None, description="Kind of database; an unknown one is answered with those there are."
    )
    host: Text | None = Field(default=None, description="Name or address of the server.")
    port: Annotated[int, Field(ge=1, le=65_535), WHOLE] | None = Field(
        default=None, description="Port of the server. Default: the engine's."
    )
    database: Text | None = Field(
        default=None,
        description="Database or service; for an embedded engine a file, relative to this one if it begins with ./",
    )
    user: Text | None = Field(default=None, description="Login, which should have read rights only.")
    password: Text | None = Field(
        default=None, description="Best ${NAME} or ${file:/path}, so that it is not written here."
    )
    time_zone: TimeZone | None = Field(
        default=None, description="Time zone that this database's timestamps without one mean. Default: UTC."
    )
    replica: bool = Field(
        default=False,
        description="true for a replica that can't be recognised as one: it does not show the writers that are still "
        "at work on its primary. Default: false.",
    )
    reader: Literal["columnar", "plain"] = Field(
        default="columnar",
        description="columnar reads as fast as the engine gives; plain goes through the driver row by row, for a "
        "server that only speaks nearly like its engine. Both deliver the same values. Default: columnar.",
    )
    tls: TlsSection = Field(default=TlsSection(), description="Encryption of the connection.")
    limits: LimitsSection = Field(default=LimitsSection(), description="What the client's database is asked to bear.")


class ClientFile(Section):
    """One client: its database, which rows are its own, and what to pull."""

    client: Name = Field(description="The client's name, used in commands, logs and records.", examples=["acme"])
    region: Region | None = Field(
        default=None,
        description="Country whose phones this client writes without a calling code (two letters, ISO 3166).",
        examples=["UA"],
    )
    source: SourceSection = Field(description="The client's database and the read-only login.")
    tenant: TenantChoice | None = Field(
        default=None,
        description="Which rows are this client's: {column: ..., value: ...}; `none` when the database holds no other "
        "client's rows; `in_query` when every stream's query filters by itself. Required here or in every stream.",
    )
    defaults: StreamOptions = Field(default=StreamOptions(), description="Options of this client's streams.")
    streams: Mapping[Name, StreamSection] = Field(
        description="What to pull, by name.", min_length=1, examples=[{"customers": {}}]
    )


class StoreSection(Section):
    """Where the connector keeps what it has read."""

    path: Text = Field(
        description="File that the connector keeps its state in, relative to this file.", examples=["state.db"]
    )
    min_free: Size | None = Field(
        default=None, description="Pulls stop when the disk has less free space than this. Default: 256MiB."
    )
    runs_kept: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        default=None, description="Runs per stream that are remembered. Default: 1000."
    )


class LogSection(Section):
    format: Literal["console", "json"] = Field(default="console", description="console for people. Default: console.")
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Default: info.")


class DaemonSection(Section):
    workers: Annotated[int, Field(ge=1, le=64), WHOLE] | None = Field(
        default=None, description="Streams that are pulled at a time. Default: 4."
    )
    stop_timeout: Duration | None = Field(
        default=None, description="How long a stop waits for the batches under way. Default: 10m."
    )


class ConnectorFile(Section):
    """The installation: its store, its log, its daemon, and where the clients' files are."""

    store: StoreSection = Field(
        description="Where the connector keeps what it has read.", examples=[{"path": "connector.db"}]
    )
    log: LogSection = Field(default=LogSection(), description="What is logged, and how.")
    daemon: DaemonSection = Field(default=DaemonSection(), description="How `connector run` works.")
    clients: Text = Field(default="clients/*.yaml", description="Pattern of the client files, relative to this file.")
    defaults: StreamOptions = Field(default=StreamOptions(), description="Options of all streams of all clients.")


def json_schema() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each kind of file, by the schema's file name."""
    kinds: dict[str, type[Section]] = {"connector.schema.json": ConnectorFile, "client.schema.json": ClientFile}
    return {name: _tidied(model.model_json_schema()) for name, model in kinds.items()}


def write_schemas(folder: Path) -> None:
    """Write the JSON Schemas that editors check the YAML with."""
    for name, schema in json_schema().items():
        (folder / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tidied(schema: Any) -> Any:
    """Drop null, which no key takes, and defaults that hold it."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {name: _tidied(value) for name, value in schema.items() if name != "default" or isinstance(value, str)}
    choices = tidy.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        choices = [choice for choice in choices if choice != {"type": "null"}]
        tidy["anyOf"] = choices
        if len(choices) == 1:
            del tidy["anyOf"]
            tidy = {**choices[0], **tidy}
    return tidy
