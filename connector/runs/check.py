"""Look at a stream's source before anything is pulled: each finding is one line with what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum

from connector import clock
from connector.config.resolved import Stream
from connector.core.entity import Entity
from connector.errors import ConnectorError
from connector.model import Kind, Policies
from connector.runs.lanes import ROWS_WITHOUT_START
from connector.runs.promise import sentence, span
from connector.source import doctor
from connector.source.dialect import TableFacts
from connector.source.layout import Layout, relation_of
from connector.source.reader import Reader
from connector.source.select import Table
from connector.source.session import Session
from connector.source.window import micros


class Grade(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    stream: str
    grade: Grade
    what: str
    remedy: str = ""


def check_stream(
    stream: Stream, entity: Entity, open_session: Callable[[], AbstractContextManager[Session]]
) -> list[Finding]:
    """Return the findings about one stream, worst news included; never raises for what the source did."""
    name = str(stream.id)
    findings: list[Finding] = []
    try:
        with open_session() as session:
            findings.append(Finding(name, Grade.OK, f"connected to {session.version()}"))
            findings += _look(stream, entity, session)
    except ConnectorError as error:
        findings.append(Finding(name, Grade.ERROR, error.what, error.remedy))
    return findings


def _look(stream: Stream, entity: Entity, session: Session) -> list[Finding]:
    name = str(stream.id)
    relation = relation_of(stream, session.dialect.capabilities)
    facts = session.facts(relation) if isinstance(relation, Table) else None
    if isinstance(relation, Table) and facts is None:
        remedy = "Check the stream's table and its schema, and that the login may see it"
        return [Finding(name, Grade.ERROR, f"there is no table or view {relation}", remedy)]
    missing = _missing(stream, facts)
    if missing:
        return [Finding(name, Grade.ERROR, what, remedy) for what, remedy in missing]
    layout = session.layout(stream, frozenset(entity.by_name), facts)
    kind = "query" if facts is None else "view" if facts.view else "table"
    columns = f"{len(layout.fields)} fields, watermark {layout.watermark.name} ({layout.watermark.native})"
    findings = [Finding(name, Grade.OK, f"{kind} {relation}: {columns}" if kind != "query" else f"query: {columns}")]
    findings += [Finding(name, *finding) for finding in (*_key(stream, layout, facts), *_tenant(stream, layout))]
    findings += [Finding(name, *finding) for finding in (*_index(layout, facts), *_watermark(stream, layout))]
    findings += [Finding(name, *finding) for finding in _policies(stream)]
    reader = Reader(session, stream, layout)
    findings += [Finding(name, *finding) for finding in _size(stream, reader)]
    findings += _level(stream, layout, session)
    return [*findings, *(Finding(name, *finding) for finding in _times(reader, session))]


def _missing(stream: Stream, facts: TableFacts | None) -> list[tuple[str, str]]:
    if facts is None:
        return []
    wanted = {"watermark": stream.watermark_column, **{f"key {column}": column for column in stream.key}}
    wanted |= {f"field {name}": field.column for name, field in stream.fields.items() if field.column is not None}
    if stream.tenant is not None:
        wanted["tenant"] = stream.tenant.column
    found = []
    for use, column in wanted.items():
        if facts.named(column) is None:
            near = difflib.get_close_matches(column.lower(), [each.lower() for each in facts.nullable], 1)
            real = next((each for each in facts.nullable if near and each.lower() == near[0]), None)
            hint = f"Did you mean {real}?" if real else f"Columns are: {', '.join(facts.nullable)}"
            found.append((f"{use}: there is no column {column}", hint))
    return found


def _key(stream: Stream, layout: Layout, facts: TableFacts | None) -> list[tuple[Grade, str, str]]:
    if not stream.key:
        unique = "" if facts is None or not facts.unique else f"; a unique index is on [{', '.join(facts.unique[0])}]"
        what = f"no key: whole groups of equal watermarks are read, at most {stream.max_equal} rows each"
        return [(Grade.WARNING if unique else Grade.OK, what, f"Set key{unique}" if unique else "")]
    names = ", ".join(stream.key)
    if facts is None or facts.view:
        return [(Grade.OK, f"key [{names}]: unique by your word, since no catalogue says so here", "")]
    key = {facts.named(name) for name in stream.key}
    if any(set(columns) <= key for columns in facts.unique):
        return [(Grade.OK, f"key [{names}] is unique", "")]
    remedy = "Choose the columns of a primary key or unique index; repeated keys stop the stream"
    return [(Grade.WARNING, f"no unique index makes key [{names}] unique", remedy)]


def _tenant(stream: Stream, layout: Layout) -> list[tuple[Grade, str, str]]:
    if layout.tenant is not None:
        return [(Grade.OK, f"tenant filter on {layout.tenant.name}, checked again on every row", "")]
    if stream.tenant_in_query:
        remedy = "Return the tenant's column from the query and set tenant.column, to have each row checked"
        return [(Grade.WARNING, "tenant: filtered inside the query, not re-checked", remedy)]
    return [(Grade.OK, "tenant: none, every row is this client's", "")]


def _index(layout: Layout, facts: TableFacts | None) -> list[tuple[Grade, str, str]]:
    if facts is None or facts.view:
        return [(Grade.WARNING, "no index can be seen behind a view or query", "Look at its plan on a quiet system")]
    order = [facts.named(column.name) or column.name for column in layout.order]
    wished = ([facts.named(layout.tenant.name) or ""] if layout.tenant is not None else []) + order
    named = f"({', '.join(wished)})"
    served = {columns[: len(wished)] for columns in facts.indexes}
    if any(columns == tuple(wished[: len(columns)]) and order[0] in columns for columns in served):
        return [(Grade.OK, f"an index serves {named}", "")]
    if any(columns[0] == order[0] for columns in facts.indexes):
        return [(Grade.OK, f"an index begins with {order[0]}", f"One on {named} would read this client's rows only")]
    remedy = f"Ask the client's DBA for an index on {named}"
    return [(Grade.WARNING, f"no index serves {order[0]}: every batch scans the table", remedy)]


def _watermark(stream: Stream, layout: Layout) -> list[tuple[Grade, str, str]]:
    if not layout.watermark_nullable:
        return []
    what = f"watermark {layout.watermark.name} may be NULL: such rows are "
    handled = {
        "read": "read as well",
        "skip": "skipped",
        "refuse": "a reason to stop the stream",
    }
    return [(Grade.OK, what + handled[stream.null_watermarks], "")]


def _policies(stream: Stream) -> list[tuple[Grade, str, str]]:
    """Say what becomes of values that a field can't hold, unless every such row is refused."""
    words = {"refuse": "refused", "null": "null", "text": "null, their text kept"}
    default = Policies(stream.zero_dates, stream.invalid)
    asked = {"": default, **{f"{name}: ": stream.policies(name) for name in stream.fields}}
    told = [
        f"{name}zero dates {words[each.zero_dates]}, others {words[each.invalid]}"
        for name, each in asked.items()
        if not name or each != default
    ]
    if default == Policies() and len(told) == 1:
        return []
    return [(Grade.OK, f"values that a field can't hold: {'; '.join(told)}", "")]


