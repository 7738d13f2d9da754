"""Keys of every kind: the position is resumed in the database's own order, to the last digit and blank."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid

import psycopg
import pymysql
import pytest

from connector.config.resolved import Field
from connector.model import RunState
from tests.contract.engines import needs
from tests.contract.pulling import FIELDS, Pulling, ago, at

SPELLINGS = (
    "a A b B ä Ä aa Aa AB ab z Z ö Ö ß ss É é e E ñ n 10 9 1 02 2 _ - a-b a_b O'Brien x%s x%% \\ \\' ; --".split()
)


def both_ways(client: Pulling) -> None:
    """Pull with batches of one row and of three, the latter stopped and resumed, and compare."""
    client.configure(batch_size=1)
    client.succeed()
    assert client.final() == client.expected()
    client.execute(f"UPDATE t SET v = 'again', updated_at = '{ago(30)}'")
    client.configure(batch_size=3)
    client.stop_after(1)
    client.stop_after(2)
    client.succeed()
    assert client.final() == client.expected()


def test_a_composite_key_is_resumed_part_by_part(client: Pulling) -> None:
    client.execute(
        "CREATE TABLE t (a INT NOT NULL, b VARCHAR(9) NOT NULL, c INT NOT NULL, v {text}, "
        "updated_at {stamp}, PRIMARY KEY (a, b, c))"
    )
    joined = "a || '/' || b || '/' || c" if client.has.isdisjoint({"zero_dates"}) else "CONCAT(a, '/', b, '/', c)"
    client.configure(key=("a", "b", "c"), fields={**FIELDS, "local_id": Field(sql=joined)}, batch_size=2)
    rows = [(a, b, c, f"{a}{b}{c}", at(0)) for a in (1, 2) for b in "xyz" for c in (1, 2, 3)]
    client.insert(*rows)
    assert client.succeed().counters.created == 18
    assert client.final() == {f"{a}/{b}/{c}": v for a, b, c, v, _ in rows}


def test_a_key_that_holds_the_watermark_column_is_resumed(client: Pulling) -> None:
    client.execute(
        "CREATE TABLE t (id BIGINT NOT NULL, v {text}, updated_at {stamp} NOT NULL, PRIMARY KEY (updated_at, id))"
    )
    client.configure(key=("updated_at", "id"), batch_size=3)
    client.insert(*((i, f"v{i}", at(i // 4)) for i in range(1, 21)))
    assert client.succeed().counters.created == 20
    assert client.final() == client.expected()


def test_a_text_key_is_resumed_in_the_databases_collation(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id {name} PRIMARY KEY, v {text}, updated_at {stamp})")
    for spelling in SPELLINGS:
        with contextlib.suppress(psycopg.IntegrityError, pymysql.err.IntegrityError, sqlite3.IntegrityError):
            client.insert((spelling, "v", at(0)))  # a collation may take two spellings for one key
    assert len(client.expected()) > 20
    both_ways(client)


@pytest.mark.parametrize("collation", ["utf8mb4_bin", "utf8mb4_nopad_bin", "utf8mb4_unicode_ci", "latin1_swedish_ci"])
@needs("zero_dates")
def test_a_text_key_of_another_collation_is_resumed(client: Pulling, collation: str) -> None:
    client.execute(
        f"CREATE TABLE t (id VARCHAR(40) CHARACTER SET {collation.split('_', maxsplit=1)[0]} COLLATE {collation} "
        "PRIMARY KEY, v {text}, updated_at {stamp})"
    )
    words = {word.casefold().replace("\\'", "'"): word for word in SPELLINGS if word.isascii() and word != "\\"}
    blanks = ["q", "q ", "q  "] if "nopad" in collation else ["q"]
    client.insert(*((word, "v", at(0)) for word in [*words.values(), *blanks]))
    both_ways(client)


@needs("typed", "infinity")
def test_trailing_blanks_tell_text_keys_apart_where_they_do(client: Pulling) -> None:
    client.execute('CREATE TABLE t (id {name} COLLATE "C" PRIMARY KEY, v {text}, updated_at {stamp})')
    client.insert(*((f"q{' ' * i}", f"v{i}", at(0)) for i in range(10)))
    both_ways(client)


@needs("char")
def test_a_fixed_length_key_is_resumed(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id {char} PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(*((f"k{i}", f"v{i}", at(0)) for i in range(1, 14)))
    client.configure(batch_size=2)
    assert client.succeed().counters.created == 13
    assert {key.rstrip() for key in client.final()} == {key.rstrip() for key in client.expected()}


@needs("unsigned")
def test_unsigned_keys_above_the_signed_range_are_exact(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id {unsigned} PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(*((2**64 - i, f"v{i}", at(0)) for i in range(1, 8)), *((i, "low", at(0)) for i in range(4)))
    both_ways(client)


@needs("unsigned")
def test_unsigned_watermarks_above_the_signed_range_are_exact(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id {unsigned} PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(*((2**64 - i, f"v{i}", at(0)) for i in range(1, 8)))
    client.configure(by="id", watermark_column="id", batch_size=2, look_back_ids=3)
    client.succeed()
    assert client.final() == client.expected()
    assert client.mark() == str(2**64 - 1)
    client.succeed()


@needs("decimal")
def test_decimal_keys_beyond_every_integer_are_exact(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id {decimal} PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(*((10**29 + i, f"v{i}", at(0)) for i in range(1, 12)))
    both_ways(client)


@needs("decimal")
def test_a_decimal_watermark_is_exact(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, n DECIMAL(38, 4))")
    client.insert(*((i, f"v{i}", f"{10**30 + i // 3}.0001") for i in range(1, 20)))
    client.configure(by="id", watermark_column="n", batch_size=2, look_back_ids=1)
    client.succeed()
    assert client.final() == client.expected()
    assert client.mark() == f"{10**30 + 6}.0001"
    client.insert((99, "new", f"{10**30 + 7}.0001"))
    assert client.succeed().counters.created == 1


@needs("uuid")
def test_uuid_keys_are_resumed(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id {uuid} PRIMARY KEY, v {text}, updated_at {stamp})")
    client.insert(*((str(uuid.UUID(int=i * 2**121 + i)), f"v{i}", at(0)) for i in range(1, 31)))
    both_ways(client)


def test_binary_keys_are_resumed(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id {bytes} NOT NULL, v {text}, updated_at {stamp}, UNIQUE (id))")
    hexed = {"infinity": "encode(id, 'hex')"}.get("infinity" if "infinity" in client.has else "", "lower(hex(id))")
    client.configure(fields={**FIELDS, "local_id": Field(sql=hexed)}, batch_size=3)
    keys = [bytes([i, 0, 255 - i, 0x5C, 0x27, 0x25]) for i in range(0, 256, 11)]
    client.insert(*((key, f"v{i}", at(0)) for i, key in enumerate(keys)))
    assert client.succeed().counters.created == len(keys)
    assert set(client.final()) == {key.hex() for key in keys}


def test_a_key_column_that_may_be_null_is_refused(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT, v {text}, updated_at {stamp})")
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert "id may be NULL" in result.error


def test_a_null_in_a_views_key_stops_the_stream(client: Pulling) -> None:
    client.execute("CREATE TABLE base (id BIGINT, v {text}, updated_at {stamp})")
    client.execute("CREATE VIEW t AS SELECT * FROM base")
    client.insert((1, "a", at(1)), (None, "b", at(2)), table="base")
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert client.final() == {}
    assert client.watermark() is None


def test_a_key_that_is_not_unique_stops_the_stream(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT NOT NULL, v {text}, updated_at {stamp})")
    client.insert((1, "a", at(1)), (1, "b", at(2)))
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, 3)
    assert client.watermark() is None


@needs("server")
def test_a_float_key_is_refused(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id DOUBLE PRECISION NOT NULL, v {text}, updated_at {stamp}, PRIMARY KEY (id))")
    assert client.pull().exit_code == 2


@needs("zero_dates")
def test_an_enum_key_is_refused_since_it_sorts_by_number(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id ENUM('b', 'a') PRIMARY KEY, v {text}, updated_at {stamp})")
    result = client.pull()
    assert result.exit_code == 2
    assert "ENUM" in result.error
