"""PostgreSQL's horizon.

Every row version carries the number of the transaction that wrote it (`xmin`). A version that a snapshot S can't see
was written by a transaction that was open at S or began later, and its number is at or above S's own xmin, which is
the lowest number that was open: subtransactions, prepared transactions and stand-bys included. So rows whose xmin is at
or above the last pull's S.xmin are all that this pull can have to read, whatever clocks and stamps say, and a plain
SELECT is enough to ask for them. Numbers have 32 bits in a row and go round; `age()` compares them as the server does.

A number tells nothing of a row's table, though: one that is attached, or takes the place of another, brings rows with
numbers from before. So the tables behind a stream are remembered, and one that is new there and old is read whole.

Where rows show no xmin (views, queries, column-wise grants) a login that may read pg_stat_activity is told since when
the oldest other transaction is open: nothing that is stamped earlier can still come, if stamps are the server's. It is
asked before the snapshot; a transaction that was prepared is seen in neither place for its whole life, so while one
exists the stamp that held before it appeared is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from connector.config.resolved import Stream
from connector.errors import SourceRefused
from connector.model import Level, Watermark
from connector.source.dialect import joined
from connector.source.horizon import FIRST_LOOK_BACK_US, Ask, Sight, Span, Survey
from connector.source.layout import Layout
from connector.source.select import Statement, Table
from connector.source.window import parse_clock

RELATED = re.compile(r"redshift|greenplum|cockroach|-YB-|yugabyte|citus columnar", re.IGNORECASE)
"""Engines that speak PostgreSQL's language and keep rows in their own way."""

SESSION = (
    "SELECT version(), pg_is_in_recovery(), pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), "
    "(SELECT oid::text FROM pg_catalog.pg_database WHERE datname = current_database()), "
    "to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
)
IDENTITY = Statement(
    f"{SESSION}, (SELECT system_identifier::text FROM pg_control_system()), "
    "CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint()) "
    "ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END::text"
)
LESS_IDENTITY = Statement(f"{SESSION}, '', ''")
"""For servers that keep their control data to themselves."""

ACTIVITY = Statement(
    "SELECT to_char(least(clock_timestamp(), min(xact_start)) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), "
    "coalesce(bool_or(backend_xid IS NOT NULL AND xact_start IS NULL), false) FROM pg_catalog.pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND backend_type NOT IN ('autovacuum worker', 'walsender')"
)
PREPARED = Statement(
    "SELECT transaction::text, to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') "
    "FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()"
)
SNAPSHOT = Statement(
    "SELECT pg_snapshot_xmin(s)::text, pg_snapshot_xmax(s)::text FROM (SELECT pg_current_snapshot() s OFFSET 0) q"
)
OLD_SNAPSHOT = Statement(
    "SELECT txid_snapshot_xmin(s)::text, txid_snapshot_xmax(s)::text FROM (SELECT txid_current_snapshot() s OFFSET 0) q"
)
FAMILY = """
WITH RECURSIVE family AS (
  SELECT to_regclass(%s)::oid AS oid
  UNION ALL
  SELECT i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid
)
SELECT f.oid::text, c.relfrozenxid::text, txid_snapshot_xmax(txid_current_snapshot())::text
FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid WHERE c.relfrozenxid <> '0'::xid
"""
"""A table and its partitions, each with a transaction number below which none of its rows was written."""
FIRST_WITH_NEW_SNAPSHOT = 13
TOO_FAR = 2**31


