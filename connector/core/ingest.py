"""The one door to the ingestion core, for the puller and for any other connector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import polars as pl

from connector.core.entity import Context, Entity
from connector.core.fingerprint import fingerprint
from connector.core.validate import NORMALISER, Judged, Plan, plan
from connector.errors import KeyViolation, StreamStopped, named
from connector.model import Batch, Counters, OpenPull, Policies, StreamId, Watermark
from connector.store.intake import FIELD, FINGERPRINT, KEY, LATE, ROW, ROW_KEY, RULE, Intake, nothing_refused

RunT_contra = TypeVar("RunT_contra", contravariant=True)
RunT = TypeVar("RunT")

ROWS_TO_JUDGE = 100
"""Fewer rows than this never stop a stream: one bad row of three would be a third."""

_WATERMARK = "_watermark"
_TO_THE_LATEST_ZONE = timedelta(hours=14)


class IntakeStore(Protocol[RunT_contra]):
    """What the core asks of a store."""

    def commit_batch(self, run: RunT_contra, intake: Intake) -> Counters: ...


@dataclass(frozen=True, slots=True)
class Feed:
    """What the core has to know about a stream.

    `time_zone` is what naive timestamps mean, `region` where phones without a calling code are. `key` names the
    source's key columns; empty means that the rows have no key and come in whole tie groups. More than `max_rejected`,
    a share of the pull's rows, refused stops the stream. `policies`, by field, are those that don't refuse everything.
    """

    stream: StreamId
    entity: Entity
    time_zone: str = "UTC"
    key: tuple[str, ...] = ()
    max_rejected: float = 1.0
    region: str | None = None
    policies: Mapping[str, Policies] = field(default_factory=dict)

    @property
    def rules(self) -> int:
        """Number the rules that records are made by; it rises when the entity's or the core's own change."""
        return self.entity.rules * 1_000 + NORMALISER


@dataclass(frozen=True, slots=True)
class Progress:
    """What is stored with a batch: the order of its snapshot, and how far the pull has come.

    `open_pull` None ends the lane's pull, `watermark` None leaves the stream's watermark where it is.
    """

    read_order: int
    open_pull: OpenPull | None = None
    watermark: Watermark | None = None
    so_far: Counters = field(default_factory=Counters)  # what the same pull has come to in earlier batches


def ingest(  # noqa: PLR0917 - in the order that things travel, the same at every call
    store: IntakeStore[RunT], run: RunT, feed: Feed, batch: Batch, progress: Progress, now: datetime
) -> Counters:
    """Judge a batch and commit it with its progress: everything, or after an error nothing.

    `batch.rows` has one column for each of `batch.columns`, named after the entity's field that it feeds; a name that
    the entity doesn't have becomes a custom attribute. Besides them it has `_key`, the source's own key as text
    (null without one), and for streams without a key `_watermark`. Values are either what the database writes as
    text, or typed columns; a record is the same from both. Readers give years outside 0001 to 9999 as text, and texts
    as bytes where one of the batch is not UTF-8: that row is refused, and all others are as if it weren't there.
    `_late` may say how far below the mark of the pull before each row lay (Int64, microseconds); it becomes part of no
    record.

    A row that breaks a rule is refused with its reason and stops nothing, until there are too many. The store decides
    what is new, different or known. A batch may be given again: what was taken already is counted as unchanged.

    `now` only decides which year is this year. Raises KeyViolation when a key or an identity is not unique or null,
    ConfigError when a required field isn't mapped, StreamStopped above `max_rejected`, and whatever the store raises;
    nothing is committed then.
    """
    judging = _plan(feed, batch, now)
    judged = judging.run(batch.rows)
    _stop_when_bad(feed, progress.so_far, batch.rows.height, judged.reasons)
    row_keys = _row_keys(feed, batch, judging)
    intake = Intake(
        records=_records(feed, batch, judged, row_keys),
        refused=_refused(judged, row_keys),
        read=batch.rows.height,
        rules=feed.rules,
        read_order=progress.read_order,
        open_pull=progress.open_pull,
        watermark=progress.watermark,
    )
    return store.commit_batch(run, intake)


def _stop_when_bad(feed: Feed, so_far: Counters, read: int, reasons: pl.DataFrame) -> None:
    """Raise StreamStopped when too large a share of a pull is refused; a few rows are no share to judge by."""
    rows, refused = so_far.read + read, so_far.refused + reasons.height
    if reasons.is_empty() or rows < ROWS_TO_JUDGE or refused <= feed.max_rejected * rows:
        return
    common = (
        reasons.group_by("field", "rule")
        .len()
        .sort("len", "field", "rule", descending=[True, False, False])
        .row(0, named=True)
    )
    raise StreamStopped(
        f"{refused:,} of {rows:,} rows were refused, more than max_rejected ({feed.max_rejected:.0%}); "
        f"most often {common['field']}: {common['rule']}",
        remedy="Correct the stream's fields or the source, or raise max_rejected; the watermark stays",
        where=str(feed.stream),
    )


def _plan(feed: Feed, batch: Batch, now: datetime) -> Plan:
    # A year has begun once it has begun anywhere: the source's zone may be configured wrongly, or not at all.
    context = Context(feed.time_zone, (now + _TO_THE_LATEST_ZONE).year, feed.region)
    schema = tuple((name, batch.rows.schema[name]) for name in batch.columns)
    with named(str(feed.stream)):
        return plan(feed.entity, context, tuple(batch.columns.items()), schema, tuple(feed.policies.items()))


def _row_keys(feed: Feed, batch: Batch, judging: Plan) -> pl.Series:
    """Return what names each row within its stream: its key, or its hash and its number among equal rows."""
    if not feed.key:
        texts = judging.as_texts(batch.rows).with_columns(batch.rows[_WATERMARK])
        return _numbered(fingerprint(texts)).alias(ROW_KEY)
    keys = batch.rows[KEY].alias(ROW_KEY)
    named = f"the key [{', '.join(feed.key)}]"
    if keys.null_count():
        raise KeyViolation(
            f"{named} is NULL in {keys.null_count()} of {keys.len()} rows",
            remedy="Use key columns that are never NULL, or leave `key` empty for a stream without a key",
            where=str(feed.stream),
        )
    if keys.n_unique() < keys.len():
        raise KeyViolation(
            f"{named} is not unique",
            remedy="Add the columns that make it unique; check joins in a view or query, which repeat rows",
            where=str(feed.stream),
        )
    return keys


def _records(feed: Feed, batch: Batch, judged: Judged, row_keys: pl.Series) -> pl.DataFrame:
    records, rows, keys = judged.records, batch.rows, row_keys
    if judged.reasons.height:
        taken = ~judged.refused
        records, rows, keys = records.filter(taken), rows.filter(taken), keys.filter(taken)
    prints = fingerprint(records)
    if feed.entity.identity:
        identities = records.select(_identity(feed.entity.identity))[KEY]
    else:
        identities = _own_names(feed, rows, prints, keys)
    late = [rows[LATE]] if LATE in rows.columns else []
    records = records.select(identities.alias(KEY), prints.alias(FINGERPRINT), keys.alias(ROW_KEY), *late, pl.all())
    if identities.n_unique() == identities.len():
        return records
    if not feed.key:
        # Whole rows may repeat in a table without a key; they are one record, as late as the first of them.
        records = records.unique([KEY, FINGERPRINT], keep="first", maintain_order=True)
        if records[KEY].n_unique() == records.height:
            return records
    raise KeyViolation(
        f"{', '.join(feed.entity.identity)}, the identity of a {feed.entity.name}, is not unique within one batch",
        remedy="Map a column that is unique to it, or narrow the stream, by a query or tenant filter, to one row each",
        where=str(feed.stream),
    )


def _identity(fields: tuple[str, ...]) -> pl.Expr:
    if len(fields) == 1:
        return pl.col(fields[0]).alias(KEY)
    parts = [
        pl.col(name).fill_null("").str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True)
        for name in fields
    ]
    return pl.concat_str(parts, separator="|").alias(KEY)


def _own_names(feed: Feed, rows: pl.DataFrame, prints: pl.Series, row_keys: pl.Series) -> pl.Series:
    """Name records that have no identity by what they say and where they were read.

    With a key: content and key, so that a row is a new record only when its content changes. Without one: content,
    watermark, and the number among equal rows of the tie group, which is stable because tie groups are read whole.
    """
    content = pl.DataFrame({"content": prints.bin.encode("hex")})
    if feed.key:
        return fingerprint(content.with_columns(row_keys)).bin.encode("hex")
    return _numbered(fingerprint(content.with_columns(rows[_WATERMARK])))


def _numbered(hashes: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"hash": hashes.bin.encode("hex")})
    number = pl.int_range(pl.len()).over("hash").cast(pl.String)
    return frame.select(pl.concat_str("hash", number, separator="-").alias(KEY))[KEY]


def _refused(judged: Judged, row_keys: pl.Series) -> pl.DataFrame:
    if judged.reasons.is_empty():
        return nothing_refused()
    keys = row_keys.filter(judged.refused).alias(ROW_KEY)
    reasons = judged.reasons
    return reasons.select(keys, reasons["field"].alias(FIELD), reasons["rule"].alias(RULE), reasons["row"].alias(ROW))
