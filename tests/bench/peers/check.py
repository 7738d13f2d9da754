"""Compare what a tool wrote with what the source holds, row by row and value by value.

Polars is imported where it is used: only the checking process may grow (see `measure.Taken`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import customers
from tests.bench.peers.change import Change
from tests.bench.peers.tool import CHANGED, KEY, Tool

if TYPE_CHECKING:
    import polars as pl

DATES = ("b_date",)
STAMPS = ("reg_date", CHANGED)
AMOUNTS = ("balance",)
ZONE = r"(?:Z|[+-]\d\d(?::?\d\d)?)$"
UTC = r" ?(?:Z|\+00(?::?00)?)$"
TEXTS = tuple(name for name in customers.COLUMNS if name not in {KEY, *DATES, *STAMPS, *AMOUNTS})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with the rows, and what became of the values, each with how many; empty if all is as it was."""

    wrong: dict[str, int]
    found: dict[str, int]


def truth(path: Path, changes: Sequence[Change]) -> pl.DataFrame:
    """Return the source's rows: those that were loaded, after the changes."""
    import polars as pl

    rows = pl.read_csv(
        path,
        separator="\t",
        has_header=False,
        quote_char=None,
        null_values=customers.NULL,
        schema=dict.fromkeys(customers.COLUMNS, pl.String),
    )
    rows = rows.with_columns(
        pl.col(KEY).cast(pl.Int64),
        pl.col(DATES).str.to_date("%Y-%m-%d"),
        pl.col(STAMPS).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us"),
        pl.col(AMOUNTS).cast(pl.Decimal(12, 2)),
    )
    for change in changes:
        rows = change.applied(rows)
    return rows


def judged(tool: Tool, folder: Path, environment: Path, loaded: Path, changes: Sequence[Change]) -> Verdict:
    """Read back everything that a tool has written so far and compare it.

    What goes wrong is told in plain words: the caller's process would import polars to get to know its exceptions.
    """
    try:
        return _judged(tool, folder, environment, loaded, changes)
    except Exception as error:  # noqa: BLE001 - whatever it is, the table tells it
        line = next(iter(str(error).strip().splitlines()), "")
        raise RuntimeError(f"its rows can't be read: {type(error).__name__}: {line}") from None


def _judged(tool: Tool, folder: Path, environment: Path, loaded: Path, changes: Sequence[Change]) -> Verdict:
    source = truth(loaded, changes)
    changed = sum(int((source[KEY] % 100 == each.remainder).sum()) for each in changes)
    rows = tool.rows(folder, environment)
    return compared(rows, source, changed if tool.appends else 0, tool.normalises)


def compared(rows: pl.DataFrame, source: pl.DataFrame, changed: int, normalised: Sequence[str] = ()) -> Verdict:
    """Judge rows, of which `changed` may be newer versions of a row that is there as well."""
    import polars as pl

    remarks: list[str] = []
    rows = rows.select(*_plain(rows, remarks)).sort(CHANGED, nulls_last=False, maintain_order=True)
    newest = rows.unique(KEY, keep="last", maintain_order=True)
    found = dict.fromkeys(remarks, newest.height)
    wrong = {
        "missing": source.join(newest, on=KEY, how="anti").height,
        "invented": newest.join(source, on=KEY, how="anti").height,
    }
    both = source.join(newest, on=KEY, how="inner", suffix="_got")
    wrong["stale"] = both.filter(pl.col("balance_got").ne_missing(pl.col("balance"))).height
    again = rows.height - newest.height - changed
    if changed and again > 0:
        found["rows sent again"] = again
    elif again > 0:
        wrong["twice"] = again
    found |= dict(_differences(both, normalised))
    return Verdict({what: count for what, count in wrong.items() if count}, found)


def _plain(rows: pl.DataFrame, remarks: list[str]) -> Iterator[pl.Expr]:
    """Yield each column as the source's type, and note which had another one."""
    import polars as pl

    told: dict[str, list[str]] = {}
    for name in customers.COLUMNS:
        column, kind = pl.col(name), rows.schema.get(name)
        if kind is None:
            told.setdefault("not there", []).append(name)
            yield pl.lit(None).alias(name)
        elif name == KEY:
            yield column.cast(pl.Int64)
        elif name in AMOUNTS:
            if kind.is_float():
                told.setdefault("as floating point", []).append(name)
                column = column.round(2)
            yield column.cast(pl.Decimal(12, 2))
        elif name in (*DATES, *STAMPS):
            plain, remark = _time(rows, name, date=name in DATES)
            if remark:
                told.setdefault(remark, []).append(name)
            yield plain
        else:
            yield column.cast(pl.String)
    remarks += [f"{', '.join(names)} {remark}" for remark, names in told.items()]


def _time(rows: pl.DataFrame, name: str, *, date: bool) -> tuple[pl.Expr, str]:
    """Return a date or stamp as the source has it, and how else it was written. Text that is neither is an error."""
    import polars as pl

    column, kind = pl.col(name), rows.schema[name]
    longer, zoned = kind == pl.Datetime, isinstance(kind, pl.Datetime) and kind.time_zone is not None
    if kind == pl.String:
        longer = bool(rows[name].str.len_chars().gt(10).any())
        zoned = longer and bool(rows[name].str.contains(ZONE).any())
        column = column.str.replace("T", " ", literal=True).str.replace(UTC, "")
        if longer:
            column = column.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us")
        else:
            column = column.str.to_date("%Y-%m-%d")
    elif zoned:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if date:
        return column.cast(pl.Date), "as a time" if longer else ""
    return column.cast(pl.Datetime("us")), "marked as UTC" if zoned else ""


def _differences(both: pl.DataFrame, normalised: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Tell what happened to the values of each column, and to how many."""
    import polars as pl

    for name in customers.COLUMNS[1:]:
        was, got = pl.col(name), pl.col(f"{name}_got")
        reasons = {"became NULL": was.is_not_null() & got.is_null()}
        if name in TEXTS:
            reasons["NULL became ''"] = was.is_null() & (got == "")
        if name in STAMPS:
            reasons["cut to milliseconds"] = (was != got) & (was.dt.truncate("1ms") == got)
            reasons["cut to seconds"] = (was != got) & (was.dt.truncate("1s") == got)
        if name in normalised:
            reasons = {"normalised": got.ne_missing(was)}
        different = both.filter(got.ne_missing(was))
        for reason, condition in reasons.items():
            count = different.height
            different = different.filter(condition.not_().fill_null(value=True))
            if different.height < count:
                yield f"{name} {reason}", count - different.height
        if different.height:
            yield f"{name} differs", different.height
