"""The columnar reader behind PyMySQL: what it uses of the driver's insides, packets of every length, broken results.

A failure here after an upgrade of PyMySQL means that `packets.py` has to be read again beside the new version.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymysql.constants import CLIENT, COMMAND
from pymysql.protocol import MysqlPacket

from connector.config.resolved import Source, Tls
from connector.errors import SourceRefused, SourceUnavailable
from connector.registry import DIALECTS
from connector.source.dialects.mysql import packets
from connector.source.select import Output, Select, Statement
from connector.source.session import Session
from tests import servers
from tests.contract.conftest import LIMITS
from tests.contract.engines import ENGINES, ClientDatabase, needs
from tests.contract.test_readers import count
from tests.contract.test_source_tls import certificates
from tests.contract.types_reading import READERS, Reader, T, by, opened, outputs, read, wanted
from tests.servers import Server

LONGEST = 2**24 - 1
"""The most bytes that a packet carries; a longer row goes on in the next one."""

CHANGED = "PyMySQL is not what packets.py takes it for: "

each_reader = pytest.mark.parametrize("reader", READERS)
on_mysql = needs("zero_dates")


def driver_of(session: Session) -> Any:
    return session._connection.connection.driver_connection


# -- what is used of the driver


@on_mysql
def test_the_driver_has_what_is_used_of_it(database: ClientDatabase) -> None:
    used = "_execute_command _read_packet _next_seq_id _rfile _sock _force_close _read_timeout _result encoding cursor"
    with opened(database.source, "columnar") as session:
        driver = driver_of(session)
        assert [name for name in used.split() if not hasattr(driver, name)] == [], CHANGED + "names are gone"
        assert isinstance(driver._rfile, io.BufferedReader), CHANGED + "the socket is not buffered, or otherwise"
        assert isinstance(session.rows(Statement("SELECT 1")), list)
    assert {"read_length_encoded_integer", "is_error_packet"} <= set(dir(MysqlPacket)), CHANGED
    assert "unbuffered_active" in vars(pymysql.connections.MySQLResult(driver)), CHANGED + "results in work"
    error = b"\xff\x28\x04#42000not for people"
    with pytest.raises(pymysql.err.ProgrammingError) as caught:
        pymysql.err.raise_mysql_exception(error)
    assert caught.value.args[0] == 1064, CHANGED + "errors are read otherwise"


@on_mysql
def test_rows_follow_the_columns_descriptions_on_the_drivers_buffered_socket(database: ClientDatabase) -> None:
    with opened(database.source, "columnar") as session:
        driver = driver_of(session)
        driver._execute_command(COMMAND.COM_QUERY, driver.cursor().mogrify("SELECT %s, 'b%%', NULL", ("a'",)))
        assert driver._next_seq_id == 1, CHANGED + "packets are numbered otherwise"
        assert driver._read_packet().read_length_encoded_integer() == 3, CHANGED + "the first packet"
        descriptions = [driver._read_packet() for _ in range(4)]
        assert descriptions[-1].is_eof_packet(), CHANGED + "no packet ends the descriptions"
        assert driver._next_seq_id == 6, CHANGED + "packets are not counted"
        row, end = driver._rfile.read(11), driver._rfile.read(9)
        assert row == b"\7\0\0\6\2a'\2b%\xfb", CHANGED + "rows don't come next"
        assert (end[:5], len(end)) == (b"\5\0\0\7\xfe", 9), CHANGED + "no EOF packet ends the rows"
        driver._next_seq_id = 0
        assert session.rows(Statement("SELECT 'another'")) == [("another",)]


@on_mysql
def test_nothing_that_changes_the_form_of_packets_is_negotiated(database: ClientDatabase) -> None:
    """A compressed stream, or results without an EOF packet, would have to be read otherwise."""
    with opened(database.source, "columnar") as session:
        driver = driver_of(session)
        assert driver.server_capabilities & CLIENT.COMPRESS, "this server can't show that it isn't negotiated"
        assert not driver.client_flag & (CLIENT.COMPRESS | CLIENT.DEPRECATE_EOF | CLIENT.SESSION_TRACK), CHANGED
        assert session.rows(Statement("SHOW SESSION STATUS LIKE 'Compression'")) == [("Compression", "OFF")]
    with pytest.raises(NotImplementedError):  # should it come, it must not come by itself
        pymysql.connect(compress=True, defer_connect=True)


# -- rows of several packets


@dataclass(frozen=True)
class Long:
    """A MariaDB with a certificate whose packets may be long, and a table of rows around the limits of a packet."""

    server: Server
    database: ClientDatabase
    sizes: Sequence[int]


SIZES = (
    *(LONGEST - 4 + n for n in (-1, 0, 1)),  # a row of one column and its length: one packet, one and an empty, two
    *(LONGEST + n for n in (0, 1)),  # the length before the value takes three bytes, eight
    2 * LONGEST - 9,  # two full packets, and an empty one
    20_000_000,
)


@pytest.fixture(scope="module")
def long() -> Iterator[Long]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connector-tls-")))
        ca, cert, key = certificates(folder)
        tls = {"ssl-cert": str(cert), "ssl-key": str(key), "ssl-ca": str(ca)}
        server = stack.enter_context(servers.mariadb(settings={**tls, "max-allowed-packet": "128M"}))
        database = stack.enter_context(servers.fresh_database(server))
        source = Source("mysql", server.host, server.port, database.name, server.user, server.password, limits=LIMITS)
        client = ClientDatabase(ENGINES["mysql"], replace(source, tls=Tls("disable")), database.connect, server)
        client.execute("CREATE TABLE t (id INT PRIMARY KEY, v LONGBLOB)")
        sizes = [size for each in SIZES for size in (each, 1)]  # a short row after each
        for row, size in enumerate(sizes):
            repeated = f"REPEAT('{pattern(row).decode()}', {size // PERIOD + 1})"
            client.execute(f"INSERT INTO t VALUES ({row}, LEFT({repeated}, {size}))")
        yield Long(server, client, sizes)


PERIOD = 97
"""A length that divides no buffer's: bytes that are lost or come twice show."""


