"""What is cut out of a raw query, and what is left exactly as it was written."""

from __future__ import annotations

import pytest

from connector.errors import ConfigError
from connector.source.query import parse_query
from connector.source.select import Slot

GRAMMARS = ["mysql", "postgres", "sqlite"]

every_grammar = pytest.mark.parametrize("grammar", GRAMMARS)


def body(text: str, grammar: str) -> str:
    parts = parse_query(text, grammar).parts
    return "".join(f"<{part.value}>" if isinstance(part, Slot) else part for part in parts)


@every_grammar
@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t",
        "SELECT a  ,  b\n\tFROM t -- why\n WHERE x = ' ; LIMIT 5 ' ORDER BY a DESC",
        "SELECT * FROM (SELECT a FROM t LIMIT 5) AS x",
        "WITH x AS (SELECT a FROM t LIMIT 5) SELECT a FROM x",
        "SELECT a FROM t UNION ALL SELECT a FROM u",
        "SELECT a, (SELECT b FROM u ORDER BY b LIMIT 1) AS b FROM t",
        "SELECT '%s %d 100%' AS p, ':x ? $1' AS c FROM t",
    ],
)
def test_a_query_is_kept_as_it_was_written(grammar: str, text: str) -> None:
    assert body(text, grammar) == text


@every_grammar
@pytest.mark.parametrize("tail", ["LIMIT 10000", "LIMIT 10000;", "limit 5 offset 2", "\nLIMIT 1 -- own", "LIMIT 3 ;\n"])
def test_its_own_row_limit_is_cut_off(grammar: str, tail: str) -> None:
    assert body(f"SELECT a FROM t WHERE b > 0 ORDER BY a {tail}", grammar) == "SELECT a FROM t WHERE b > 0 ORDER BY a"


def test_the_other_spellings_of_a_row_limit_are_cut_off() -> None:
    assert body("SELECT a FROM t LIMIT 10, 20", "mysql") == "SELECT a FROM t"
    assert body("SELECT a FROM t ORDER BY a FETCH FIRST 5 ROWS ONLY", "postgres") == "SELECT a FROM t ORDER BY a"
    assert body("SELECT a FROM t OFFSET 5 ROWS FETCH NEXT 5 ROWS ONLY", "postgres") == "SELECT a FROM t"
    assert body("SELECT a FROM t LIMIT ALL", "postgres") == "SELECT a FROM t"


@every_grammar
def test_the_limit_of_an_inner_query_stays_when_the_outer_one_goes(grammar: str) -> None:
    assert (
        body("SELECT a FROM (SELECT a FROM t LIMIT 7) AS x LIMIT 3", grammar)
        == "SELECT a FROM (SELECT a FROM t LIMIT 7) AS x"
    )


@every_grammar
@pytest.mark.parametrize("written", ["{$last_id}", "'{$last_id}'"])
def test_a_slot_is_taken_with_its_quotes(grammar: str, written: str) -> None:
    assert (
        body(f"SELECT a FROM t WHERE id > {written} AND b = 1", grammar)
        == "SELECT a FROM t WHERE id > <last_id> AND b = 1"
    )


def test_double_quotes_are_a_slots_quotes_where_they_mean_text() -> None:
    assert body('SELECT a FROM t WHERE d > "{$last_date}"', "mysql") == "SELECT a FROM t WHERE d > <last_date>"
    with pytest.raises(ConfigError):
        parse_query('SELECT a FROM t WHERE d > "{$last_date}"', "postgres")


@every_grammar
def test_several_slots_are_several_places(grammar: str) -> None:
    parts = parse_query("SELECT a FROM t WHERE i > {$last_id} OR d > '{$last_date}' OR i > {$last_id}", grammar).parts
    assert [part for part in parts if isinstance(part, Slot)] == [Slot.LAST_ID, Slot.LAST_DATE, Slot.LAST_ID]


@every_grammar
@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "SELECT a FROM t; SELECT b FROM t",
        "DELETE FROM t",
        "UPDATE t SET a = 1",
        "INSERT INTO t VALUES (1)",
        "CREATE TABLE x AS SELECT 1",
        "SELECT a FROM t WHERE (",
        "SELECT a FROM t WHERE b = 'x{$last_date}'",
        "SELECT a FROM t /* {$last_id} */",
        "SELECT a FROM t WHERE b > {$last_idd}",
    ],
)
def test_what_is_not_one_select_is_refused(grammar: str, text: str) -> None:
    with pytest.raises(ConfigError):
        parse_query(text, grammar)


@pytest.mark.parametrize(
    "grammar, text",
    [
        ("mysql", "SELECT a FROM t FOR UPDATE"),
        ("mysql", "SELECT a FROM t LOCK IN SHARE MODE"),
        ("mysql", "SELECT a INTO OUTFILE '/tmp/x' FROM t"),
        ("postgres", "SELECT a FROM t FOR SHARE"),
        ("postgres", "SELECT a INTO x FROM t"),
        ("postgres", "SELECT a FROM (SELECT a FROM t FOR UPDATE) AS x"),
    ],
)
def test_locks_and_writes_are_refused(grammar: str, text: str) -> None:
    with pytest.raises(ConfigError):
        parse_query(text, grammar)


@pytest.mark.parametrize("name", ["limit_", "offset_a", "fetched"])
@every_grammar
def test_names_that_begin_like_a_limit_are_names(grammar: str, name: str) -> None:
    assert body(f"SELECT {name} FROM t LIMIT 5", grammar) == f"SELECT {name} FROM t"


def test_a_column_called_offset_is_not_taken_for_the_limit() -> None:
    assert body("SELECT offset FROM t LIMIT 5", "sqlite") == "SELECT offset FROM t"
