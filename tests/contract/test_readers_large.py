"""Much of it: a million rows, and values of fifty megabytes, the same by both readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256

import polars as pl
import pytest

from connector.config.resolved import Field
from connector.source.select import Select
from tests.contract.conftest import LIMITS
from tests.contract.engines import ClientDatabase, needs
from tests.contract.pulling import FIELDS, Pulling, at
from tests.contract.types_reading import READERS, Reader, T, by, opened, outputs, wanted

PATIENT = replace(LIMITS, statement_timeout_s=240, read_timeout_s=270, snapshot_cap_s=600)

ROWS, SIZE = 1_000_000, 10_000
MILLION = {
    "postgresql": (
        f"generate_series(1, {ROWS}) AS seq",
        ("id", "bigint PRIMARY KEY", "seq"),
        ("n", "numeric(14, 4)", "(seq::int8 * 7919 % 100000007) / 10000.0"),
        ("f", "double precision", "sqrt(seq)"),
        ("b", "boolean", "seq % 3 = 0"),
        ("v", "text", r"CASE WHEN seq % 5 > 0 THEN repeat(chr(seq % 55000 + 1), seq % 9) || E'\\\t\n' END"),
        ("w", "varchar(40)", "CASE WHEN seq % 3 > 0 THEN md5(seq::text) ELSE '' END"),
        ("x", "bytea", "CASE WHEN seq % 7 > 0 THEN decode(md5(seq::text), 'hex') END"),
        ("s", "timestamp", "timestamp '2000-01-01' + seq * interval '1.000007 s'"),
        ("z", "timestamptz", "timestamptz '1999-01-01' + seq * interval '61 s'"),
        ("d", "date", "CASE WHEN seq % 11 > 0 THEN date '1900-01-01' + seq % 90000 ELSE 'infinity' END"),
        ("j", "jsonb", r"jsonb_build_object('k', seq % 13, 'e', E'\n')"),
    ),
    "mysql": (
        f"seq_1_to_{ROWS}",
        ("id", "bigint unsigned PRIMARY KEY", "seq"),
        ("n", "decimal(14, 4)", "(seq * 7919 % 100000007) / 10000"),
        ("f", "double", "SQRT(seq)"),
        ("b", "bit(3)", "seq % 8"),
        ("v", "text", r"IF(seq % 5 > 0, CONCAT(REPEAT(CHAR(seq % 55000 + 1 USING utf32), seq % 9), '\\\t\n'), NULL)"),
        ("w", "varchar(40)", "IF(seq % 3 > 0, MD5(seq), '')"),
        ("x", "varbinary(16)", "IF(seq % 7 > 0, UNHEX(MD5(seq)), NULL)"),
        ("s", "datetime(6)", "'2000-01-01' + INTERVAL seq * 1.000007 SECOND"),
        ("z", "timestamp NULL", "'1999-01-01 12:00:00' + INTERVAL seq MINUTE"),
        ("d", "date", "IF(seq % 11 > 0, '1900-01-01' + INTERVAL seq % 90000 DAY, '0000-00-00')"),
        ("j", "time(3)", "SEC_TO_TIME(CAST(seq AS SIGNED) % 3000000 - 500000.5)"),
    ),
}
"""Where a million numbers come from, and columns: their names, types, and what a number becomes."""


@pytest.mark.full  # 20 to 60 seconds an engine
@needs("server")
def test_a_million_rows_are_the_same_by_both_readers(database: ClientDatabase) -> None:
    numbers, *columns = MILLION[database.engine.name]
    with database.raw() as run:
        run("SET sql_mode = 'ALLOW_INVALID_DATES'" if "zero_dates" in database.engine.has else "SET timezone = 'UTC'")
        run(f"CREATE TABLE t ({', '.join(f'{name} {type_}' for name, type_, _ in columns)})")
        run(f"INSERT INTO t SELECT {', '.join(sql for *_, sql in columns)} FROM {numbers}")
    columnar, plain = (content(database, reader) for reader in READERS)
    assert columnar == plain
    rows, schemas, _ = columnar
    assert rows == ROWS
    assert len(schemas) == 1


def content(database: ClientDatabase, reader: Reader) -> tuple[int, set[str], str]:
    """Return how many rows a reader delivers, in columns of which types, and a hash of every value in order."""
    digest, rows, schemas = sha256(), 0, set()
    select = Select(T, outputs(*"id n f b v w x s z d j".split()), order=by("id"))
    with opened(replace(database.source, limits=PATIENT), reader) as session:
        for frame, _ in session.frames(select, wanted(session, select), SIZE):
            if not frame.height:
                continue
            assert frame["id"].to_list() == list(range(rows + 1, rows + 1 + frame.height))
            rows += frame.height
            schemas.add(str(frame.schema))
            shown = frame.with_columns(pl.col(pl.Binary).bin.encode("hex"))
            digest.update(shown.write_csv(include_header=False, null_value="\\N", quote_style="always").encode())
            digest.update(str(frame.null_count().row(0)).encode())
    return rows, schemas, digest.hexdigest()


# -- long values, from end to end

LONG = 50_000_000
PATTERN = "Привіт \\ \\n\t\r\n'\"😀 %s \\N "  # what some reader or other escapes, in characters of every length
BYTES = bytes(range(251))


@contextmanager
def long_values(client: Pulling) -> Iterator[tuple[str, bytes]]:
    """Give two long values that stand in the middle of a table, where the server sends and takes such."""
    text = PATTERN * (LONG // len(PATTERN.encode()) + 1)
    data = BYTES * (LONG // len(BYTES) + 1)
    mysql = "zero_dates" in client.has
    ((before,),) = client.execute("SELECT @@GLOBAL.max_allowed_packet" if mysql else "SELECT 0")
    if mysql:
        client.execute(f"SET GLOBAL max_allowed_packet = {256 * 1024 * 1024}")
    try:
        types = ("longtext CHARACTER SET utf8mb4", "longblob") if mysql else ("text", "bytea")
        client.execute(f"CREATE TABLE t (id BIGINT PRIMARY KEY, v {types[0]}, b {types[1]}, updated_at {{stamp}})")
        client.insert(*((i, f"v{i}", bytes([i]), at(i)) for i in range(1, 21)))
        unhexed = "UNHEX(REPEAT(%s, %s))" if mysql else "decode(repeat(%s, %s), 'hex')"
        for row, values in ((8, "v = REPEAT(%s, %s)"), (13, f"b = {unhexed}")):
            given = (PATTERN, len(text) // len(PATTERN)) if row == 8 else (BYTES.hex(), len(data) // len(BYTES))
            client.execute(f"UPDATE t SET {values} WHERE id = {row}", given)
        yield text, data
    finally:
        if mysql:
            client.execute(f"SET GLOBAL max_allowed_packet = {before}")


@pytest.mark.full  # about 10 seconds each
@needs("server")
@pytest.mark.parametrize("reader", READERS)
def test_values_of_fifty_megabytes_reach_the_store(client: Pulling, reader: Reader) -> None:
    with long_values(client) as (text, data):
        client.configure(
            source=replace(client.database.source, reader=reader, limits=PATIENT),
            fields={**FIELDS, "b": Field(column="b")},
        )
        assert client.succeed().counters.created == 20
        found = {record["local_id"]: (record["custom.v"], record["custom.b"]) for record in client.records()}
        expected = {str(i): (f"v{i}", f"{i:02x}") for i in range(1, 21)}
        expected["8"] = (text, "08")
        expected["13"] = ("v13", data.hex())
        for key, values in expected.items():
            assert [sha256(each.encode()).digest() for each in found.pop(key)] == [
                sha256(each.encode()).digest() for each in values
            ], key
        assert found == {}
        assert client.succeed().counters.created == 0
