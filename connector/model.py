"""Values that travel between the stages. All are frozen; nothing here knows an engine, a file or a clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Literal, TypeAlias

import polars as pl

LIVE = "live"
"""The lane that moves the watermark. Every other lane is `backfill:<from>..<to>`."""


@dataclass(frozen=True, slots=True, order=True)
class StreamId:
    """Name one stream of one client; prints as `client/stream`."""

    client: str
    name: str

    def __str__(self) -> str:
        return f"{self.client}/{self.name}"


class Kind(StrEnum):
    """What a source column holds, in words that every engine shares."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TEXT = "text"
    UUID = "uuid"
    BYTES = "bytes"
    DATE = "date"
    TIMESTAMP = "timestamp"  # naive: means the source's configured time zone
    TIMESTAMPTZ = "timestamptz"  # an instant; the session's zone is UTC, so its text is UTC
    OTHER = "other"  # arrives as the database's own text

    @property
    def temporal(self) -> bool:
        return self in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)

    @property
    def numeric(self) -> bool:
        return self in (Kind.INTEGER, Kind.DECIMAL)


@dataclass(frozen=True, slots=True)
class Column:
    """Describe one column as the source declares it.

    `native` is the engine's own type name, used to cast texts back in the database.
    `nullable` is None where the catalogue can't tell (views, queries).
    `padded` marks fixed-length text, whose trailing blanks mean nothing.
    `unit_us` is the resolution of a temporal column in microseconds (86,400,000,000 for a date).
    """

    name: str
    kind: Kind
    native: str
    nullable: bool | None = None
    padded: bool = False
    unit_us: int = 1


Policy: TypeAlias = Literal["refuse", "null", "text"]
"""What becomes of a value that its field can't hold; `core/policies.py` says what each means."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of one field: for dates with a part that is zero, and for everything else that it can't hold."""

    zero_dates: Policy = "refuse"
    invalid: Policy = "refuse"


class Level(StrEnum):
    """How strong a stream's promise is; printed as it stands."""

    EXACT = "exact"
    EXACT_WITHIN = "exact within"
    BOUNDED = "bounded"
    WINDOW = "window"

    @property
    def exact(self) -> bool:
        """Say whether row versions tell what a snapshot could not see."""
        return self in (Level.EXACT, Level.EXACT_WITHIN)

    def weaker_than(self, other: Level) -> bool:
        order = list(Level)
        return order.index(self) > order.index(other)


@dataclass(frozen=True, slots=True)
class Marks:
    """Low-water marks: nothing below them can still become visible, as far as the level promises.

    Each is the database's own text. A run stores every mark that its login can obtain, so that a change of
    level goes on from the newest mark that both levels share.
    """

    time: str | None = None
    id: str | None = None
    xid: str | None = None
    rowversion: str | None = None
    scn: str | None = None

    @property
    def newest(self) -> str | None:
        """Return the mark in the watermark column's own values."""
        return self.time or self.id


@dataclass(frozen=True, slots=True)
class Sighting:
    """Say what a stream knows about its newest value and about writers in flight; see `source/window.py`.

    The times are the database's clock (UTC) in microseconds: `clock_us` when the last pull's first snapshot opened,
    `seen_us` when the mark was first seen at its present value, `read_us` when the window below it was last read.
    `lag_us` is the least by which a newest value ever lay behind the clock; `first` says that the mark never moved.
    """

    clock_us: int
    seen_us: int
    read_us: int
    lag_us: int = 0
    first: bool = False
    low_us: int | None = None  # no writer in flight at that snapshot had a lower stamp; None when they can't be seen


@dataclass(frozen=True, slots=True)
class Sweep:
    """The last pull that looked at every row: its version mark, and the database's clock in microseconds."""

    mark: str
    clock_us: int


@dataclass(frozen=True, slots=True)
class Hole:
    """A range of ids, both ends included, that may still be filled; `seen_us` is when it was first seen empty."""

    first: int
    last: int
    seen_us: int


@dataclass(frozen=True, slots=True)
class Watermark:
    """The durable low-water marks of the last finished pull, with the level they were taken at.

    `server` tells whose marks they are, `traces` what changes when a server is set up anew from a backup. Versions at
    or above `ceiling` were certainly not visible to the snapshot. `held` names prepared transactions and the time
    below which they wrote nothing. `start` is the value below which the stream was told to leave rows out.
    `look_back_us` is the look-back where it had to grow. `why` says why the level is no better.
    """

    level: Level
    marks: Marks
    server: Mapping[str, str] = field(default_factory=dict)
    sighting: Sighting | None = None
    basis: str = ""  # relation, column and kind that the marks are values of; other marks are of no use
    traces: Mapping[str, str] = field(default_factory=dict)
    ceiling: str | None = None
    swept: Sweep | None = None
    held: Mapping[str, int] = field(default_factory=dict)
    holes: tuple[Hole, ...] | None = None  # None where ids are not followed one by one
    start: str | None = None
    look_back_us: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range of watermark values; `value` is the database's own text."""

    value: str
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class Position:
    """The keyset value that a pull has reached; `watermark` is None where the order is by key alone."""

    watermark: str | None
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenPull:
    """An unfinished pull: the marks of its first snapshot, its bounds, and how far it has come.

    With `since` it reads the row versions written at or after that mark, in the order of the key; without, everything
    from `lower` on and in `holes`, in the order of the watermark. Where ids are followed one by one, those up to `edge`
    are accounted for.
    """

    opened: Watermark
    lower: Bound | None = None
    upper: Bound | None = None
    position: Position | None = None
    nulls: bool = False  # True once the pass over NULL watermarks has begun
    snapshots: int = 1
    rows: int = 0
    keyset: str = ""  # the columns that `position` is made of
    since: str | None = None
    holes: tuple[Hole, ...] = ()
    edge: int | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """What a batch or a run did, in rows."""

    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    refused: int = 0
    ignored: int = 0  # read in an earlier snapshot than the stored record
    batches: int = 0
    late_us: int = 0  # the greatest lateness among new versions, in microseconds; not added up

    def __add__(self, other: Counters) -> Counters:
        total = Counters(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))
        return replace(total, late_us=max(self.late_us, other.late_us))


@dataclass(frozen=True, slots=True)
class Batch:
    """One bounded read: the rows of one keyset range, aliased to the entity's field names.

    Besides the fields `rows` holds `_key` (the stream's key, or null for a keyless stream) and `_watermark` (the
    watermark's text, null in the pass over NULLs). `columns` describes the fields. A keyless stream's batch holds
    whole tie groups, so that equal rows may be numbered. `last` says that the pull ends with this batch. `snapshot` is
    the number of the snapshot it was read in, and `capped` says that one was read only up to the first one's clock.
    """

    rows: pl.DataFrame
    columns: Mapping[str, Column]
    position: Position | None
    last: bool
    snapshot: int = 1
    capped: bool = False


class RunState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"  # asked to stop, or out of time: goes on at its position
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # its process died


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one run came to. Serialisable: only texts and numbers."""

    stream: str
    lane: str
    run_id: int
    state: RunState
    counters: Counters
    level: Level
    duration_s: float
    error: str = ""
    exit_code: int = 0
    warnings: tuple[str, ...] = ()
    stages_s: Mapping[str, float] = field(default_factory=dict)  # CPU seconds by stage

    def failed(self, error: str, exit_code: int) -> RunResult:
        return replace(self, state=RunState.FAILED, error=error, exit_code=exit_code)
