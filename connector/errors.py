"""Errors, classed by what the caller does next.

    ConnectorError
    ├── ConfigError        a person edits the configuration            exit 2
    ├── StreamStopped      this stream stops until a person acts       exit 3
    │   ├── SourceRefused  login, rights, missing table or column …
    │   ├── TenantViolation  a row of another tenant was returned
    │   └── KeyViolation   the key is not a key, or two streams write one identity
    ├── RetryableError     the same call may succeed later             exit 4
    │   ├── SourceUnavailable  host unknown, connection lost …: tried again within the run
    │   │   └── SourceTimeout  a statement took too long: left to the next run, the source has had enough
    │   └── LeaseHeld      another run of this stream and lane is active
    └── StoreError         the store can't be used as it is            exit 5
        └── LeaseLost      another run took this lane over; nothing of the batch was committed

A message says what happened, to which client and stream, and what to do next. It never holds a value of a
row or a secret: drivers' messages are translated in `source/dialects/<engine>/errors.py` and never passed on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class ConnectorError(Exception):
    """Say what happened, where, and what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, remedy: str = "", where: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.where = where

    def at(self, where: str) -> ConnectorError:
        """Name the client and stream, unless an inner stage already did."""
        self.where = self.where or where
        return self

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}. {self.remedy}" if self.remedy else head


class ConfigError(ConnectorError):
    exit_code = 2


class StreamStopped(ConnectorError):
    exit_code = 3


class SourceRefused(StreamStopped):
    pass


class TenantViolation(StreamStopped):
    pass


class KeyViolation(StreamStopped):
    pass


class RetryableError(ConnectorError):
    exit_code = 4


class SourceUnavailable(RetryableError):
    pass


class SourceTimeout(SourceUnavailable):
    pass


class LeaseHeld(RetryableError):
    pass


class StoreError(ConnectorError):
    exit_code = 5


class LeaseLost(StoreError):
    pass


@contextmanager
def named(where: str) -> Iterator[None]:
    """Name the client and stream on every error of ours that passes."""
    try:
        yield
    except ConnectorError as error:
        error.at(where)
        raise
