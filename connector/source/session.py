"""One connection to a client's database, for as long as one run lasts.

Everything a run asks goes over this one physical connection, read only: what it may see is decided by one server.
Each statement has a deadline on this side too, since a server that hangs does not keep its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import polars as pl
from sqlalchemy import Connection, event

from connector import clock
from connector.config.resolved import Limits, Source, Stream
from connector.errors import ConfigError, SourceRefused, SourceTimeout, SourceUnavailable
from connector.model import Column
from connector.source import layout, window
from connector.source.dialect import Dialect, TableFacts
from connector.source.frames import Frames, Wanted, plain_frame
from connector.source.horizon import Survey
from connector.source.layout import Layout
from connector.source.select import Select, Statement, Table

WATCH_S = 0.5
GRACE_S = 5.0
"""How much longer than the server's own statement timeout this side waits before it breaks the connection."""

STREAM_SHARE = 0.5
"""How much of its timeout a statement may take that is read bit by bit: the timeout counts while a reader is slow."""


class Door:
    """The way into one client's database: never more sessions at once than its limit."""

    def __init__(self, dialect: Dialect, source: Source) -> None:
        self._dialect = dialect
        self._limits = source.limits
        self._reader = source.reader
        self._places = threading.BoundedSemaphore(source.limits.connections)
        self._opening: dict[int, Any] = {}
        self._engine = dialect.engine(source)
        event.listen(self._engine, "connect", self._remember, insert=True)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session, waiting for a free place no longer than a statement may take."""
        if not self._places.acquire(timeout=self._limits.statement_timeout_s):
            raise SourceUnavailable(
                "all of this client's connections are busy",
                remedy="Raise source.limits.connections, or spread the schedules",
            )
        try:
            plain = self._reader == "plain"
            with Session(self._dialect, self._connect(), self._limits, plain=plain) as session:
                yield session
        finally:
            self._places.release()

    def _connect(self) -> Connection:
        """Connect and greet the server; a server that falls silent in between is given up after the timeouts."""
        thread = threading.get_ident()
        timer = threading.Timer(self._limits.connect_timeout_s * 2 + GRACE_S, self._break, [thread])
        timer.daemon = True
        timer.start()
        try:
            return self._engine.connect()
        except self._dialect.failures as error:
            raise self._dialect.translate(error) from None
        finally:
            timer.cancel()
            self._opening.pop(thread, None)

    def _remember(self, connection: Any, _record: Any) -> None:
        self._opening[threading.get_ident()] = connection

    def _break(self, thread: int) -> None:
        connection = self._opening.get(thread)
        if connection is not None:
            with suppress(OSError):
                self._dialect.abort(connection)


class Session:
    """An open connection with at most one snapshot. Not for use by two threads at once."""

    def __init__(self, dialect: Dialect, connection: Connection, limits: Limits, *, plain: bool = False) -> None:
        self.dialect = dialect
        self._columnar = None if plain else dialect.columnar
        self._connection = connection
        self._limits = limits
        self._late = False
        self._in_snapshot = False
        self._snapshot_until_s = 0.0
        self._due_s: float | None = None
        self._frames: Frames | None = None
        self._frames_until_s = 0.0
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="source-deadline", daemon=True).start()

    def close(self) -> None:
        """Close without waiting for the server, whatever state the connection is in."""
        self._closed.set()
        with suppress(Exception):  # the connection is given up; how it fails no longer matters
            self._connection.invalidate()
            self._connection.close()
        with suppress(Exception):
            self._end_frames()

    def abort(self) -> None:
        """Break the connection, from any thread: one that waits for an answer wakes with an error at once."""
        with suppress(Exception):  # it may be closing by itself at this moment
            self.dialect.abort(self._connection.connection.driver_connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- snapshots

    @property
    def in_snapshot(self) -> bool:
        """Say whether a snapshot is open, not yet older than `snapshot_cap`, and no statement in it grows too old."""
        now_s = clock.monotonic_s()
        return (
            self._in_snapshot
            and now_s < self._snapshot_until_s
            and (self._frames is None or now_s < self._frames_until_s)
        )

    def open_snapshot(self) -> None:
        """End the present snapshot and open a new one."""
        with self._deadline():
            self._end_frames()
            if self._in_snapshot:
                self.dialect.end(self._connection)
            self.dialect.begin(self._connection)
        self._in_snapshot = True
        self._snapshot_until_s = clock.monotonic_s() + self._limits.snapshot_cap_s

    # -- statements

    def clock_us(self) -> int:
        """Return the database's clock, in microseconds since 1970."""
        return window.parse_clock(str(self.rows(self.dialect.clock())[0][0]))

    def version(self) -> str:
        """Return the server's name and version, for people."""
        return str(self.rows(self.dialect.version())[0][0])

    def select(self, select: Select) -> list[tuple[Any, ...]]:
        return self.rows(self.dialect.render(select))

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        """Run a statement and return all of its rows, known to be complete."""
        with self._deadline():
            result = self._connection.exec_driver_sql(statement.sql, statement.binds)
            rows: list[tuple[Any, ...]] = list(result.cursor.fetchall()) if result.cursor is not None else []
            result.close()
            if not self.dialect.capabilities.proven_results:
                self._connection.exec_driver_sql(self.dialect.clock().sql).close()
        return rows

    def frames(self, select: Select, wanted: Sequence[Wanted], size: int) -> Iterator[tuple[pl.DataFrame, bool]]:
        """Run a statement and yield its rows as they come, with whether there may be more: not, once it is whole.

        A frame has at most `size` rows, and fewer where they are long. Nothing else can be asked until the last one
        was yielded or a new snapshot opens.
        """
        with self._deadline():
            self._end_frames()
            self._frames = frames = self._read(select, wanted, size)
        self._frames_until_s = clock.monotonic_s() + self._limits.statement_timeout_s * STREAM_SHARE
        more = True
        while more:
            with self._deadline():
                frame, more = next(frames)
                if not more:
                    self._end_frames()
            yield frame, more

    def _read(self, select: Select, wanted: Sequence[Wanted], size: int) -> Frames:
        statement = self.dialect.render(select)
        if self._columnar is not None:
            return self._columnar(self._connection, statement, wanted, size)
        return self._page(statement, wanted) if select.limit else self._stream(statement, wanted, size)

    def _page(self, statement: Statement, wanted: Sequence[Wanted]) -> Frames:
        """Read all of a statement's rows by the driver's own means."""
        yield plain_frame(self.rows(statement), wanted), False

    def _stream(self, statement: Statement, wanted: Sequence[Wanted], size: int) -> Frames:
        """Read a statement's rows by the driver's own means, as they come."""
        options = {"stream_results": True}
        with self._connection.exec_driver_sql(statement.sql, statement.binds, execution_options=options) as result:
            more = True
            while more:
                rows = [tuple(row) for row in result.fetchmany(size)]
                more = len(rows) == size
                yield plain_frame(rows, wanted), more

    def _end_frames(self) -> None:
        """End what is left of a statement; once the connection is closed, that asks nothing of the server."""
        if self._frames is not None:
            frames, self._frames = self._frames, None
            frames.close()

    def survey(self, found: Layout, stream: Stream) -> Survey:
        """Say which level this login can hold for a stream here."""
        return self.dialect.horizon.survey(self.rows, found, stream)

    def estimate(self, select: Select) -> int | None:
        """Return how many rows the engine expects, None when it can't or won't say: a plan may need more rights."""
        try:
            with self._deadline():
                return self.dialect.estimate(self._connection, self.dialect.render(select))
        except SourceRefused:
            return None

    # -- what the source looks like

    def facts(self, table: Table) -> TableFacts | None:
        with self._deadline():
            return self.dialect.facts(self._connection, table.parts)

    def describe(self, select: Select) -> tuple[Column, ...]:
        statement = self.dialect.render(select)
        with self._deadline():
            result = self._connection.exec_driver_sql(statement.sql, statement.binds)
            columns = self.dialect.columns(self._connection, result.cursor, select)
            result.close()
        return columns

    def describing(self, stream: Stream) -> Statement:
        """Return the statement that a stream's columns are learnt from."""
        return self.dialect.render(layout.describing(stream, self.dialect.capabilities))

    def layout(self, stream: Stream, known_fields: frozenset[str], facts: TableFacts | None = None) -> Layout:
        """Resolve a stream against this source; `facts` spares the catalogue queries when they are known."""
        capabilities = self.dialect.capabilities
        select = layout.describing(stream, capabilities)
        if isinstance(select.relation, Table) and facts is None:
            facts = self.facts(select.relation)
        found = layout.resolve(
            stream, select.relation, self.describe(select), facts, capabilities=capabilities, known_fields=known_fields
        )
        for column in (found.watermark, *found.key):
            reason = self.dialect.refuses_in_keyset(column)
            if reason is not None:
                raise ConfigError(
                    f"column {column.name} can't be the watermark or part of the key: {reason}",
                    remedy="Choose another column",
                )
        return found

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Translate a driver's error, and break a connection that does not answer in time."""
        self._due_s = clock.monotonic_s() + self._limits.statement_timeout_s + GRACE_S
        try:
            yield
        except self.dialect.failures as error:
            if self._late:
                raise SourceTimeout(
                    "the database did not answer within source.limits.statement_timeout",
                    remedy="The connection was given up; the next run tries again",
                ) from None
            raise self.dialect.translate(error) from None
        finally:
            self._due_s = None

    def _watch(self) -> None:
        """Break the connection once a statement is overdue: a thread that waits on its socket wakes with an error."""
        while not clock.wait_s(self._closed, WATCH_S):
            due_s = self._due_s
            if due_s is not None and clock.monotonic_s() > due_s:
                self._late = True
                self.abort()
                return
