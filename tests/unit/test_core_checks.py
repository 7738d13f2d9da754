"""The checks and normalisers that entities ask for, at their limits."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from connector.core.checks import NOT_AFTER_THIS_YEAR, not_before, one_of
from connector.core.entities.customer import CUSTOMER
from connector.core.entity import Context, Entity, EntityField, Exact, FieldType, Normaliser
from connector.core.validate import Judged, plan
from connector.model import Column, Kind, Policies

ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})  # without the two that are no place


def customers(**columns: pl.Series) -> Judged:
    """Return what becomes of customers whose fields are given as columns."""
    height = len(next(iter(columns.values())))
    rows = pl.DataFrame(
        {
            "local_id": [str(number) for number in range(height)],
            "register_date": ["2024-03-01 12:00:00"] * height,
            **columns,
        }
    )
    known = tuple((name, Column(name, Kind.TEXT, "")) for name in rows.columns)
    return plan(CUSTOMER, Context("Europe/Kyiv", 2026), known, tuple(rows.schema.items())).run(rows)


@pytest.mark.parametrize("year", [2010, 2027, 2040])
def test_a_year_begins_at_the_first_instant_that_is_in_it_in_every_zone(year: int) -> None:
    begin, day = datetime(year, 1, 1, tzinfo=UTC), timedelta(days=1)
    steps = pl.datetime_range(begin - day, begin + day, "15m", time_unit="us", eager=True).alias("at")
    near = pl.concat([steps, steps.dt.offset_by("-1us")]).to_frame()
    for zone in ZONES:
        since = not_before(year).passes(pl.col("at"), Context(zone, 0))
        until = NOT_AFTER_THIS_YEAR.passes(pl.col("at"), Context(zone, year - 1))
        in_year = pl.col("at").dt.convert_time_zone(zone).dt.year() >= year
        assert near.select((since == in_year).all() & (until != in_year).all()).item(), zone


def test_one_of_takes_its_values_and_nothing_like_them() -> None:
    texts = pl.DataFrame({"value": ["M", "F", "m", "", "MF", "M\n", None]})
    passes = texts.select(one_of("rule", "M", "F").passes(pl.col("value"), Context("UTC", 2026))).to_series()
    assert passes.to_list() == [True, True, False, False, False, False, None]


def test_each_row_gets_its_own_sex() -> None:
    words = ["M", "female", None, "F", "U", "", " m ", "robot", "Ж", "ЧОЛ", "MF", "?", "1"] * 3
    judged = customers(sex=pl.Series(words))
    expected = ["M", "F", None, "F", None, None, "M", "robot", "F", "M", "mf", None, "M"] * 3
    assert judged.records["sex"].to_list() == expected
    assert judged.refused.to_list() == [word in {"robot", "mf"} for word in expected]
    assert set(judged.reasons["rule"]) == {"not_a_sex"}


def test_an_identity_is_asked_for_nul_characters_where_its_column_can_hold_one() -> None:
    for values in (["1\0", "1"], [b"1\0", b"1"]):
        assert customers(local_id=pl.Series(values)).reasons["rule"].to_list() == ["nul_character"]
    assert not customers(local_id=pl.Series([1, 0])).refused.any()


def test_a_field_may_break_the_rules_of_its_conversion_and_of_its_normaliser() -> None:
    def exact(given: pl.Series) -> Exact:
        assert given.to_list() == ["9", "9"]
        return Exact(pl.Series([None, "10"]), pl.Series(["a_nine", None]))

    def small(_context: Context) -> Normaliser:
        return Normaliser(lambda value: pl.when(value != "9").then(value), exact)

    thing = Entity("thing", (EntityField("size", FieldType.DECIMAL, normalise=small),), (), load_order=1, rules=1)
    rows = pl.DataFrame({"size": ["1", "x", "2.50", "+9", None, "9.0"]})
    known = (("size", Column("size", Kind.TEXT, "")),)
    for policies, broken in (
        ({}, {1: "not_a_decimal", 3: "a_nine"}),
        ({"size": Policies(invalid="null")}, {3: "a_nine"}),
    ):
        asked = tuple(policies.items())
        judged = plan(thing, Context("UTC", 2026), known, tuple(rows.schema.items()), asked).run(rows)
        assert judged.records["size"].to_list() == ["1", None, "2.5", None, None, "10"]
        assert dict(zip(judged.refused.arg_true(), judged.reasons["rule"], strict=True)) == broken
