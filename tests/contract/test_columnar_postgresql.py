"""The columnar reader of PostgreSQL: values that are merged into COPY, and the pieces that its rows come in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.config.resolved import Field, Tenant
from connector.errors import SourceRefused
from connector.model import Column, Kind, RunState
from connector.source.dialects.postgresql.copy import literal
from connector.source.frames import Wanted
from connector.source.select import OneOf, Output, Select, Statement
from connector.source.session import Session
from tests.contract.engines import ClientDatabase, needs
from tests.contract.pulling import FIELDS, Pulling, at
from tests.contract.types_reading import READERS, Reader, T, by, opened, outputs, read

each_reader = pytest.mark.parametrize("reader", READERS)
each_setting = pytest.mark.parametrize("standard", ["on", "off"])
on_postgresql = needs("infinity")

ODD = (
    "'",
    "''",
    "\\",
    "\\'",
    "'\\",
    "\\\\'",
    "' OR true --",
    "\\' OR true --",
    "'; SELECT 1; --",
    "E'\\x41'",
    "\\x41",
    "\\101\\n",
    "%",
    "%s",
    "%%s %(x)s",
    "$1 $$ $a$",
    '"',
    "/* -- */",
    "a\nb\r\tc\b\f\v\x01\x7f",
    "\\.",
    "\\N",
    "",
    " ",
    "😀é\u0301\ufeff",
    "u&'\\0041'",
    ") TO PROGRAM 'x' --",
)


@contextmanager
def strings(database: ClientDatabase, standard: str) -> Iterator[None]:
    """Let the client's login have that standard_conforming_strings, as its DBA may."""
    server = database.server
    assert server is not None
    database.execute(f"ALTER ROLE {server.login(database.source.user)} SET standard_conforming_strings = {standard}")
    yield


def merged(session: Session, statement: Statement) -> list[Any]:
    """Return what the server makes of a statement's values once they are merged in."""
    driver: Any = session._connection.connection.driver_connection
    (row,) = session.rows(Statement(literal(driver, statement).decode().replace("%", "%%")))
    return list(row)


@on_postgresql
@each_setting
def test_a_merged_value_is_the_value_and_nothing_else(database: ClientDatabase, standard: str) -> None:
    anything = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
    quoting = st.text("'\\%sE$x0(); -", max_size=12)
    whole = st.integers(-(2**63), 2**63 - 1)
    with strings(database, standard), opened(database.source, "columnar") as session:
        assert session.rows(Statement("SHOW standard_conforming_strings")) == [(standard,)]

        @settings(max_examples=150, deadline=None)
        @given(anything | quoting | st.sampled_from(ODD), quoting, st.binary(max_size=20), whole)
        def holds(text: str, other: str, data: bytes, number: int) -> None:
            statement = Statement(
                "SELECT CAST(%s AS text), 0-%s::numeric, CAST(%s AS bytea), '%%s', CAST(%s AS text)",
                (text, number, data, other),
            )
            assert merged(session, statement) == [text, str(-number), data, "%s", other]

        holds()


@on_postgresql
@pytest.mark.parametrize("number", [0, -1, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63)])
def test_a_merged_integer_has_an_integers_type(database: ClientDatabase, number: int) -> None:
    """A numeric compared with a bigint column would keep the server from its index."""
    with opened(database.source, "columnar") as session:
        value, type_ = merged(session, Statement("SELECT %s, pg_typeof(%s)::text", (number, number)))
    assert (value, type_) in ((number, "integer"), (number, "bigint"))


@on_postgresql
@each_setting
@each_reader
def test_a_bound_text_brings_exactly_its_rows(database: ClientDatabase, reader: Reader, standard: str) -> None:
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v text, b bytea)")
    database.insert("t", [(n, text, text.encode()) for n, text in enumerate(ODD)])
    with strings(database, standard), opened(database.source, reader) as session:
        for number, text in enumerate(ODD):
            for column in (Column("v", Kind.TEXT, "text"), Column("b", Kind.BYTES, "bytea")):
                value = text if column.name == "v" else text.encode().hex()
                select = Select(T, outputs("id", "v"), where=(OneOf(column, (value,)),), order=by("id"))
                assert read(session, select).rows() == [(number, text)]
        everything = Select(T, outputs("v"), where=(OneOf(Column("v", Kind.TEXT, "text"), ODD),), order=by("id"))
        assert read(session, everything)["v"].to_list() == list(ODD)


@on_postgresql
@each_setting
@each_reader
def test_a_pull_resumes_behind_odd_keys_and_reads_an_odd_tenants_rows(
    client: Pulling, reader: Reader, standard: str
) -> None:
    tenant = "\\' OR true --"
    client.execute("CREATE TABLE t (id text PRIMARY KEY, owner text, v {text}, updated_at {stamp})")
    client.insert(*((key, owner, "v", at(0)) for key in ODD if key for owner in [tenant]))
    client.insert(("foreign", "' OR true --", "v", at(0)), ("foreign too", "\\\\' OR true --", "v", at(0)))
    client.configure(
        source=replace(client.database.source, reader=reader),
        tenant=Tenant("owner", tenant),
        batch_size=1,
        fields={**FIELDS, "local_id": Field(sql="encode(convert_to(id, 'UTF8'), 'hex')")},
    )
    with strings(client.database, standard):
        client.succeed()
    assert set(client.final()) == {key.encode().hex() for key in ODD if key}


@on_postgresql
@each_reader
def test_a_nul_character_is_refused_in_words(client: Pulling, reader: Reader) -> None:
    """libpq would end the text there, and so the value, or the statement."""
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, owner text, v {text}, updated_at {stamp})")
    client.insert((1, "secret", "v", at(1)))
    client.configure(source=replace(client.database.source, reader=reader), tenant=Tenant("owner", "secret\0x"))
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "NUL" in result.error
    assert "secret" not in result.error
    assert client.final() == {}


@on_postgresql
@pytest.mark.parametrize("value", [1.5, True, None, ["a"]])
def test_nothing_but_texts_bytes_and_integers_is_merged(database: ClientDatabase, value: object) -> None:
    with opened(database.source, "columnar") as session, pytest.raises(TypeError):
        merged(session, Statement("SELECT %s", (value,)))


@on_postgresql
@each_reader
def test_a_nul_character_never_shortens_a_statement(database: ClientDatabase, reader: Reader) -> None:
    """What lies behind it is the tenant's filter."""
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
    chosen = Select(T, (Output("id", sql="SELECT 1)\0"),))
    with opened(database.source, reader) as session, pytest.raises(SourceRefused, match="NUL"):
        list(session.frames(chosen, [Wanted("id", by("id")[0])], 1))
