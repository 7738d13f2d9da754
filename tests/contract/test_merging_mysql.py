"""Values that PyMySQL merges into statements bring exactly their rows, whatever the server takes a backslash for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.config.resolved import Field, Tenant
from connector.model import Column, Kind, RunState
from connector.source.select import OneOf, Select, Statement
from tests.contract.engines import ClientDatabase, needs
from tests.contract.pulling import FIELDS, Pulling, at
from tests.contract.types_reading import READERS, Reader, T, by, opened, outputs, read

each_reader = pytest.mark.parametrize("reader", READERS)
each_mode = pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"])
on_mysql = needs("zero_dates")

ODD = (
    "'",
    "''",
    "\\",
    "\\'",
    "'\\",
    "\\\\'",
    "' OR 1=1 -- ",
    "\\' OR 1=1 -- ",
    "\\\\' OR 1=1 #",
    '" OR 1=1 -- ',
    '\\" OR 1=1 -- ',
    "\\0\\n\\Z\\%\\_",
    "a\0b",
    "\x1a",
    "a\nb\r\tc\b\f\v\x01\x7f",
    "%s %% %(x)s",
    "`x`",
    "/*! 1 */",
    "X'41'",
    "_utf8 'a'",
    "😀é",
)


@contextmanager
def asked_of_all(database: ClientDatabase, mode: str) -> Iterator[None]:
    """Let the server give every session a mode, as its administrator may."""
    ((before,),) = database.execute("SELECT @@GLOBAL.sql_mode")
    database.execute("SET GLOBAL sql_mode = %s", (mode,))
    try:
        yield
    finally:
        database.execute("SET GLOBAL sql_mode = %s", (before,))


@on_mysql
@each_mode
def test_a_merged_value_is_the_value_and_nothing_else(database: ClientDatabase, mode: str) -> None:
    """The sessions of a pull have a mode of their own; should another one be set in them, the driver knows."""
    anything = st.text(st.characters(codec="utf-8"), max_size=20)
    quoting = st.text("'\\\"%s`x0(); -#\0", max_size=12)
    with opened(database.source, "columnar") as session:
        session.rows(Statement(f"SET SESSION sql_mode = '{mode}'"))
        assert session.rows(Statement("SELECT @@sql_mode")) == [(mode,)]

        @settings(max_examples=150, deadline=None)
        @given(
            anything | quoting | st.sampled_from(ODD), quoting, st.binary(max_size=20), st.decimals(-99, 99, places=3)
        )
        def holds(text: str, other: str, data: bytes, number: Decimal) -> None:
            statement = Statement("SELECT %s, 0-%s, %s, '%%s', %s", (text, number, data, other))
            assert session.rows(statement) == [(text, f"{-number:.3f}".replace("-0.000", "0.000"), data, "%s", other)]

        holds()


@on_mysql
@each_mode
@each_reader
def test_a_bound_text_brings_exactly_its_rows(database: ClientDatabase, reader: Reader, mode: str) -> None:
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(40) COLLATE utf8mb4_bin, b VARBINARY(80))")
    database.insert("t", [(n, text, text.encode()) for n, text in enumerate(ODD)])
    with opened(database.source, reader) as session:
        session.rows(Statement(f"SET SESSION sql_mode = '{mode}'"))
        for number, text in enumerate(ODD):
            for column in (Column("v", Kind.TEXT, "text"), Column("b", Kind.BYTES, "bytes")):
                value = text if column.name == "v" else text.encode().hex()
                select = Select(T, outputs("id", "v"), where=(OneOf(column, (value,)),), order=by("id"))
                assert read(session, select).rows() == [(number, text)]


@on_mysql
@each_mode
@each_reader
def test_a_pull_resumes_behind_odd_keys_and_reads_an_odd_tenants_rows(
    client: Pulling, reader: Reader, mode: str
) -> None:
    tenant = "\\' OR 1=1 -- "
    client.execute(
        "CREATE TABLE t (id VARCHAR(40) COLLATE utf8mb4_bin PRIMARY KEY, owner VARCHAR(40), v {text}, "
        "updated_at {stamp})"
    )
    client.insert(*((key, tenant, "v", at(0)) for key in ODD))
    client.insert(("foreign", "' OR 1=1 -- ", "v", at(0)), ("foreign too", "\\\\' OR 1=1 -- ", "v", at(0)))
    with asked_of_all(client.database, mode):
        client.configure(
            source=replace(client.database.source, reader=reader),
            tenant=Tenant("owner", tenant),
            batch_size=1,
            fields={**FIELDS, "local_id": Field(sql="HEX(id)")},
        )
        client.succeed()
    assert set(client.final()) == {key.encode().hex().upper() for key in ODD}


@on_mysql
@each_reader
def test_a_configured_text_that_is_none_is_refused_in_words(client: Pulling, reader: Reader) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert((1, "v", at(0)))
    client.configure(source=replace(client.database.source, reader=reader), tenant=Tenant("v", "secret\ud800"))
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 3), result.error
    assert "half of a character" in result.error
    assert "secret" not in result.error
