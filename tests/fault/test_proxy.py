"""The proxy breaks connections exactly where it is told to; without that, the fault tests prove nothing."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import psycopg
import pymysql
import pytest

from tests.fault.proxy import Chunks, MysqlPackets, PostgresqlPackets, Proxy
from tests.servers import Database

SERIES = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) SELECT n FROM s"


@pytest.fixture
def echo() -> Iterator[int]:
    """Serve an echo on loopback, a thread for each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1000):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo, MysqlPackets) as proxy:
        yield proxy


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=5)


def packet(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def received(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def echoed(proxy: Proxy) -> bytes:
    """Connect, send a packet and return what comes back."""
    with connected(proxy) as connection:
        connection.sendall(packet(b"one"))
        return received(connection, 7)


def test_an_untouched_connection_passes_and_is_counted(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        connection.sendall(packet(b"one") + packet(b"two"))
        assert received(connection, 14) == packet(b"one") + packet(b"two")
        assert proxy.wait_for_packets(2)
        assert (proxy.packets, proxy.accepted) == (2, 1)
        assert not proxy.struck.is_set()


def test_a_reset_comes_after_exactly_the_named_packet(proxy: Proxy) -> None:
    proxy.cut_after(2, how="rst")
    with connected(proxy) as connection:
        connection.sendall(packet(b"one"))
        assert received(connection, 7) == packet(b"one")
        assert not proxy.struck.is_set()
        connection.sendall(packet(b"two"))
        assert proxy.struck.wait(5)
        with pytest.raises(ConnectionResetError):
            received(connection, 100)
    assert proxy.packets == 2


def test_an_orderly_close_delivers_all_before_it(proxy: Proxy) -> None:
    proxy.cut_after(1, how="fin")
    with connected(proxy) as connection:
        connection.sendall(packet(b"one") + packet(b"two"))
        assert received(connection, 100) == packet(b"one")


def test_a_packet_can_be_torn(proxy: Proxy) -> None:
    proxy.cut_after(1, how="fin", torn=5)
    with connected(proxy) as connection:
        connection.sendall(packet(b"one") + packet(b"two"))
        assert received(connection, 100) == packet(b"one") + packet(b"two")[:5]
    assert proxy.packets == 1


def test_a_fault_strikes_once_and_a_retry_passes(proxy: Proxy) -> None:
    proxy.cut_after(0)
    with pytest.raises(ConnectionResetError):
        echoed(proxy)
    assert echoed(proxy) == packet(b"one")


def test_a_black_hole_is_silent_until_healed(proxy: Proxy) -> None:
    proxy.cut_after(1, how="blackhole")
    with connected(proxy) as connection:
        connection.sendall(packet(b"one") + packet(b"two"))
        assert received(connection, 7) == packet(b"one")
        assert proxy.struck.wait(5)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(5)
        proxy.heal()
        assert received(connection, 7) == packet(b"two")


def test_every_open_connection_can_be_cut_at_once(proxy: Proxy) -> None:
    with connected(proxy) as one, connected(proxy) as two:
        for connection in (one, two):
            connection.sendall(packet(b"here"))
            received(connection, 8)
        proxy.cut_now()
        for connection in (one, two):
            with pytest.raises(ConnectionResetError):
                connection.recv(1)


def test_new_connections_can_be_refused(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        echoed(proxy)
    proxy.heal()
    assert echoed(proxy) == packet(b"one")


def test_a_server_that_is_down_looks_like_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with Proxy("127.0.0.1", port) as proxy, pytest.raises(ConnectionResetError):
        echoed(proxy)


def test_a_throttled_server_takes_its_time(echo: int) -> None:
    with Proxy("127.0.0.1", echo, Chunks) as proxy, connected(proxy) as connection:
        proxy.throttle(bytes_per_s=50)
        connection.sendall(b"x" * 10)
        assert received(connection, 10) == b"x" * 10  # the pause of 0.2 s comes after it
        connection.sendall(b"y")
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_packets_are_the_same_however_the_stream_is_cut(step: int) -> None:
    mysql = [packet(b""), packet(b"abc"), packet(b"x" * 300)]
    postgresql = [b"R" + struct.pack(">i", 8) + b"\0\0\0\0", b"Z" + struct.pack(">i", 5) + b"I"]
    for splitter, packets in ((MysqlPackets(), mysql), (PostgresqlPackets(), postgresql)):
        stream = b"".join(packets)
        pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
        assert [found for piece in pieces for found in splitter.server(piece)] == packets


def test_the_bare_answer_to_an_ssl_request_is_a_packet() -> None:
    splitter = PostgresqlPackets()
    splitter.client(PostgresqlPackets.REQUESTS[0])
    ready = b"Z" + struct.pack(">i", 5) + b"I"
    assert list(splitter.server(b"N" + ready)) == [b"N", ready]


def test_postgresql_loses_its_connection_in_the_middle_of_a_result(postgresql_database: Database) -> None:
    server = postgresql_database.server
    with Proxy(server.host, server.port, PostgresqlPackets) as proxy:
        login = {"host": proxy.host, "port": proxy.port, "user": server.user, "password": server.password}
        with psycopg.connect(**login, dbname=postgresql_database.name) as connection:
            proxy.cut_after(500)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT g FROM generate_series(1, 1000) g").fetchall()
        assert proxy.struck.is_set()


def test_mariadb_loses_its_connection_in_the_middle_of_a_result(mariadb_database: Database) -> None:
    server = mariadb_database.server
    with Proxy(server.host, server.port, MysqlPackets) as proxy:
        connection = pymysql.connect(
            host=proxy.host, port=proxy.port, user=server.user, password=server.password, ssl_disabled=True
        )
        proxy.cut_after(500)
        with connection.cursor() as cursor, pytest.raises(pymysql.err.OperationalError):
            cursor.execute(SERIES)
        assert proxy.struck.is_set()
