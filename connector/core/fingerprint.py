"""The fingerprint of a record: 128 bits over a canonical text, the same on every platform and polars version.

    text   = header  cells
    header = xxh3_128, as hex, of the field names in order, each as `<length>:<name>`
    cells  = for every field in the order of its name: \\x1f value; null is \\x1e
    value  = text as it is · timestamps as microseconds since 1970 UTC · dates as days since 1970
             integers in decimal · booleans 1 or 0 · floats as the 64 bits of IEEE 754, read as an integer

A row with \\x1e or \\x1f in one of its texts is written so that they can't be mistaken:

    cells  = \\x1e, then for every field: n for null, else `<length in bytes>:` value

So two different records never share a text. Columns' order doesn't matter; a field more or less does, even a null one.
The ledger keeps these for years: change nothing here without raising `NORMALISER` in `validate.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
import xxhash

_NEXT = "\x1f"
_NULL = "\x1e"


_ROWS = 500  # taken from a column at a time: few enough texts to stay in the processor's cache


@dataclass(frozen=True, slots=True)
class _Canonical:
    """The canonical text of records of one schema, and which of them need its longer form."""

    short: pl.Expr
    unsafe: pl.Expr
    long: pl.Expr


def fingerprint(records: pl.DataFrame) -> pl.Series:
    """Return the 16-byte fingerprint of every row, as Binary."""
    canonical = _canonical(tuple(records.schema.items()))
    prints, separators = _hashed(records.select(canonical.short).to_series())
    own = records.width * records.height + sum(column.null_count() for column in records.iter_columns())
    if separators > own:
        rows = records.select(canonical.unsafe).to_series().arg_true()
        prints = prints.scatter(rows, _hashed(records[rows].select(canonical.long).to_series())[0])
    return prints


def _hashed(texts: pl.Series) -> tuple[pl.Series, int]:
    """Return the hash of every text, and how many separators and nulls are written in all of them together."""
    hashes: list[bytes] = []
    separators = 0
    for start in range(0, texts.len(), _ROWS):
        few = texts.slice(start, _ROWS).to_list()
        hashes.extend(map(xxhash.xxh3_128_digest, few))
        written = np.frombuffer(b"".join(few), np.uint8)
        separators += int(np.count_nonzero(written == ord(_NEXT)) + np.count_nonzero(written == ord(_NULL)))
    return pl.Series("_fingerprint", hashes, dtype=pl.Binary), separators


@lru_cache(maxsize=256)
def _canonical(schema: tuple[tuple[str, pl.DataType], ...]) -> _Canonical:
    fields = sorted(schema, key=lambda field: field[0])
    names = "".join(f"{len(name)}:{name}" for name, _ in fields)
    header = pl.lit(xxhash.xxh3_128_hexdigest(names.encode()))
    cells = [_cell(name, dtype) for name, dtype in fields]
    short = pl.concat_str([header, *(cell.fill_null(_NULL) for cell in cells)], separator=_NEXT)
    lengthy = [pl.concat_str(cell.str.len_bytes().cast(pl.String), pl.lit(":"), cell).fill_null("n") for cell in cells]
    long = pl.concat_str([header, pl.lit(_NULL), *lengthy])
    free = [pl.col(name) for name, dtype in fields if dtype == pl.String]
    return _Canonical(
        short.cast(pl.Binary).alias("text"),
        pl.any_horizontal(pl.lit(False), *(column.str.contains(f"[{_NULL}{_NEXT}]") for column in free)),
        long.cast(pl.Binary).alias("text"),
    )


def _cell(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        return column
    if dtype == pl.Boolean:
        return column.cast(pl.UInt8).cast(pl.String)
    if dtype == pl.Float64:
        # Not the float's text: how polars writes floats is not promised to stay. All NaNs are one.
        bits = column.reinterpret(dtype=pl.Int64).cast(pl.String)
        return pl.when(column.is_nan()).then(pl.lit("NaN")).otherwise(bits)
    if dtype.is_integer() or dtype in (pl.Date, pl.Datetime("us", "UTC")):
        return column.to_physical().cast(pl.String)
    raise TypeError(f"a record can't hold {dtype} ({name})")
