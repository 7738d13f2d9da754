"""SQL text and binds, for every dialect: values are bound, names are quoted, columns are qualified."""

from __future__ import annotations

import pytest

from connector.model import Column, Kind
from connector.registry import DIALECTS
from connector.source.dialect import Dialect
from connector.source.select import (
    All,
    Any,
    Compare,
    IsNull,
    OneOf,
    Output,
    Query,
    Select,
    Slot,
    Statement,
    Table,
)

EVIL = "'; DROP TABLE t; -- \" ` \\ %s ? :x"
TEXT = Column("own er", Kind.TEXT, "text")
ID = Column("id", Kind.INTEGER, "bigint")

every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


def rendered(dialect: Dialect, *where: object, **changes: object) -> Statement:
    select = Select(Table(("t",)), (Output("v", "v"),), where, **changes)  # type: ignore[arg-type]  # by the test
    return dialect.render(select)


@every_dialect
def test_a_value_is_bound_and_never_part_of_the_text(dialect: Dialect) -> None:
    statement = rendered(dialect, Compare(TEXT, "=", EVIL), OneOf(TEXT, (EVIL, "b")))
    assert "DROP" not in statement.sql
    assert statement.binds == (EVIL, EVIL, "b")


@every_dialect
def test_as_many_places_as_binds(dialect: Dialect) -> None:
    nested = All((Compare(ID, ">=", "5"), Any((Compare(ID, ">", "5"), Compare(TEXT, ">", EVIL)))))
    statement = rendered(dialect, nested, IsNull(ID), OneOf(TEXT, ("a",)), limit=7)
    places = statement.sql.replace("%%", "").count("%s") + statement.sql.count("?")
    assert places == len(statement.binds) == 4
    assert [str(bind) for bind in statement.binds] == ["5", "5", EVIL, "a"]
    assert statement.sql.endswith("LIMIT 7")


@every_dialect
def test_columns_are_qualified_so_that_no_alias_is_meant(dialect: Dialect) -> None:
    statement = rendered(dialect, Compare(ID, ">", "1"), order=(ID, TEXT), descending=True)
    tail = statement.sql.split(" ORDER BY ")[1]
    assert tail.count("s.") == 2
    assert tail.count("DESC") == 2
    assert " WHERE s." in statement.sql


@every_dialect
@pytest.mark.parametrize("name", ['a"b', "a`b", "a]b", "per%cent", "%s", "two words", "select"])
def test_names_are_quoted_and_their_quotes_doubled(dialect: Dialect, name: str) -> None:
    statement = dialect.render(Select(Table((name,)), (Output(name, name),), order=(Column(name, Kind.TEXT, "text"),)))
    text = statement.sql % () if "%%" in statement.sql else statement.sql
    mark = '"' if '"' in statement.sql.replace(name, "") else "`"
    assert text.count(mark + name.replace(mark, mark * 2) + mark) >= 4


@every_dialect
def test_a_schema_is_quoted_apart_from_its_table(dialect: Dialect) -> None:
    sql = dialect.render(Select(Table(("shop", "t")), (Output("v", "v"),))).sql
    assert any(f"{mark}shop{mark}.{mark}t{mark}" in sql for mark in '"`')


@every_dialect
def test_expressions_and_queries_keep_their_percent_signs(dialect: Dialect) -> None:
    query = Query(("SELECT * FROM t WHERE a LIKE 'x%' AND id > ", Slot.LAST_ID, " AND b <> '%s'"))
    statement = dialect.render(
        Select(query, (Output("v", sql="a % 2"),), (Compare(ID, ">", "9"),), slots={Slot.LAST_ID: 4})
    )
    assert statement.binds[0] == 4
    assert len(statement.binds) == 2
    text = statement.sql % ("4", "9") if "%%" in statement.sql else statement.sql
    assert "a % 2" in text
    assert "'x%'" in text
    assert "'%s'" in text


@every_dialect
def test_a_query_that_ends_with_a_comment_is_closed_on_a_line_of_its_own(dialect: Dialect) -> None:
    sql = dialect.render(Select(Query(("SELECT 1 AS v -- the end",)), (Output("v", "v"),))).sql
    assert "-- the end\n)" in sql


@every_dialect
def test_numbers_beyond_every_integer_are_bound_exactly(dialect: Dialect) -> None:
    wide = Column("n", Kind.DECIMAL, "numeric")
    statement = rendered(dialect, Compare(wide, ">", str(10**29 + 1)))
    assert str(statement.binds[0]) == str(10**29 + 1)