def pattern(row: int) -> bytes:
    return (
        bytes(33 + (row * 7 + n * n) % 90 for n in range(PERIOD))
        .replace(b"'", b"~")
        .replace(b"\\", b"~")
        .replace(b"%", b"~")
    )


@each_reader
@pytest.mark.parametrize("mode, type_", [("disable", "bytes"), ("require", "bytes"), ("require", "text")])
def test_rows_of_several_packets_are_whole(long: Long, reader: Reader, mode: Any, type_: str) -> None:
    value = Output("v", "v") if type_ == "bytes" else Output("v", sql="CONVERT(v USING utf8mb4)")
    select = Select(T, (value,), order=by("id"))
    found = []
    with opened(replace(long.database.source, tls=Tls(mode)), reader) as session:
        for frame, _ in session.frames(select, wanted(session, select), 2):
            found += [value if isinstance(value, bytes) else value.encode() for value in frame["v"]]
        assert bool(driver_of(session)._secure) is (mode == "require")
        assert session.rows(Statement("SELECT 'another'")) == [("another",)]
    assert [len(each) for each in found] == list(long.sizes)
    whole = [(pattern(row) * (size // PERIOD + 1))[:size] for row, size in enumerate(long.sizes)]
    assert [sha256(each).digest() for each in found] == [sha256(each).digest() for each in whole]


# -- results that break


@on_mysql
@each_reader
def test_an_error_within_a_result_is_an_error_and_leaves_the_connection_usable(
    database: ClientDatabase, reader: Reader
) -> None:
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
    database.insert("t", [(i,) for i in range(1, 301)])
    two_rows = "(SELECT x.id FROM t AS x WHERE s.id = 250 AND x.id <= 2)"
    chosen = (Output("id", "id"), Output("v", sql="REPEAT('x', 20000)"), Output("bad", sql=two_rows))
    select = Select(T, chosen, order=by("id"))
    heights: list[int] = []
    with opened(database.source, reader) as session:
        with pytest.raises(SourceRefused, match="1242"):
            count(session.frames(select, wanted(session, select), 10), heights)
        assert 0 < sum(heights) < 250
        session.open_snapshot()
        assert read(session, Select(T, outputs("id"), order=by("id"))).height == 300


@each_reader
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_dies_within_a_row_of_several_packets_never_ends_the_result(
    long: Long, reader: Reader, how: str
) -> None:
    select = Select(T, outputs("id", "v"), order=by("id"))
    with opened(long.database.source, reader) as session:
        result = session.frames(select, wanted(session, select), 1)
        taken = [next(result)]
        try:
            getattr(long.server, how)()
            with pytest.raises(SourceUnavailable):
                taken += result
        finally:
            long.server.kill()
            long.server.start()
    assert all(more for _, more in taken)
    assert sum(frame.height for frame, _ in taken) < len(long.sizes)


# -- the packets themselves


class Wire:
    """A driver, and a server that sends these bytes, in pieces of these sizes as long as there are any."""

    def __init__(self, sent: bytes, pieces: Sequence[int] = ()) -> None:
        self._stream = io.BytesIO(sent)
        self._pieces = iter(pieces)
        self._rfile = self
        self._next_seq_id = 0
        self.closed = False
        self.read = self._stream.read

    def read1(self, size: int) -> bytes:
        return self.read(min(size, next(self._pieces, size)))

    def _execute_command(self, command: int, sql: str) -> None:
        assert (command, sql) == (COMMAND.COM_QUERY, "SELECT")
        self._next_seq_id = 1

    def _read_packet(self) -> MysqlPacket:
        self._next_seq_id += 1
        return MysqlPacket(b"\1", "utf8")

    def _force_close(self) -> None:
        self.closed = True


END = b"\xfe\0\0\2\0"
ERROR = b"\xff" + (1317).to_bytes(2, "little") + b"#70100interrupted"


def packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number % 256]) + payload


def result(rows: Sequence[bytes], *, first: int = 4, end: bytes = END) -> bytes:
    """Write rows as the packets of a result of one column, which its own descriptions go before."""
    return b"".join(packet(first + n, payload) for n, payload in enumerate((*rows, end)))


ROWS = [b"\1%c" % (97 + n) for n in range(10)]


def taken(wire: Wire, size: int = 3) -> list[bytes]:
    rows, more = packets._Rows(wire, "SELECT", 1), True
    found: list[bytes] = []
    while more:
        some, more = rows.take(size)
        assert len(some) == size or not more
        found += some
    assert not wire.closed
    assert wire._next_seq_id == 0
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=300).map(lambda value: pymysql.connections._lenenc_int(len(value)) + value)),
    st.lists(st.integers(1, 50), max_size=60),
)
def test_rows_are_the_same_however_their_bytes_arrive(rows: list[bytes], pieces: list[int]) -> None:
    assert taken(Wire(result(rows), pieces)) == rows


