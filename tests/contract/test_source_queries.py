"""Raw queries, kept as the client wrote them."""

from __future__ import annotations

from typing import Any

import pytest

from connector.config.resolved import Field, Tenant
from connector.model import RunState
from tests.contract.engines import needs
from tests.contract.pulling import FIELDS, Pulling, ago, at

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"
FROM_THE_DOCUMENT = """SELECT
    customer_id as local_id,
    CONCAT(f_name, " ", m_name, " ", l_name) as full_name,
    f_name as first_name,
    m_name as middle_name,
    l_name as last_name,
    email as email,
    phone as phone,
    gender as sex,
    b_date as birth_date,
    country as country,
    area as area,
    city as city,
    post_index as zip,
    reg_date as register_date
FROM customers
WHERE customer_id > {$last_id} AND user_id = 'acme-corp'
LIMIT 10000;"""


def query(client: Pulling, text: str, rows: int = 30, **changes: Any) -> None:
    """Create a table with that many rows and set the stream to a query over it."""
    client.execute(TABLE)
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, rows + 1)))
    client.configure(**{"table": None, "query": text, **changes})


@needs("zero_dates")
def test_the_query_of_the_requirements_runs_as_it_is_written(client: Pulling) -> None:
    client.execute(
        "CREATE TABLE customers (customer_id BIGINT PRIMARY KEY, user_id VARCHAR(32) NOT NULL, f_name VARCHAR(64), "
        "m_name VARCHAR(64), l_name VARCHAR(64), email VARCHAR(128), phone VARCHAR(32), gender CHAR(1), b_date DATE, "
        "country VARCHAR(64), area VARCHAR(64), city VARCHAR(64), post_index VARCHAR(12), reg_date DATETIME)"
    )

    def customer(number: int, owner: str) -> tuple[Any, ...]:
        names = (f"Olena{number}", "I.", "O'Brien", f"o{number}@example.com", "+380501234567", "F", "1990-02-03")
        return (number, owner, *names, "Ukraine", "Kyivska", "Kyiv", "01001", "2020-05-06 07:08:09")

    client.insert(*(customer(i, ("acme-corp", "globex")[i % 2]) for i in range(1, 61)), table="customers")
    client.configure(
        table=None,
        query=FROM_THE_DOCUMENT,
        by="id",
        watermark_column="local_id",
        key=("local_id",),
        fields={},
        tenant_in_query=True,
    )
    assert client.succeed().counters.created == 30
    client.insert(*(customer(i, ("acme-corp", "globex")[i % 2]) for i in range(61, 91)), table="customers")
    assert client.succeed().counters.created == 15
    records = {record["local_id"]: record for record in client.records()}
    assert set(records) == {str(i) for i in range(2, 91, 2)}
    assert records["90"]["full_name"] == "Olena90 I. O'Brien"
    assert records["90"]["sex"] == "F"


def test_a_query_is_read_in_batches_with_its_own_limit_removed(client: Pulling) -> None:
    query(client, "SELECT id, v, updated_at FROM t WHERE id > 0 ORDER BY id DESC LIMIT 3;")
    assert client.succeed().counters.created == 30
    assert client.final() == client.expected()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id, v, updated_at FROM t LIMIT 3 OFFSET 2",
        "SELECT id, v, updated_at FROM t -- LIMIT is here: LIMIT 5\n",
        "SELECT id, v, updated_at FROM t; -- done",
        "SELECT id, v, updated_at FROM t LIMIT 3 -- as the contract says",
        "/* 'quoted; */ SELECT id, v, updated_at FROM t /* LIMIT 1 */",
        "SELECT id, v, updated_at FROM t WHERE v LIKE 'v%' AND v <> '%s' AND v <> ':x?' LIMIT 4",
        "WITH x AS (SELECT * FROM t) SELECT id, v, updated_at FROM x LIMIT 3",
        "SELECT id, v, updated_at FROM t WHERE id < 11 UNION ALL SELECT id, v, updated_at FROM t WHERE id > 10 LIMIT 7",
        "SELECT id, v, updated_at FROM (SELECT id, v, updated_at FROM t) AS \n s LIMIT 2",
        "SELECT id, v, updated_at FROM t WHERE id > {$last_id}",
        "SELECT id, v, updated_at FROM t WHERE updated_at > '{$last_date}' LIMIT 10000",
        "SELECT id, v, updated_at FROM t WHERE updated_at > {$last_date} AND updated_at > {$last_date}",
    ],
)
def test_queries_in_many_shapes_deliver_every_row(client: Pulling, text: str) -> None:
    by_id: dict[str, Any] = {"by": "id", "watermark_column": "id", "look_back_ids": 5} if "{$last_id}" in text else {}
    query(client, text, **by_id)
    assert client.succeed().counters.created == 30
    assert client.final() == client.expected()
    client.insert(*((i, f"v{i}", ago(100 - i)) for i in range(31, 46)))
    client.succeed()
    assert client.final() == client.expected()


