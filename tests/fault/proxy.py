"""A TCP proxy on loopback that breaks a connection where a test says: after the n-th packet of the server.

    with Proxy(server.host, server.port, PostgresqlPackets) as proxy:
        proxy.cut_after(120, how="rst", torn=7)   # 120 whole packets, 7 bytes of the next, then a reset
        ...                                       # the client talks to proxy.host, proxy.port
        assert proxy.struck.wait(10)

Packets count over all connections, from 1. A fault strikes once; later connections pass, so that retries succeed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

How = Literal["rst", "fin", "blackhole"]
CHUNK_BYTES = 65_536
CLOSE_TIMEOUT_S = 5.0


class Packets(Protocol):
    """Cut one connection's server stream into packets; `client` sees what the other side asked for."""

    def client(self, data: bytes) -> None: ...
    def server(self, data: bytes) -> Iterator[bytes]: ...


class Chunks:
    """Count whatever one `recv` brought."""

    def client(self, data: bytes) -> None:
        pass

    def server(self, data: bytes) -> Iterator[bytes]:
        yield data


class PostgresqlPackets:
    """Messages of a type byte and a four-byte length that counts itself.

    The answer to an SSL or GSS request is one bare byte; after `S` or `G` the stream is encrypted, then it counts
    as chunks.
    """

    REQUESTS = (struct.pack(">ii", 8, 80877103), struct.pack(">ii", 8, 80877104))

    def __init__(self) -> None:
        self._buffer = b""
        self._asked = 0
        self._encrypted = False

    def client(self, data: bytes) -> None:
        if data in self.REQUESTS:
            self._asked += 1

    def server(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while self._buffer:
            size = self._size()
            if len(self._buffer) < size:
                return
            packet, self._buffer = self._buffer[:size], self._buffer[size:]
            yield packet

    def _size(self) -> int:
        if self._encrypted:
            return len(self._buffer)
        if self._asked:
            self._asked -= 1
            self._encrypted = self._buffer[:1] in (b"S", b"G")
            return 1
        if len(self._buffer) < 5:
            return 5
        return 1 + int(struct.unpack_from(">i", self._buffer, 1)[0])


class MysqlPackets:
    """Packets of a three-byte length, a sequence byte and the payload; without TLS and compression."""

    def __init__(self) -> None:
        self._buffer = b""

    def client(self, data: bytes) -> None:
        pass

    def server(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= 4:
            end = start + 4 + int.from_bytes(self._buffer[start : start + 3], "little")
            if len(self._buffer) < end:
                break
            yield self._buffer[start:end]
            start = end
        self._buffer = self._buffer[start:]


@dataclass(frozen=True, slots=True)
class Fault:
    at: int
    how: How
    torn: int = 0


class Connection:
    """One client's connection and the one behind it."""

    def __init__(self, client: socket.socket, server: socket.socket, packets: Packets) -> None:
        self.client = client
        self.server = server
        self.packets = packets
        self.closed = False

    def close(self, how: How = "fin") -> None:
        """Close both sides; a reset is what the client sees of a firewall or a killed server."""
        if self.closed:
            return
        self.closed = True
        if how == "rst":
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for side, direction in ((self.client, socket.SHUT_RD if how == "rst" else socket.SHUT_RDWR), (self.server, 2)):
            # Wakes the thread that waits in recv: the kernel resets only when nobody holds the socket any more.
            with contextlib.suppress(OSError):
                side.shutdown(direction)
            side.close()


class Proxy:
    """Forward connections to a server, count its packets, and strike when told."""

    def __init__(self, host: str, port: int, packets: Callable[[], Packets] = Chunks) -> None:
        self._target = (host, port)
        self._packets = packets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()[:2]
        self.struck = threading.Event()
        self.packets = 0
        self.accepted = 0
        self._changed = threading.Condition()
        self._fault: Fault | None = None
        self._flowing = threading.Event()
        self._flowing.set()
        self._bytes_per_s = 0.0
        self._refusing = False
        self._closing = threading.Event()
        self._connections: list[Connection] = []
        self._threads: list[threading.Thread] = []
        self._thread(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cut_after(self, packets: int, *, how: How = "rst", torn: int = 0) -> None:
        """Strike when that many more packets have passed whole; `torn` bytes of the next one go through too."""
        with self._changed:
            self.struck.clear()
            self._fault = Fault(self.packets + packets, how, torn)

    def cut_now(self, how: How = "rst") -> None:
        """Strike every open connection at once."""
        for connection in self._open():
            self._strike(connection, how)

    def blackhole(self) -> None:
        """Forward nothing more, in either direction, and keep connections open, until `heal`."""
        self._flowing.clear()

    def throttle(self, bytes_per_s: float) -> None:
        """Slow the server's side down."""
        self._bytes_per_s = bytes_per_s

    def refuse(self) -> None:
        """Reset every new connection until `heal`."""
        self._refusing = True

    def heal(self) -> None:
        """Forget faults; what a black hole held goes on."""
        with self._changed:
            self._fault = None
        self._bytes_per_s = 0.0
        self._refusing = False
        self._flowing.set()

    def wait_for_packets(self, packets: int, timeout_s: float = 10.0) -> bool:
        """Wait until that many packets have passed since the proxy began."""
        with self._changed:
            return self._changed.wait_for(lambda: self.packets >= packets, timeout_s)

    def close(self) -> None:
        self._closing.set()
        self._flowing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open():
            connection.close()
        for thread in self._threads:
            thread.join(CLOSE_TIMEOUT_S)

    def _open(self) -> list[Connection]:
        with self._changed:
            self._connections = [c for c in self._connections if not c.closed]
            return list(self._connections)

    def _thread(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                server = socket.create_connection(self._target, timeout=CLOSE_TIMEOUT_S)
            except OSError:
                server = None
            if server is None or self._refusing:
                Connection(client, server or socket.socket(), Chunks()).close("rst")
                continue
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(client, server, self._packets())
            with self._changed:
                self.accepted += 1
                self._connections.append(connection)
            self._thread(self._upward, connection)
            self._thread(self._downward, connection)

    def _upward(self, connection: Connection) -> None:
        for data in self._received(connection, connection.client):
            connection.packets.client(data)
            with contextlib.suppress(OSError):
                connection.server.sendall(data)

    def _downward(self, connection: Connection) -> None:
        for data in self._received(connection, connection.server):
            for packet in connection.packets.server(data):
                self._flowing.wait()
                if not connection.closed and self._forward(connection, packet) and self._bytes_per_s:
                    self._closing.wait(len(packet) / self._bytes_per_s)

    def _received(self, connection: Connection, side: socket.socket) -> Iterator[bytes]:
        try:
            while data := side.recv(CHUNK_BYTES):
                self._flowing.wait()
                yield data
        except OSError:
            pass
        finally:
            connection.close()

    def _forward(self, connection: Connection, packet: bytes) -> bool:
        """Send one packet, unless a fault is due before it; strike at once when it is due after it."""
        with self._changed:
            fault = self._fault
            due = fault is not None and self.packets >= fault.at
        with contextlib.suppress(OSError):
            connection.client.sendall(packet[: fault.torn] if fault and due else packet)
        if not due:
            with self._changed:
                self.packets += 1
                self._changed.notify_all()
            due = fault is not None and not fault.torn and self.packets >= fault.at
        if fault and due:
            self._strike(connection, fault.how)
        return not due

    def _strike(self, connection: Connection, how: How) -> None:
        with self._changed:
            self._fault = None
        self.struck.set()  # first: whoever sees the cut must find it set
        if how == "blackhole":
            self._flowing.clear()
        else:
            connection.close(how)
