"""What the values of the files must mean together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from connector.config.problems import Where, closest
from connector.config.resolved import Limits
from connector.config.schema import (
    ClientFile,
    ConnectorFile,
    FieldSection,
    ScheduleSection,
    SourceSection,
    StreamSection,
    TenantSection,
    TlsSection,
)
from connector.config.shape import FileReport
from connector.config.url import url_parts

_GIVE_TENANT = "give tenant: {column: ..., value: ...}, or tenant: none when no other client's rows are there"


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry offers: engines, other names for them, and each entity with the fields it requires.

    `dates` are an entity's fields of dates and timestamps.
    """

    engines: Collection[str]
    entities: Mapping[str, Collection[str]]
    aliases: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, Collection[str]] = field(default_factory=dict)


def check_connector(file: ConnectorFile, report: FileReport) -> None:
    _check_schedule(file.defaults.schedule, report, ("defaults", "schedule"))


def check_client(file: ClientFile, known: Known, report: FileReport) -> None:
    """Report everything in one client's file that its values can't mean together."""
    _check_source(file.source, known, report)
    _check_schedule(file.defaults.schedule, report, ("defaults", "schedule"))
    any_tenant = any(stream.tenant is not None for stream in file.streams.values())
    if file.tenant is None and not any_tenant:
        missing = tuple(("streams", name, "tenant") for name in file.streams)
        report.add((), f"says nothing about the tenant; {_GIVE_TENANT}", touches=(("tenant",), *missing))
    for name, stream in file.streams.items():
        where: Where = ("streams", name)
        _check_reading(stream, report, where)
        _check_fields(stream, known, report, (*where, "fields"))
        _check_entity(stream, known, report, where)
        if file.tenant is not None or any_tenant:
            _check_tenant(file, stream, report, where)
        _check_schedule(stream.schedule, report, (*where, "schedule"))
    _check_renames(file, report)
    _check_twins(file, report)


def check_names(clients: list[tuple[ClientFile, FileReport]]) -> None:
    """Report clients of the same name."""
    first: dict[str, FileReport] = {}
    for file, report in clients:
        if file.client in first:
            report.add(("client",), f"another file has a client of this name: {first[file.client].place(('client',))}")
        elif ("client",) not in report.mended:
            first[file.client] = report


def _check_source(source: SourceSection, known: Known, report: FileReport) -> None:
    where: Where = ("source",)
    engine, has_database = source.engine, bool(source.database)
    if source.url is not None and (*where, "url") not in report.mended:
        try:
            parts = url_parts(source.url)
        except ValueError as error:
            report.add((*where, "url"), str(error))
            report.mended.add((*where, "url"))
        else:
            for key in sorted(parts.held()):
                if getattr(source, key) is not None:
                    report.add((*where, key), "stands in the url already; write it in one place")
            engine, has_database = parts.engine, has_database or bool(parts.database)
    at = (*where, "url" if source.url is not None else "engine")
    if engine is None:
        report.add(where, "needs an engine, or a url", touches=((*where, "url"), (*where, "engine")))
    elif known.aliases.get(engine, engine) not in known.engines:
        likely = closest(engine, [*known.engines, *known.aliases])
        choice = "" if likely else f"; one of {', '.join(sorted(known.engines))}"
        report.add(at, f"unknown engine{choice}", likely)
    if not has_database:
        report.add(where, "needs a database", touches=((*where, "url"), (*where, "database")))
    _check_tls(source.tls, report, (*where, "tls"))
    _check_limits(source, report, (*where, "limits"))


def _check_tls(tls: TlsSection, report: FileReport, where: Where) -> None:
    if (tls.cert is None) != (tls.key is None):
        report.add(where, "needs cert and key together", touches=((*where, "cert"), (*where, "key")))
    if tls.ca is not None and not tls.mode.startswith("verify-"):
        report.add((*where, "ca"), "is only used when mode is verify-ca or verify-full", touches=((*where, "mode"),))


def _check_limits(source: SourceSection, report: FileReport, where: Where) -> None:
    limits = source.limits
    statement_s = Limits().statement_timeout_s if limits.statement_timeout is None else limits.statement_timeout
    if limits.read_timeout is not None and limits.read_timeout < statement_s:
        report.add(
            (*where, "read_timeout"),
            "must not be shorter than statement_timeout, or slow statements look like a lost connection",
            touches=((*where, "statement_timeout"),),
        )
    for key in ("connect_timeout", "statement_timeout", "read_timeout", "snapshot_cap"):
        if getattr(limits, key) == 0:
            report.add((*where, key), "must be more than 0")


