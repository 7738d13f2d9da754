"""PostgreSQL's errors in our classes.

The server's text is passed on only for classes of SQLSTATE whose messages name objects, never values.
"""

from __future__ import annotations

import socket

import psycopg

from connector.errors import ConnectorError, SourceRefused, SourceTimeout, SourceUnavailable
from connector.source.dialect import driver_error

REFUSED = {
    "28P01": ("the database refused the login", "Check source.user and source.password"),
    "28000": ("the database refused the login", "Check source.user, source.tls and the server's pg_hba.conf"),
    "3D000": ("there is no such database", "Check source.database"),
    "3F000": ("there is no such schema", "Check the stream's table"),
    "42P01": ("there is no such table or view", "Check the stream's table, and the login's search_path"),
    "42703": ("there is no such column", "Check the stream's watermark, key, fields and tenant"),
    "42501": ("the login has no right to read this", "Ask the client's DBA for SELECT on the table or view"),
    "42601": ("the database does not understand the SQL", "See the statement with `connector preview`"),
    "42883": ("an SQL expression uses a function or operator that does not exist", "Check the stream's fields"),
    "42804": ("an SQL expression mixes types", "Check the stream's fields"),
    "22021": ("a text is none in the database's encoding", "See the statement with `connector preview`"),
    "22P05": (
        "a text has a character that the encoding on the other side lacks",
        "Look for it in the configuration, then in the columns that the stream reads",
    ),
    "25006": ("the statement tried to write", "Only SELECT is allowed in a query or an expression"),
}
NAMES_OBJECTS = {"42P01", "42703", "42501", "42883", "3F000"}
TRANSIENT = {
    "40001": "the server cancelled the statement to keep replication or transactions going",
    "40P01": "the server chose the statement as a deadlock's victim",
    "53300": "the server has no free connection",
    "55P03": "a lock could not be had in time",
    "57P01": "the server is shutting down",
    "57P02": "the server crashed",
    "57P03": "the server is starting up",
    "25P03": "the server ended the idle transaction",
}


def translate(error: BaseException) -> ConnectorError:
    cause = driver_error(error)
    if isinstance(cause, ConnectorError):
        return cause
    state = "22P05" if isinstance(cause, UnicodeEncodeError) else getattr(cause, "sqlstate", None) or ""
    if state == "57014":
        return SourceTimeout(
            "the statement took longer than source.limits.statement_timeout",
            remedy="Look for a missing index with `connector check`, or raise the limit",
        )
    if state in REFUSED:
        what, remedy = REFUSED[state]
        named = f": {_primary(cause)}" if state in NAMES_OBJECTS and _primary(cause) else ""
        return SourceRefused(what + named, remedy=remedy)
    if state in TRANSIENT:
        return SourceUnavailable(TRANSIENT[state], remedy="The next run tries again")
    if isinstance(cause, psycopg.OperationalError) and not state:
        return _unreachable(str(cause))
    if state.startswith("08"):
        return SourceUnavailable("the connection to the database was lost", remedy="The next run tries again")
    return SourceRefused(
        f"the database reports SQLSTATE {state or 'none'} ({type(cause).__name__})",
        remedy="See the statement with `connector preview`; the server's log has the text",
    )


def _primary(cause: BaseException) -> str:
    diag = getattr(cause, "diag", None)
    return str(getattr(diag, "message_primary", "") or "")


def _unreachable(text: str) -> ConnectorError:
    """Class libpq's connection errors by their wording: before a session exists there is no SQLSTATE to go by."""
    low = text.lower()
    if "password authentication failed" in low or "no password supplied" in low or ("role " in low and "exist" in low):
        return SourceRefused("the database refused the login", remedy="Check source.user and source.password")
    if "database " in low and "does not exist" in low:
        return SourceRefused("there is no such database", remedy="Check source.database")
    if "no pg_hba.conf entry" in low:
        return SourceRefused(
            "the server does not let this login in from here",
            remedy="Ask the client's DBA for a pg_hba.conf entry, or check source.tls",
        )
    if any(mark in low for mark in ("translate host name", "name or service not known", "resolve host")):
        return SourceUnavailable("the host is unknown", remedy="Check source.host")
    if "certificate" in low or ("ssl" in low and "closed" not in low):
        return SourceRefused("the TLS connection could not be made", remedy="Check source.tls")
    if "timeout" in low:
        return SourceUnavailable("the database did not answer in time", remedy="Check source.host, port and firewalls")
    if "refused" in low or "no such file" in low or "unreachable" in low:
        return SourceUnavailable("no database answers there", remedy="Check source.host and source.port")
    return SourceUnavailable("the connection to the database was lost", remedy="The next run tries again")


def abort(driver_connection: psycopg.Connection[object]) -> None:
    """Shut the socket down: a thread that waits on it wakes with an error at once."""
    with socket.socket(fileno=socket.dup(driver_connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)
