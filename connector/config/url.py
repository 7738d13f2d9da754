"""A source written as one URL: `engine://user:password@host:port/database`."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

INSTEAD = {
    "sslmode": "tls.mode",
    "ssl_mode": "tls.mode",
    "ssl-mode": "tls.mode",
    "ssl": "tls.mode",
    "sslrootcert": "tls.ca",
    "ssl_ca": "tls.ca",
    "ssl-ca": "tls.ca",
    "sslcert": "tls.cert",
    "ssl_cert": "tls.cert",
    "ssl-cert": "tls.cert",
    "sslkey": "tls.key",
    "ssl_key": "tls.key",
    "ssl-key": "tls.key",
    "connect_timeout": "limits.connect_timeout",
    "read_timeout": "limits.read_timeout",
    "statement_timeout": "limits.statement_timeout",
    "options": "limits.statement_timeout",
}
"""Drivers' options that operators know from URLs, and the key that stands for each here."""


@dataclass(frozen=True, slots=True)
class UrlParts:
    """What a URL holds; an absent part is empty."""

    engine: str
    host: str = ""
    port: int | None = None
    database: str = ""
    user: str = ""
    password: str = field(default="", repr=False)

    def held(self) -> frozenset[str]:
        """Return the keys of `source` that the URL stands for."""
        names = ("engine", "host", "port", "database", "user", "password")
        return frozenset(name for name in names if getattr(self, name) not in ("", None))


def url_parts(written: str) -> UrlParts:
    """Take a URL apart; raise ValueError, which quotes nothing of it, when that can't be done."""
    try:
        url = make_url(written)
    except (ArgumentError, ValueError):
        raise ValueError("is not a URL like engine://user:password@host:port/database") from None
    host = unquote(url.host or "")
    if "@" in host:  # the rest of a password, which must not end up in a message about the host
        raise ValueError("has more than one @: write the password under its own key, or as ${NAME}")
    if url.query:
        raise ValueError(_options(url))
    return UrlParts(
        engine=url.drivername.partition("+")[0],
        host=host,
        port=url.port,
        database=url.database or "",
        user=url.username or "",
        password=str(url.password or ""),
    )


def _options(url: URL) -> str:
    known = sorted({f"{name} is {INSTEAD[name]}" for name in url.query if name in INSTEAD})
    return "must not carry options after ?" + (f": here {', '.join(known)}" if known else "")
