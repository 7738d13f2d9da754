"""MySQL's and MariaDB's errors in our classes, by number.

The server's text is dropped: it quotes pieces of the statement, and this driver writes the bound values into those.
"""

from __future__ import annotations

import re
import socket
from typing import Any

import pymysql

from connector.errors import ConnectorError, SourceRefused, SourceTimeout, SourceUnavailable
from connector.source.dialect import driver_error

REFUSED = {
    1044: ("the login may not use this database", "Ask the client's DBA for SELECT on it"),
    1045: ("the database refused the login", "Check source.user and source.password"),
    1049: ("there is no such database", "Check source.database"),
    1054: ("there is no such column", "Check the stream's watermark, key, fields and tenant"),
    1064: ("the database does not understand the SQL", "See the statement with `connector preview`"),
    1103: ("a table's name is not valid", "Check the stream's table"),
    1109: ("there is no such table or view", "Check the stream's table"),
    1142: ("the login has no right to read this table", "Ask the client's DBA for SELECT on it"),
    1143: ("the login has no right to read this column", "Ask the client's DBA for SELECT on it"),
    1146: ("there is no such table or view", "Check the stream's table"),
    1267: ("the SQL mixes collations that can't be compared", "Check the stream's fields or query"),
    1305: ("an SQL expression uses a function that does not exist", "Check the stream's fields"),
    1356: (
        "the view can no longer be read",
        "Ask the client's DBA: its tables, columns or its definer's rights changed",
    ),
    1370: ("the login may not execute a function", "Ask the client's DBA for EXECUTE on it"),
    1698: ("the database refused the login", "Check source.user and source.password"),
    1792: ("the statement tried to write", "Only SELECT is allowed in a query or an expression"),
    3159: ("the server accepts TLS connections only", "Set source.tls.mode to require"),
}
TRANSIENT = {
    1040: "the server has no free connection",
    1053: "the server is shutting down",
    1129: "the server has blocked this host after too many errors",
    1203: "the login has no free connection",
    1205: "a lock could not be had in time",
    1213: "the server chose the statement as a deadlock's victim",
    1226: "the login has used up its hourly limit",
    1317: "the statement was interrupted on the server",
    1927: "the connection was ended on the server",
    2006: "the connection to the database was lost",
    2013: "the connection to the database was lost",
    2014: "the connection to the database was lost",
    4031: "the server closed the idle connection",
}
TIMEOUTS = {1969, 3024}
NAME = re.compile(r"(?:Unknown column|Table|FUNCTION) '?([\w.$-]+)'?")
NAMES_OBJECTS = {1054, 1146, 1305}


def translate(error: BaseException) -> ConnectorError:
    cause = driver_error(error)
    if isinstance(cause, ConnectorError):
        return cause
    if isinstance(cause, UnicodeEncodeError):
        return SourceRefused(
            "a text has half of a character, which no encoding knows",
            remedy="Look for it in the stream's tenant, fields, query and start",
        )
    code = cause.args[0] if cause.args and isinstance(cause.args[0], int) else 0
    text = str(cause.args[1]) if len(cause.args) > 1 else ""
    if code in TIMEOUTS:
        return SourceTimeout(
            "the statement took longer than source.limits.statement_timeout",
            remedy="Look for a missing index with `connector check`, or raise the limit",
        )
    if code in REFUSED:
        what, remedy = REFUSED[code]
        found = NAME.search(text) if code in NAMES_OBJECTS else None
        return SourceRefused(what + (f": {found[1]}" if found else ""), remedy=remedy)
    if code == 2003:
        return _unreachable(text)
    if code in TRANSIENT:
        return SourceUnavailable(TRANSIENT[code], remedy="The next run tries again")
    if (isinstance(cause, RuntimeError) and "cryptography" in str(cause)) or "caching_sha2" in text:
        return SourceRefused("the login's method needs TLS", remedy="Set source.tls.mode to require")
    if isinstance(cause, pymysql.InterfaceError | OSError) or code == 0:
        return SourceUnavailable("the connection to the database was lost", remedy="The next run tries again")
    return SourceRefused(
        f"the database reports error {code} ({type(cause).__name__})",
        remedy="See the statement with `connector preview`; the server's log has the text",
    )


def _unreachable(text: str) -> ConnectorError:
    low = text.lower()
    if "name or service not known" in low or "getaddrinfo" in low or "name resolution" in low:
        return SourceUnavailable("the host is unknown", remedy="Check source.host")
    if "timed out" in low:
        return SourceUnavailable("the database did not answer in time", remedy="Check source.host, port and firewalls")
    if "ssl" in low or "certificate" in low:
        return SourceRefused("the TLS connection could not be made", remedy="Check source.tls")
    return SourceUnavailable("no database answers there", remedy="Check source.host and source.port")


def abort(driver_connection: Any) -> None:
    """Shut the socket down: a thread that waits on it wakes with an error at once."""
    own = driver_connection._sock  # noqa: SLF001 - the driver has no public way to its socket
    if own is not None:
        own.shutdown(socket.SHUT_RDWR)
