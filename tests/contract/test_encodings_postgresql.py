"""Databases in other encodings than UTF-8: a text that none knows is no text, and stops nothing but its own row."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import psycopg
import pytest

from connector.config.resolved import Source, Tenant, Tls
from connector.model import Column, Kind, RunState
from connector.source.dialects.postgresql import encoding
from connector.source.select import OneOf, Output, Select, Table
from tests.contract.conftest import LIMITS
from tests.contract.engines import ENGINES, ClientDatabase, needs
from tests.contract.pulling import Pulling, at
from tests.contract.types_reading import READERS, Reader, T, by, opened, outputs, read, wanted
from tests.contract.types_servers import pulling
from tests.servers import Server

ONE_BYTE = (
    *(f"LATIN{n}" for n in range(1, 11)),
    *("ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8", "KOI8R", "KOI8U", "WIN866", "WIN874"),
    *(f"WIN{n}" for n in range(1250, 1259)),
)
CYRILLIC = "Привіт"
_numbers = itertools.count(1)

each_reader = pytest.mark.parametrize("reader", READERS)


@contextmanager
def encoded(server: Server, name: str) -> Iterator[ClientDatabase]:
    """Give a database in an encoding; its administrator writes texts as they are to be stored."""
    database = f"in_{name.lower()}_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {database} ENCODING '{name}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    source = Source("postgresql", server.host, server.port, database, server.user, server.password)
    source = replace(source, tls=Tls("disable"), limits=LIMITS)
    admin = lambda: server.connect(database, client_encoding=name)
    try:
        yield ClientDatabase(ENGINES["postgresql"], source, admin, server)
    finally:
        server.drop_database(database)


def fill(database: ClientDatabase, *values: bytes | None, type_: str = "text") -> None:
    with database.admin() as connection:
        connection.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, v {type_}, updated_at timestamp)".encode())
        for number, value in enumerate(values, 1):
            literal = b"NULL" if value is None else b"'%s'" % value.replace(b"'", b"''")
            connection.execute(b"INSERT INTO t VALUES (%d, %s, '2024-03-01')" % (number, literal))


def column(database: ClientDatabase, reader: Reader, size: int = 100) -> pl.Series:
    select = Select(T, outputs("id", "v"), order=by("id"))
    with opened(database.source, reader) as session:
        return read(session, select, size)["v"]


@pytest.mark.parametrize("name", ONE_BYTE)
def test_the_decoders_are_the_servers_own(postgresql: Server, name: str) -> None:
    codec = psycopg._encodings.pg2pyenc(name.encode())
    known, unknown = bytearray(), bytearray()
    for byte in range(1, 256):
        decoded = bytes([byte]).decode(codec, errors="ignore")
        (known if decoded else unknown).append(byte)
    text = bytes(known).decode(codec)
    with postgresql.connect() as connection:
        assert connection.execute("SELECT convert_from(%s, %s)", (bytes(known), name)).fetchone() == (text,)
        for byte in unknown:
            with pytest.raises(psycopg.errors.UntranslatableCharacter):
                connection.execute("SELECT convert_from(%s, %s)", (bytes([byte]), name))
    # Those with gaps are decoded here, and no others.
    assert encoding.CODECS.get(name) == (codec if unknown else None)


@each_reader
def test_texts_without_an_encoding_are_texts_where_they_are_utf8(postgresql: Server, reader: Reader) -> None:
    with encoded(postgresql, "SQL_ASCII") as database:
        values = [b"plain", CYRILLIC.encode(), None, b"", "\ufeff😀".encode(), b"a\tb\\n\n\\\\N"]
        fill(database, *values)
        found = column(database, reader)
        assert found.dtype == pl.String
        assert found.to_list() == [None if value is None else value.decode() for value in values]


@each_reader
@pytest.mark.parametrize("type_", ["text", "varchar(20)", "json", "text[]", "char(9)"])
def test_a_text_that_is_not_utf8_leaves_its_column_as_bytes(postgresql: Server, reader: Reader, type_: str) -> None:
    bad = {"json": b'"\xff\\n"', "text[]": b"{\xd0,b}", "char(9)": b"\xe9\\n      "}
    good = {"json": b'"x"', "text[]": b"{x}", "char(9)": b"x        "}.get(type_, b"x")
    value = bad.get(type_, b"\x81\xff \\n\\\\ \xc3\x28")
    with encoded(postgresql, "SQL_ASCII") as database:
        fill(database, value, good, None, type_=type_)
        found = column(database, reader)
        assert found.dtype == pl.Binary
        assert found.to_list() == [value, good, None]
        pieces = column(database, reader, size=1)
        assert pieces.to_list() == [value, good, None]


@each_reader
def test_only_the_batch_with_such_a_text_is_left_as_bytes(postgresql: Server, reader: Reader) -> None:
    with encoded(postgresql, "SQL_ASCII") as database:
        fill(database, b"a", b"\xff", b"c", b"d")
        select = Select(T, outputs("id", "v"), order=by("id"))
        with opened(database.source, reader) as session:
            frames = [frame for frame, _ in session.frames(select, wanted(session, select), 2)]
        assert [frame["v"].dtype for frame in frames if frame.height] == [pl.Binary, pl.String]


@each_reader
def test_every_byte_of_latin1_is_a_character(postgresql: Server, reader: Reader) -> None:
    every = bytes(range(1, 256)).replace(b"\\", b"")
    with encoded(postgresql, "LATIN1") as database:
        fill(database, every)
        assert column(database, reader).to_list() == [every.decode("latin-1")]


@each_reader
@pytest.mark.parametrize(
    "name, text, bad", [("WIN1252", "Müller €", b"\x81"), ("WIN1251", "Привіт", b"\x98"), ("LATIN3", "Ħ", b"\xa5")]
)
def test_a_byte_that_stands_for_no_character_is_not_made_one(
    postgresql: Server, reader: Reader, name: str, text: str, bad: bytes
) -> None:
    stored = text.encode(encoding.CODECS[name])
    with encoded(postgresql, name) as database:
        fill(database, stored, b"a" + bad + b"b", None)
        valid, wrong, null = column(database, reader).to_list()
        assert (valid, null) == (text.encode(), None)
        with pytest.raises(UnicodeDecodeError):
            wrong.decode()
        database.execute("DELETE FROM t WHERE id = 2")
        assert column(database, reader).to_list() == [text, None]


@each_reader
def test_two_such_bytes_never_make_a_character_together(postgresql: Server, reader: Reader) -> None:
    with encoded(postgresql, "WIN1253") as database:
        fill(database, b"\xd2\x81")  # UTF-8 would read one letter
        (wrong,) = column(database, reader)
        with pytest.raises(UnicodeDecodeError):
            wrong.decode()


@each_reader
def test_names_and_values_beyond_ascii_reach_a_database_without_an_encoding(postgresql: Server, reader: Reader) -> None:
    chosen = (Output("ім'я", "тенант"), Output("значення %", sql="\"v%\" || ''"))
    ours = OneOf(Column("тенант", Kind.TEXT, "text"), ("Мій",))
    select = Select(Table(("клієнти",)), chosen, where=(ours,))
    with encoded(postgresql, "SQL_ASCII") as database:
        with database.admin() as connection:
            connection.execute('CREATE TABLE "клієнти" ("тенант" text, "v%" text)'.encode())
            connection.execute("INSERT INTO \"клієнти\" VALUES ('Мій', 'ä'), ('Чужий', 'ö')".encode())
        with opened(database.source, reader) as session:
            assert [each.name for each in wanted(session, select)] == ["ім'я", "значення %"]
            assert read(session, select).rows() == [("Мій", "ä")]
            assert session.facts(Table(("клієнти",))).nullable == {"тенант": True, "v%": True}  # type: ignore[union-attr]  # there is such a table


@each_reader
@pytest.mark.parametrize("name", ["SQL_ASCII", "WIN1251"])
def test_a_text_key_is_resumed_in_its_encoding(postgresql: Server, tmp_path: Path, reader: Reader, name: str) -> None:
    keys = "Ж ж Є є ё a B'%\\s з и Я".split()
    with encoded(postgresql, name) as database:
        stored = [key.encode(encoding.CODECS[name]) for key in keys]
        with database.admin() as connection:
            connection.execute("CREATE TABLE t (id text PRIMARY KEY, v text, updated_at timestamp)")
            for key in stored:
                connection.execute(
                    b"INSERT INTO t VALUES ('%s', '%s', '2024-03-01')" % ((key.replace(b"'", b"''"),) * 2)
                )
        with pulling(database, tmp_path) as client:
            client.configure(source=replace(database.source, reader=reader), batch_size=2)
            client.succeed()
            assert client.final() == {key: key for key in keys}


@each_reader
def test_a_configured_text_that_the_encoding_lacks_is_refused_by_name(
    postgresql: Server, tmp_path: Path, reader: Reader
) -> None:
    with encoded(postgresql, "WIN1252") as database, pulling(database, tmp_path) as client:
        fill(database, b"x")
        client.configure(source=replace(database.source, reader=reader), tenant=Tenant("v", CYRILLIC))
        result = client.pull()
        assert (result.state, result.exit_code) == (RunState.FAILED, 3)
        assert "has a character that the encoding" in result.error
        assert CYRILLIC not in result.error


@each_reader
def test_a_pull_goes_on_past_such_a_text(postgresql: Server, tmp_path: Path, reader: Reader) -> None:
    with encoded(postgresql, "SQL_ASCII") as database, pulling(database, tmp_path) as client:
        fill(database, *(b"\xff" if n == 15 else b"v%d" % n for n in range(1, 41)))
        client.configure(source=replace(database.source, reader=reader))
        counters = client.succeed().counters
        assert (counters.read, counters.created, counters.refused) == (40, 39, 1)
        assert client.final() == {str(n): f"v{n}" for n in range(1, 41) if n != 15}


@needs("infinity")
@each_reader
def test_a_byte_of_the_type_char_is_no_exception(client: Pulling, reader: Reader) -> None:
    """Older servers send it as it is, newer ones as three octal digits."""
    client.execute('CREATE TABLE t (id bigint PRIMARY KEY, v "char", updated_at timestamp)')
    client.insert((1, "a", at(1)))
    client.execute('INSERT INTO t VALUES (2, (-56)::"char", now())')
    assert column(client.database, reader).to_list() in ([b"a", b"\xc8"], ["a", r"\310"])