@needs("zero_dates")
def test_a_date_in_double_quotes_is_the_date_where_those_mean_text(client: Pulling) -> None:
    query(client, 'SELECT id, v, updated_at FROM t WHERE updated_at > "{$last_date}" LIMIT 1000')
    assert client.succeed().counters.created == 30
    client.insert((31, "new", ago(60)))
    client.succeed()
    assert client.final() == client.expected()


@pytest.mark.parametrize(
    "text", ["'{$last_date} 00:00:00'", "'before {$last_id}'", "'' -- {$last_date}\n", "''/*{$last_id}*/"]
)
def test_a_slot_inside_of_a_longer_text_or_a_comment_is_refused(client: Pulling, text: str) -> None:
    query(client, f"SELECT id, v, updated_at FROM t WHERE v <> {text}")
    result = client.pull()
    assert result.exit_code == 2, result.error


def test_a_limit_inside_of_a_query_is_kept(client: Pulling) -> None:
    query(client, "SELECT id, v, updated_at FROM (SELECT id, v, updated_at FROM t ORDER BY id LIMIT 5) AS x")
    assert client.succeed().counters.created == 5


def test_a_queries_last_id_is_never_above_what_the_look_back_needs(client: Pulling) -> None:
    query(
        client,
        "SELECT id, v, updated_at FROM t WHERE id > {$last_id} LIMIT 10",
        rows=0,
        by="id",
        watermark_column="id",
        look_back_ids=20,
    )
    client.insert(*((i, "v", None) for i in range(50, 80)))
    client.succeed()
    client.insert((60 - 1 + 200, "new", None))
    client.execute("DELETE FROM t WHERE id = 65")
    client.insert((65, "late", None))
    client.succeed()
    assert client.final() == client.expected()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id, v, updated_at FROM t; DELETE FROM t",
        "UPDATE t SET v = 'x'",
        "DELETE FROM t",
        "INSERT INTO t SELECT * FROM t",
        "DROP TABLE t",
        "SELECT id, v, updated_at FROM t FOR UPDATE",
        "SELECT id, v, updated_at INTO x FROM t",
        "SELECT id, v, updated_at FROM t INTO OUTFILE '/tmp/x'",
        "EXPLAIN SELECT id, v, updated_at FROM t",
        "SET x = 1",
        "",
        "SELEC id FROM t",
        "SELECT (id FROM t",
    ],
)
def test_anything_but_one_plain_select_is_refused(client: Pulling, text: str) -> None:
    query(client, text)
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 2), result.error
    assert "\n" not in result.error
    assert len(client.expected()) == 30


@needs("infinity")
def test_a_writing_query_hidden_in_a_with_is_refused(client: Pulling) -> None:
    query(client, "WITH x AS (DELETE FROM t RETURNING *) SELECT id, v, updated_at FROM x")
    assert client.pull().exit_code in (2, 3)
    assert len(client.expected()) == 30


@needs("file")
def test_a_column_named_like_a_keyword_does_not_confuse_the_limit(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, offset VARCHAR(9), updated_at {stamp})")
    client.insert(*((i, f"v{i}", at(i)) for i in range(1, 31)))
    client.configure(table=None, query="SELECT id, offset AS v, updated_at FROM t LIMIT 5")
    assert client.succeed().counters.created == 30


def test_a_query_without_the_watermark_column_is_a_mistake_of_the_configuration(client: Pulling) -> None:
    query(client, "SELECT id, v FROM t")
    result = client.pull()
    assert result.exit_code in (2, 3)
    assert "updated_at" in result.error


def test_a_queries_own_columns_are_its_fields(client: Pulling) -> None:
    text = "SELECT id AS local_id, '2020-01-01' AS register_date, v, updated_at FROM t"
    query(client, text, fields={}, key=("local_id",))
    client.succeed()
    assert client.final() == client.expected()


def test_a_queries_tenant_column_is_filtered_and_rechecked(client: Pulling) -> None:
    query(
        client,
        "SELECT id, v, updated_at, CASE WHEN id < 11 THEN 'acme' ELSE 'globex' END AS owner FROM t",
        tenant=Tenant("owner", "acme"),
    )
    assert client.succeed().counters.created == 10


def test_an_empty_query_is_read_once_rows_come(client: Pulling) -> None:
    query(client, "SELECT id, v, updated_at FROM t", rows=0)
    client.succeed()
    client.insert((1, "a", at(1)))
    client.succeed()
    assert client.final() == client.expected()


def test_a_query_that_was_rewritten_is_read_from_its_start(client: Pulling) -> None:
    query(client, "SELECT id, v, updated_at FROM t WHERE id > 10")
    client.succeed()
    client.configure(query="SELECT id, v, updated_at FROM t")
    client.succeed()
    assert client.final() == client.expected()


def test_a_date_watermark_of_a_query_with_a_date_slot_is_resumed(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {date})")
    client.configure(
        table=None,
        query="SELECT id, v, updated_at FROM t WHERE updated_at > {$last_date}",
        fields={**FIELDS, "day": Field(column="updated_at")},
    )
    client.insert(*((i, f"v{i}", f"2024-03-{i:02d}") for i in range(1, 29)))
    client.succeed()
    client.insert((30, "same day", "2024-03-28"), (31, "next", "2024-03-29"))
    client.succeed()
    assert "31" in client.final()
