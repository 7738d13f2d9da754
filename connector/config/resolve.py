"""Turn checked files into the values that the stages use: defaults applied, paths made absolute."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from connector.config.resolved import (
    Client,
    DaemonSettings,
    Field,
    Limits,
    LogSettings,
    Schedule,
    Source,
    StoreSettings,
    Stream,
    Tenant,
    Tls,
)
from connector.config.schema import (
    ClientFile,
    ConnectorFile,
    FieldSection,
    ScheduleSection,
    Section,
    SourceSection,
    StreamOptions,
    StreamSection,
    TenantSection,
)
from connector.config.url import UrlParts, url_parts
from connector.model import StreamId

READ_MARGIN_S = Limits().read_timeout_s - Limits().statement_timeout_s
"""How much longer the socket waits than the statement may take, so that the server's own timeout speaks first."""

EVERY_S = 21_600.0
"""How often a stream is pulled when nothing says so."""

_UNITS = {
    "look_back": "look_back_s",
    "slack": "slack_s",
    "scan_below": "scan_below_bytes",
    "sweep_every": "sweep_every_s",
    "connect_timeout": "connect_timeout_s",
    "statement_timeout": "statement_timeout_s",
    "read_timeout": "read_timeout_s",
    "snapshot_cap": "snapshot_cap_s",
    "stop_timeout": "stop_timeout_s",
    "min_free": "min_free_bytes",
    "every": "every_s",
    "jitter": "jitter_s",
}
"""Keys whose value is stored under a name that ends with its unit."""


def store_settings(file: ConnectorFile, folder: Path) -> StoreSettings:
    return replace(StoreSettings(absolute(file.store.path, folder)), **_given(file.store, "min_free", "runs_kept"))


def log_settings(file: ConnectorFile) -> LogSettings:
    return LogSettings(format=file.log.format, level=file.log.level)


def daemon_settings(file: ConnectorFile) -> DaemonSettings:
    return DaemonSettings(**_given(file.daemon, "workers", "stop_timeout"))


def client(file: ClientFile, outer: StreamOptions, folder: Path, aliases: Mapping[str, str]) -> Client:
    """Return one client; `outer` are connector.yaml's defaults."""
    source = _source(file.source, outer, folder, aliases)
    levels = (outer, StreamOptions(time_zone=file.source.time_zone, region=file.region), file.defaults)
    streams = [_stream(file, name, stream, (*levels, stream)) for name, stream in file.streams.items()]
    return Client(file.client, source, tuple(streams))


def _source(section: SourceSection, outer: StreamOptions, folder: Path, aliases: Mapping[str, str]) -> Source:
    parts = UrlParts(engine=section.engine or "") if section.url is None else url_parts(section.url)
    database = section.database or parts.database
    if database.startswith(("./", "../")):
        database = str(absolute(database, folder))
    return Source(
        engine=aliases.get(parts.engine, parts.engine),
        host=section.host or parts.host,
        port=section.port or parts.port,
        database=database,
        user=section.user or parts.user,
        password=section.password or parts.password,
        time_zone=section.time_zone or outer.time_zone or "UTC",
        tls=_tls(section, folder),
        limits=_limits(section),
        reader=section.reader,
    )


def _tls(section: SourceSection, folder: Path) -> Tls:
    tls = section.tls
    files = {name: absolute(getattr(tls, name), folder) for name in ("ca", "cert", "key") if getattr(tls, name)}
    return Tls(mode=tls.mode, **files)


def _limits(section: SourceSection) -> Limits:
    given = _given(
        section.limits, "connections", "connect_timeout", "statement_timeout", "read_timeout", "snapshot_cap"
    )
    limits = Limits(**given)
    if "read_timeout_s" in given:
        return limits
    return replace(limits, read_timeout_s=limits.statement_timeout_s + READ_MARGIN_S)


def _stream(file: ClientFile, name: str, section: StreamSection, levels: tuple[StreamOptions, ...]) -> Stream:
    options: dict[str, Any] = {}
    names = [each for each in StreamOptions.model_fields if each != "schedule"]
    for level in levels:
        options |= _given(level, *names)
    tenant = file.tenant if section.tenant is None else section.tenant
    return Stream(
        id=StreamId(file.client, name),
        entity=section.entity,
        watermark_column=section.watermark.column,
        by=section.watermark.by,
        table=section.table,
        query=section.query,
        key=section.key,
        fields=_fields(section),
        tenant=Tenant(tenant.column, tenant.value, tenant.accept) if isinstance(tenant, TenantSection) else None,
        tenant_in_query=tenant == "in_query",
        schedule=_schedule([level.schedule for level in levels if level.schedule is not None]),
        renamed_from=section.renamed_from,
        replica=file.source.replica,
        **options,
    )


def _fields(section: StreamSection) -> dict[str, Field]:
    return {
        name: Field(source) if isinstance(source, str) else Field(**_given(source, *FieldSection.model_fields))
        for name, source in (section.fields or {}).items()
    }


def _schedule(levels: list[ScheduleSection]) -> Schedule:
    """Let inner levels add to outer ones; an inner `cron` or `every` replaces whichever stood outside."""
    options: dict[str, Any] = {"every_s": EVERY_S}
    for level in levels:
        given = _given(level, "cron", "every", "time_zone", "jitter")
        if "cron" in given or "every_s" in given:
            options |= {"cron": None, "every_s": None}
        options |= given
    return Schedule(**options)


def _given(section: Section, *names: str) -> dict[str, Any]:
    """Return the keys that were written, named as the resolved values name them."""
    written = {name: getattr(section, name) for name in names}
    return {_UNITS.get(name, name): value for name, value in written.items() if value is not None}


def absolute(path: str | Path, folder: Path) -> Path:
    """Return the path from the root. Links are kept: mounted configuration is a link to a folder that changes."""
    return Path(os.path.normpath(folder / path))
