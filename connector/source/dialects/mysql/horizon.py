"""MySQL's and MariaDB's horizon (InnoDB).

Rows show no transaction, but a READ UNCOMMITTED statement shows rows in flight, takes no lock and needs no right
beyond SELECT. So the stamps of writers in flight are found by comparing two looks at the same range:

    dirty      what is there, committed or not, before the snapshot opens
    clean      what the snapshot shows of the same range

A row in the first and not in the second is in flight (or was, a moment ago). Nothing of it travels: the server cuts the
range into slices by time and returns each one's count, digest and lowest stamp. The first slice that differs is where
a writer in flight can be at the lowest. That costs constant memory and one connection, and the tenant filter holds in
it as everywhere. What was stamped and not yet written at the dirty look is covered by the slack.

The digest holds every column that the stream reads, since an update may leave the stamp as it was (twice in a second,
or on one day). It is no plain checksum: those are linear, and two rows moved from one stamp to another cancel out.

With the right PROCESS two more things are asked, before the dirty look. The process list tells since when statements
run: one that waits for a lock took its stamp before it waited, and shows in no transaction list. `innodb_trx` tells
since when writing transactions are open. That table is a cache which is renewed only when nobody has asked for 100 ms,
and another poller can keep it stale for ever: it counts only when it shows this session's own transaction, which was
opened just before. Its times are in the server's zone; only differences to our own are used.

A replica, a Galera node and other storage engines show nothing of writers elsewhere: there the window holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.config.resolved import Stream
from connector.errors import SourceRefused
from connector.model import Level, Watermark
from connector.source.dialect import quoted
from connector.source.dialects.mysql.render import MysqlGrammar
from connector.source.horizon import Ask, Sight, Span, Survey
from connector.source.layout import Layout
from connector.source.render import ALIAS, Renderer
from connector.source.select import Compare, Output, Select, Statement
from connector.source.window import SECOND_US, parse_clock, read_stamp

NAMES = (
    "server_uuid",
    "server_uid",
    "server_id",
    "hostname",
    "port",
    "read_only",
    "super_read_only",
    "innodb_read_only",
    "wsrep_on",
    "group_replication_group_name",
    "uptime",
    "slave_running",
)
_LISTED = ", ".join(f"'{name}'" for name in NAMES)
SESSION = "SELECT 'database', DATABASE() UNION ALL SELECT 'now', CAST(UTC_TIMESTAMP(6) AS CHAR)"
_SCHEMA = "/*M!100000 information_schema *//*!50700 performance_schema */"
SERVER = Statement(
    f"{SESSION} UNION ALL SELECT VARIABLE_NAME, VARIABLE_VALUE FROM {_SCHEMA}.GLOBAL_VARIABLES "
    f"WHERE VARIABLE_NAME IN ({_LISTED}) UNION ALL SELECT VARIABLE_NAME, VARIABLE_VALUE FROM {_SCHEMA}.GLOBAL_STATUS "
    f"WHERE VARIABLE_NAME IN ({_LISTED})"
)
OLDER_SERVER = (
    Statement(SESSION),
    Statement(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({_LISTED})"),
    Statement(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({_LISTED})"),
)
OFF = frozenset({"", "OFF", "0", "NO"})
"""Everything else is on: newer servers know several ways of being read only."""

BEGIN = Statement("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
END = Statement("ROLLBACK")
PAUSE = Statement("DO SLEEP(0.12)")
OWN = "MAX(IF(trx_mysql_thread_id = CONNECTION_ID(), trx_started, NULL))"
WRITING = "trx_rows_modified > 0 OR trx_lock_structs > 0 OR trx_state <> 'RUNNING'"
WRITERS = Statement(
    "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR), t.own, t.age_s, t.ahead, p.age_s FROM "
    f"(SELECT MAX(trx_mysql_thread_id = CONNECTION_ID()) AS own, "
    f"TIMESTAMPDIFF(SECOND, MIN(IF({WRITING}, trx_started, NULL)), {OWN}) AS age_s, "
    f"COALESCE(MAX(trx_started) > {OWN} + INTERVAL 60 SECOND, 0) AS ahead FROM information_schema.INNODB_TRX) t, "
    "(SELECT MAX(TIME) AS age_s FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() "
    "AND COMMAND NOT IN ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID') "
    "AND COALESCE(INFO, '') NOT REGEXP '^[[:space:](]*SELECT') p"
)
TRIES = 4
UNIT_S = 1
"""Both lists count whole seconds."""
HOUR_S = 3_600

DIRTY = Statement("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
SLICES = 512


class MysqlHorizon:
    """Bounded by the writers in flight on a primary's InnoDB tables; else a window."""

    def survey(self, ask: Ask, found: Layout, stream: Stream) -> Survey:
        values = _server(ask)
        server = {name: values[name] for name in _identity(values)}
        born = found.facts.born if found.facts is not None else ""
        traces = {name: value for name, value in (("started", _started(values)), ("table", born)) if value}
        why = _hidden(values, found, stream)
        if why:
            return Survey(Level.WINDOW, server, why, traces=traces)
        details = _writers(ask)
        digested = found.facts is not None and not found.facts.view
        if not digested and "granted" not in details:
            why = "writers in flight can't be told from what a view or query reads"
            remedy = "A stream on the table itself, or GRANT PROCESS to the login, would bound them"
            return Survey(Level.WINDOW, server, why, remedy, traces)
        details |= {"digested": "yes"} if digested else {}
        return Survey(Level.BOUNDED, server, traces=traces, bounds=True, details=details)

    def before(self, ask: Ask, found: Layout, survey: Survey, previous: Watermark | None, span: Span) -> Sight:
        details = survey.details
        stale = "granted" in details and "low_us" not in details
        warnings = ("the server's list of transactions is kept stale by another client",) if stale else ()
        low_us = int(details["low_us"]) if "low_us" in details else None
        if "digested" not in details:
            return Sight(low_us=_kept(previous, found, span) if low_us is None else low_us, warnings=warnings)
        slices = _slices(found, *span)
        ask(DIRTY)
        rows = ask(slices)
        now_us = next(parse_clock(str(row[3])) for row in rows if row[0] is None)
        low_us = now_us if low_us is None else min(now_us, low_us)
        return Sight(low_us=low_us, warnings=warnings, seen={"slices": slices, "dirty": _by_slice(rows)})

    def within(self, ask: Ask, found: Layout, survey: Survey, sight: Sight) -> Sight:
        if not sight.seen:
            return sight
        clean = _by_slice(ask(sight.seen["slices"]))
        lows = [low for index, (content, low) in sight.seen["dirty"].items() if clean.get(index, ("",))[0] != content]
        stamps = [read_stamp(low, found.window) for low in lows]
        bounds = [stamp.instant_us - stamp.ambiguous_us for stamp in stamps if stamp is not None]
        return Sight(low_us=min([*bounds, *([] if sight.low_us is None else [sight.low_us])]), warnings=sight.warnings)

    def spans(self, since: str, ceiling: str) -> bool:
        return False


