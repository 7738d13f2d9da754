"""What the core hands to the store: one judged batch, committed as a whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from connector.model import OpenPull, Watermark

KEY = "_key"
"""String, not null, unique in the batch: the record's identity."""
ROW_NO = "_row_no"
"""UInt32, in segments only: which row of its segment a record is, for life."""
FINGERPRINT = "_fingerprint"
"""Binary of 16 bytes: the hash of the normalised record."""
ROW_KEY = "_row_key"
"""String: the stream's own key of the row, or the hash of a keyless row; names a quarantine entry."""
LATE = "_late"
"""Int64, optional: how far below the mark of the pull before the row lay, in microseconds; null where that can't be
told, 0 or less where it was not late. Counted for new versions; part of no record."""
FIELD = "_field"
"""String: the field that a refused row failed on."""
RULE = "_rule"
"""String: the rule that it broke."""
ROW = "_row"
"""String: the refused row as JSON text."""

RECORD_COLUMNS = (KEY, FINGERPRINT, ROW_KEY)
REFUSED_SCHEMA = {ROW_KEY: pl.String, FIELD: pl.String, RULE: pl.String, ROW: pl.String}


def nothing_refused() -> pl.DataFrame:
    """Return an empty frame of refused rows."""
    return pl.DataFrame(schema=REFUSED_SCHEMA)


@dataclass(frozen=True, slots=True)
class Intake:
    """One batch after judgement.

    `records` holds RECORD_COLUMNS, LATE if it is known, and then the record's fields, whose names do not begin with an
    underscore.
    `read_order` is the order in which the batch's snapshot was opened within its stream (`Store.next_read_order`);
    a record that is stored with a later one is left alone.
    `open_pull` None removes the lane's open pull; `watermark` None leaves the stream's watermark.
    """

    records: pl.DataFrame
    refused: pl.DataFrame = field(default_factory=nothing_refused)
    read: int = 0
    rules: int = 0
    read_order: int = 0
    open_pull: OpenPull | None = None
    watermark: Watermark | None = None