def _check_reading(stream: StreamSection, report: FileReport, where: Where) -> None:
    table, query, fields = (*where, "table"), (*where, "query"), (*where, "fields")
    if stream.table is not None and stream.query is not None:
        report.add(query, "stands beside table; a stream reads one or the other")
    if stream.table is None and stream.query is None:
        report.add(where, "needs a table or a query", touches=(table, query))
    if stream.table is not None and stream.fields is None:
        report.add(where, "needs fields: which column of the table becomes which field", touches=(fields,))


def _check_fields(stream: StreamSection, known: Known, report: FileReport, where: Where) -> None:
    dates = known.dates.get(stream.entity)
    for name, source in (stream.fields or {}).items():
        if not isinstance(source, FieldSection):
            continue
        at = (*where, name)
        misspelt = any(bad[: len(at)] == at for bad in report.mended)
        if source.column is None and source.sql is None and not misspelt:
            report.add(at, "needs a column, or an sql expression")
        if source.column is not None and source.sql is not None:
            report.add((*at, "sql"), "stands beside column; a field is one or the other")
        if source.zero_dates is not None and dates is not None and name not in dates:
            what = f"is for dates and timestamps only; {stream.entity} has {', '.join(dates) or 'none'}"
            report.add((*at, "zero_dates"), what, touches=((*where[:-1], "entity"),))


def _check_entity(stream: StreamSection, known: Known, report: FileReport, where: Where) -> None:
    entity, fields = (*where, "entity"), (*where, "fields")
    required = known.entities.get(stream.entity)
    if required is None:
        likely = closest(stream.entity, known.entities)
        choice = "" if likely else f"; one of {', '.join(sorted(known.entities))}"
        report.add(entity, f"unknown entity{choice}", likely)
    elif stream.fields is not None:
        for name in (name for name in required if name not in stream.fields):
            report.add(fields, f"lacks {name}, which this entity requires", touches=(entity, (*fields, name)))


def _check_tenant(file: ClientFile, stream: StreamSection, report: FileReport, where: Where) -> None:
    tenant = file.tenant if stream.tenant is None else stream.tenant
    touches: tuple[Where, ...] = (("tenant",), (*where, "tenant"))
    if tenant is None:
        report.add(where, f"says nothing about the tenant; {_GIVE_TENANT}", touches=touches)
    elif tenant == "in_query" and stream.query is None:
        at = (*where, "tenant") if stream.tenant is not None else where
        report.add(at, "reads a table, so its tenant can't be in_query", touches=(*touches, (*where, "query")))


def _check_schedule(schedule: ScheduleSection | None, report: FileReport, where: Where) -> None:
    if schedule is None:
        return
    if schedule.cron is not None and schedule.every is not None:
        report.add((*where, "every"), "stands beside cron; a schedule has one or the other")
    if schedule.every is not None and schedule.every < 1:
        report.add((*where, "every"), "must be at least 1s")


def _check_renames(file: ClientFile, report: FileReport) -> None:
    heirs: dict[str, str] = {}
    for name, stream in file.streams.items():
        former, where = stream.renamed_from, ("streams", name, "renamed_from")
        if former is None:
            continue
        if former in file.streams:
            report.add(where, "names a stream that is still here; remove that one or this line")
        elif former in heirs:
            report.add(where, f"is the former name of stream {heirs[former]} already")
        heirs.setdefault(former, name)


def _check_twins(file: ClientFile, report: FileReport) -> None:
    """Refuse two streams that would write the same records, as each would undo the other's."""
    first: dict[tuple[str, str, str], str] = {}
    for name, stream in file.streams.items():
        tenant = file.tenant if stream.tenant is None else stream.tenant
        who = f"{tenant.column}={tenant.value!r}" if isinstance(tenant, TenantSection) else str(tenant)
        what = (stream.entity, " ".join((stream.table or stream.query or "").split()), who)
        other = first.setdefault(what, name)
        if other != name:
            touches = [(*("streams", each), key) for each in (name, other) for key in ("entity", "table", "query")]
            report.add(
                ("streams", name),
                f"two streams would write the same records: {other} has the same entity, source and tenant",
                touches=(("tenant",), ("streams", name, "tenant"), ("streams", other, "tenant"), *touches),
            )