def _server(ask: Ask) -> dict[str, str]:
    try:
        rows = ask(SERVER)
    except SourceRefused:
        rows = [row for statement in OLDER_SERVER for row in ask(statement)]
    return {str(name).lower(): str(value) for name, value in rows if value is not None}


def _identity(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return what identifies the server: its own unique name if it has one."""
    unique = next((name for name in ("server_uuid", "server_uid") if values.get(name)), None)
    names = (unique,) if unique is not None else ("server_id", "hostname", "port")
    return tuple(name for name in ("database", *names) if name in values)


def _started(values: Mapping[str, str]) -> str:
    """Return when the server was started, in seconds since 1970, give or take one."""
    if "uptime" not in values:
        return ""
    return str(parse_clock(values["now"]) // SECOND_US - int(values["uptime"]))


def _hidden(values: Mapping[str, str], found: Layout, stream: Stream) -> str:
    """Say why writers in flight can't be seen here at all; empty when they can."""
    if values.get("wsrep_on", "").upper() not in OFF or values.get("group_replication_group_name"):
        return "a cluster's node does not show the writers of the other nodes"
    copies = ("read_only", "super_read_only", "innodb_read_only", "slave_running")
    if stream.replica or any(values.get(name, "").upper() not in OFF for name in copies):
        return "a replica does not show the writers on its primary"
    if found.facts is not None and not found.facts.view and found.facts.storage.upper() != "INNODB":
        return f"tables of engine {found.facts.storage or 'unknown'} do not show writers in flight"
    if not found.watermark.kind.temporal:
        return "numbers tell no time that would bound writers in flight"
    return ""


def _writers(ask: Ask) -> dict[str, str]:
    """Return since when statements and writing transactions are at work, as far as the login may know.

    `granted`: the login has the right; `low_us`: the time, missing when the list was stale.
    """
    ask(BEGIN)
    found = {"granted": "yes"}
    try:
        low_us = _oldest_writer(ask)
    except SourceRefused:
        found = {}
    else:
        found |= {} if low_us is None else {"low_us": str(low_us)}
    ask(END)  # not after another error: the connection is gone then
    return found


def _oldest_writer(ask: Ask) -> int | None:
    """Return when the oldest writer began; None when the list is stale. SourceRefused without the right."""
    for attempt in range(TRIES):
        if attempt:
            ask(PAUSE)
        now, own, trx_s, ahead, statement_s = ask(WRITERS)[0]
        if own is not None and int(own):
            ages_s = [UNIT_S + int(age) for age in (trx_s, statement_s) if age is not None]
            oldest_s = max([0, *ages_s]) + (HOUR_S if int(ahead) else 0)
            return parse_clock(str(now)) - oldest_s * SECOND_US
    return None


def _kept(previous: Watermark | None, found: Layout, span: Span) -> int | None:
    """Return where the mark stays while the list is stale: where it was, or a day back for the first time."""
    known_us = None if previous is None or previous.sighting is None else previous.sighting.low_us
    stamp = read_stamp(span[0], found.window)
    return known_us if known_us is not None or stamp is None else stamp.instant_us - stamp.ambiguous_us


def _slices(found: Layout, since: str, now: str) -> Statement:
    """Return the statement that digests the range from `since` on; its row without a slice holds the clock.

    Slices lie on a fixed grid, so that two looks cut alike; what is dated beyond now shares one, and so do dates that
    no calendar holds, whose lowest says nothing of other rows.
    """
    first, last = read_stamp(since, found.window), read_stamp(now, found.window)
    range_us = 0 if first is None or last is None else last.instant_us - first.instant_us
    width_us = max(1, range_us // SLICES)
    stamp = _name(found.watermark.name)
    grid = f"FLOOR(TIMESTAMPDIFF(MICROSECOND, '2000-01-01', {stamp}) / {width_us})"
    top = f"FLOOR(TIMESTAMPDIFF(MICROSECOND, '2000-01-01', '{now[:26]}') / {width_us}) + 1"
    outputs = (
        Output("slice", sql=f"COALESCE(LEAST({grid}, {top}), {top} + 1)"),
        Output("n", sql="COUNT(*)"),
        Output("digest", sql=f"BIT_XOR(CAST(CONV(LEFT(SHA1({_content(found)}), 16), 16, 10) AS UNSIGNED))"),
        Output("low", sql=f"CAST(MIN({stamp}) AS CHAR)"),
    )
    where = (*found.where, Compare(found.watermark, ">=", since))
    digests = Renderer(MysqlGrammar()).render(Select(found.relation, outputs, where))
    clock = "SELECT NULL AS slice, 0 AS n, 0 AS digest, CAST(UTC_TIMESTAMP(6) AS CHAR) AS low"
    return Statement(f"{clock} UNION ALL {digests.sql} GROUP BY slice", digests.binds)


def _content(found: Layout) -> str:
    """Return one text of all columns that the stream reads, in itself or in an expression.

    An expression's own value is left out: one that uses the clock or chance would differ in every look. Each column
    goes in by its checksum, so that neither NULL nor different collations matter.
    """
    own = [output.column for output in found.outputs if output.column is not None]
    written = " ".join(output.sql for output in found.outputs if output.sql is not None).lower()
    named = [] if found.facts is None else [name for name in found.facts.nullable if name.lower() in written]
    columns = {name.lower(): name for name in (*named, *own)}.values()
    sums = ", ".join(f"COALESCE(CRC32({_name(name)}), '')" for name in columns)
    return f"CONCAT_WS('|', {sums})"


def _name(name: str) -> str:
    return f"{ALIAS}.{quoted(name, '`')}"


def _by_slice(rows: list[tuple[Any, ...]]) -> dict[str, tuple[str, str]]:
    return {str(index): (f"{count}:{digest}", str(low)) for index, count, digest, low in rows if index is not None}