def _level(stream: Stream, layout: Layout, session: Session) -> list[Finding]:
    survey = session.survey(layout, stream)
    promise = Finding(str(stream.id), Grade.OK, f"level {sentence(stream, survey.level)}")
    if not survey.why:
        return [promise]
    return [promise, Finding(str(stream.id), Grade.OK, f"no better level, since {survey.why}", survey.remedy)]


def _size(stream: Stream, reader: Reader) -> list[tuple[Grade, str, str]]:
    rows = reader.estimate(reader.beginning)
    if rows is None:
        return []
    if rows > ROWS_WITHOUT_START and stream.start is None:
        return [(Grade.ERROR, f"about {rows:,} rows, and no start is set", "Set start: beginning, now, or a value")]
    return [(Grade.OK, f"about {rows:,} rows", "")]


def _times(reader: Reader, session: Session) -> list[tuple[Grade, str, str]]:
    """Return what is wrong with the database's clock, and with the zone that the watermark's stamps are read in."""
    column = reader.layout.watermark
    before = clock.now()
    try:
        if column.kind is Kind.TIMESTAMP:
            clock_us, newest = reader.newest_stamps(doctor.LOOKED_AT)
        else:
            clock_us, newest = session.clock_us(), []
    except ConnectorError as error:
        return [(Grade.WARNING, f"the newest values of {column.name} could not be read: {error.what}", error.remedy)]
    apart_us = doctor.apart_us(clock_us, micros(before), micros(clock.now()))
    found = []
    if apart_us:
        side = "ahead of" if apart_us > 0 else "behind"
        what = f"the database's clock is {span(60 * round(abs(apart_us) / 6e7))} {side} this machine's"
        found.append((Grade.WARNING, what, "Have the one that is wrong set by a time server"))
    zone = doctor.other_zone(newest, clock_us, reader.layout.window)
    if zone is not None:
        side, doubt = ("ahead of", "") if zone.proven else ("behind", ", or nothing was written since")
        what = f"{column.name} looks like {zone.name}: its newest values lie {doctor.hours(zone.ahead_us)} h {side}"
        remedy = "Set source.time_zone (or the stream's) to the zone that the client's application writes in"
        found.append((Grade.WARNING, f"{what} the database's clock{doubt}", remedy))
    return found