class PostgresqlHorizon:
    """Exact by row versions; else bounded by the oldest open transaction; else a window."""

    def survey(self, ask: Ask, found: Layout, stream: Stream) -> Survey:
        try:
            row = ask(IDENTITY)[0]
        except SourceRefused:
            row = ask(LESS_IDENTITY)[0]
        version, standby, reads_activity, database, started, system, timeline = row
        server = {"system": system, "timeline": timeline, "database": database}
        traces = {"started": str(started)}
        why, remedy = _no_versions(str(version), found)
        bounds = bool(reads_activity) and not standby and found.watermark.kind.temporal
        number = re.match(r"PostgreSQL (\d+)", str(version))
        details = {"version": number[1] if number else "0"}
        parts = _parts(ask, found)
        if not why:
            floored = found.indexed and found.watermark.kind.temporal and _large(found, stream)
            level = Level.EXACT_WITHIN if floored else Level.EXACT
            return Survey(
                level,
                server,
                traces=traces,
                standby=bool(standby),
                versions="xid",
                bounds=bounds,
                floored=floored,
                parts=parts,
                details=details,
            )
        level = Level.BOUNDED if bounds else Level.WINDOW
        if not bounds and not standby and not remedy:
            remedy = "GRANT pg_read_all_stats to the login would show how far back writers at work can reach"
        return Survey(
            level,
            server,
            why,
            remedy,
            traces,
            standby=bool(standby),
            versions="xid",
            bounds=bounds,
            parts=parts,
            details=details,
        )

    def before(self, ask: Ask, found: Layout, survey: Survey, previous: Watermark | None, span: Span) -> Sight:
        if not survey.bounds:
            return Sight()
        text, hidden = ask(ACTIVITY)[0]
        if hidden:
            return Sight(warnings=("pg_stat_activity does not show when every transaction began",))
        prepared = {str(xid): parse_clock(str(at)) for xid, at in ask(PREPARED)}
        held = _held(prepared, previous)
        low_us = min([parse_clock(str(text)), *held.values()])
        return Sight(low_us=low_us, held=held)

    def within(self, ask: Ask, found: Layout, survey: Survey, sight: Sight) -> Sight:
        recent = int(survey.details.get("version", "0")) >= FIRST_WITH_NEW_SNAPSHOT
        lowest, next_ = ask(SNAPSHOT if recent else OLD_SNAPSHOT)[0]
        return Sight(str(lowest), str(next_), sight.low_us, sight.held, sight.warnings)

    def spans(self, since: str, ceiling: str) -> bool:
        return int(ceiling) - int(since) < TOO_FAR


def _no_versions(version: str, found: Layout) -> tuple[str, str]:
    """Say why a stream's rows show no version, and what would help; empty texts when they do."""
    facts = found.facts
    if facts is None:
        return "a query's rows show no version", "A stream on the table itself would be exact"
    if facts.view:
        return "a view's rows show no version", "A stream on the table behind it would be exact"
    if not facts.whole:
        return (
            "the login may read single columns only",
            "GRANT SELECT on the whole table would make the stream exact",
        )
    if RELATED.search(version) or not set(facts.storage.split()) <= {"heap"}:
        return "this kind of storage shows no dependable row version", ""
    if not found.key:
        return "a stream without a key reads whole groups of equal watermarks", "With a key the stream would be exact"
    return "", ""


def _parts(ask: Ask, found: Layout) -> dict[str, int]:
    """Return the tables that hold a stream's rows, each with the lowest number that a row of it may bear."""
    if found.facts is None or found.facts.view or not isinstance(found.relation, Table):
        return {}
    family = ask(Statement(FAMILY, (joined(found.relation.parts, '"'),)))
    return {str(oid): _whole(int(frozen), int(next_)) for oid, frozen, next_ in family}


def _whole(number: int, near: int) -> int:
    """Return the 64-bit number that ends in these 32 bits and lies nearest to another."""
    return near + (number - near + TOO_FAR) % (2 * TOO_FAR) - TOO_FAR


def _large(found: Layout, stream: Stream) -> bool:
    return found.facts is not None and found.facts.size_bytes > stream.scan_below_bytes


def _held(prepared: Mapping[str, int], previous: Watermark | None) -> dict[str, int]:
    """Return, for each prepared transaction, a time before which it wrote nothing: what held before it appeared."""
    known = {} if previous is None else previous.held
    sighting = None if previous is None else previous.sighting
    if sighting is not None and sighting.low_us is not None:
        return {xid: known.get(xid, sighting.low_us) for xid in prepared}
    return {xid: known.get(xid, prepared_us - FIRST_LOOK_BACK_US) for xid, prepared_us in prepared.items()}