def test_a_full_piece_says_whether_it_is_the_last_even_when_the_end_comes_late() -> None:
    whole = packets._Rows(Wire(result(ROWS), [1] * 100), "SELECT", 1)
    assert whole.take(len(ROWS)) == (ROWS, False)
    cut = packets._Rows(Wire(result(ROWS), [1] * 100), "SELECT", 1)
    assert cut.take(len(ROWS) - 1) == (ROWS[:-1], True)
    assert cut.take(len(ROWS)) == (ROWS[-1:], False)


def test_more_packets_than_numbers_are_counted_round() -> None:
    rows = [b"\1a"] * 1_000
    assert taken(Wire(result(rows))) == rows


BROKEN = {
    "cut between packets": result(ROWS)[: 6 * 4],
    "cut within a header": result(ROWS)[: 6 * 4 + 2],
    "cut within a row": result(ROWS)[: 6 * 4 + 5],
    "cut before the end": result(ROWS)[:-9],
    "cut within the end": result(ROWS)[:-1],
    "a row is missing": result(ROWS)[: 6 * 4] + result(ROWS)[6 * 5 :],
    "a row comes twice": result(ROWS)[: 6 * 4] + result(ROWS)[6 * 3 :],
    "a row is empty": result([*ROWS, b""]),
    "the end is no end": result(ROWS, end=END + bytes(20)),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("pieces", [(), [1] * 100], ids=["at once", "byte by byte"])
def test_a_result_that_is_not_whole_is_an_error(sent: bytes, pieces: Sequence[int]) -> None:
    with pytest.raises((SourceUnavailable, pymysql.err.OperationalError)) as caught:
        taken(Wire(sent, pieces))
    assert isinstance(DIALECTS["mysql"].translate(caught.value), SourceUnavailable)


def test_what_comes_with_the_end_and_after_it_is_an_error() -> None:
    with pytest.raises(SourceUnavailable):
        taken(Wire(result(ROWS) + packet(0, ERROR)))


@pytest.mark.parametrize("before", range(len(ROWS) + 1))
@pytest.mark.parametrize("number", [None, 0], ids=["numbered", "of a server that shuts down"])
def test_an_error_packet_is_an_error_wherever_it_stands(before: int, number: int | None) -> None:
    rows = result(ROWS)[: 6 * before]
    with pytest.raises(pymysql.err.MySQLError) as caught:
        taken(Wire(rows + packet(4 + before if number is None else number, ERROR)))
    assert caught.value.args[0] == 1317


def test_what_only_begins_like_an_end_or_an_error_is_a_row() -> None:
    """A first value of 16 MB or more begins as an EOF packet does, and its second packet may begin with anything."""
    for first in (b"\xff", b"\xfe", b"\xfb", b"\0"):
        value = b"v" * (LONGEST - 9) + first * 10
        row = pymysql.connections._lenenc_int(len(value)) + value
        parts = [row[:LONGEST], row[LONGEST:]]
        assert (row[:1], parts[1][:1]) == (b"\xfe", first)
        assert taken(Wire(result([b"\1a", *parts, b"\1b"]))) == [b"\1a", row, b"\1b"]
