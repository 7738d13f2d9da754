"""Names and texts that are SQL to a careless program."""

from __future__ import annotations

import pytest

from connector.config.resolved import Field
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, ago, at

NAMES = [
    "order",
    "select",
    "two words",
    "100% sure",
    "%s",
    "a:b",
    'quo"te',
    "back`tick",
    "O'Brien",
    "semi;colon",
    "back\\slash",
    "Ünïcode",
    "CamelCase",
    "{brace}",
    "q?mark",
    "--dash",
    "0digit",
]


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_columns_of_any_name_are_read(client: Pulling, name: str) -> None:
    quoted = client.engine.quote(name)
    wm, key = client.engine.quote(f"{name} wm"), client.engine.quote(f"{name} key")
    types = client.engine.types
    ddl = f"CREATE TABLE {quoted} ({key} BIGINT PRIMARY KEY, {quoted} {types['text']}, {wm} {types['stamp']})"
    with client.database.raw() as run:
        run(ddl)
        for number in range(1, 13):
            run(f"INSERT INTO {quoted} VALUES ({number}, 'v{number}', '{at(number // 5)}')")
    client.configure(
        table=name,
        watermark_column=f"{name} wm",
        key=(f"{name} key",),
        batch_size=2,
        fields={
            "local_id": Field(column=f"{name} key"),
            "register_date": Field(sql="'2020-01-01'"),
            "v": Field(column=name),
        },
    )
    assert client.succeed().counters.created == 12
    assert client.final() == {str(i): f"v{i}" for i in range(1, 13)}


@pytest.mark.parametrize("alias", ["order", "two words", "100%", 'quo"te', "it's", "a:b", "per%sent"])
def test_a_custom_attribute_of_any_name_is_kept(client: Pulling, alias: str) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert((1, "a", at(1)))
    client.configure(fields={**client.stream.fields, alias: Field(column="v")})
    client.succeed()
    assert client.records()[0][f"custom.{alias}"] == "a"


@needs("infinity")
def test_a_table_of_another_schema_is_read(client: Pulling) -> None:
    client.execute("CREATE SCHEMA shop")
    client.execute("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, v text, updated_at timestamp)")
    client.execute(f"GRANT USAGE ON SCHEMA shop TO {client.database.source.user}")
    client.insert((1, "a", at(1)), table="shop.t")
    client.configure(table="shop.t")
    assert client.succeed().counters.created == 1


def test_a_view_is_read_like_a_table(client: Pulling) -> None:
    client.execute("CREATE TABLE base (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.execute("CREATE VIEW t AS SELECT id, v, updated_at FROM base WHERE id > 5")
    client.insert(*((i, f"v{i}", at(i // 4)) for i in range(1, 31)), table="base")
    assert client.succeed().counters.created == 25
    client.execute(f"UPDATE base SET v = 'x', updated_at = '{ago(9)}' WHERE id = 7")
    assert client.succeed().counters.updated == 1
    assert client.final() == client.expected()


def test_texts_that_look_like_sql_are_values(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id {name} PRIMARY KEY, v {text}, updated_at {stamp})")
    words = ["' OR '1'='1", "'; DROP TABLE t; --", "%s", "%(x)s", "$1", ":x", "?", "\\'", "\\", "a\nb", '"', "`", "{x}"]
    client.insert(*((word, word, at(0)) for word in words))
    client.configure(batch_size=1)
    client.succeed()
    assert client.final() == client.expected()
    assert client.final() == {word: word for word in words}
