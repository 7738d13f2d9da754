"""Reading a table through a session with one reader or the other, below the pull."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, TypeAlias

import polars as pl

from connector.config.resolved import Source
from connector.model import Column, Kind
from connector.registry import DIALECTS
from connector.source.frames import Wanted, stacked
from connector.source.select import Output, Select, Table
from connector.source.session import Door, Session

Reader: TypeAlias = Literal["columnar", "plain"]
READERS: tuple[Reader, ...] = ("columnar", "plain")
T = Table(("t",))


@contextmanager
def opened(source: Source, reader: Reader) -> Iterator[Session]:
    """Give a session with a snapshot, as a pull has it."""
    with Door(DIALECTS[source.engine], replace(source, reader=reader)).session() as session:
        session.open_snapshot()
        yield session


def outputs(*columns: str) -> tuple[Output, ...]:
    return tuple(Output(column, column) for column in columns)


def by(name: str) -> tuple[Column, ...]:
    return (Column(name, Kind.INTEGER, "integer"),)


def wanted(session: Session, select: Select, *, text: bool = False) -> list[Wanted]:
    """Return what a select's columns are; with `text`, all of them as the database's text."""
    described = session.describe(replace(select, order=(), limit=0))
    return [Wanted(column.name, column, text) for column in described]


def pieces(
    session: Session, select: Select, size: int = 1_000, *, text: bool = False
) -> list[tuple[pl.DataFrame, bool]]:
    """Return every frame of a select, and after each whether there might be more."""
    return list(session.frames(select, wanted(session, select, text=text), size))


def read(session: Session, select: Select, size: int = 1_000, *, text: bool = False) -> pl.DataFrame:
    """Return all rows of a select."""
    return stacked([frame for frame, _ in pieces(session, select, size, text=text)])
