"""What goes wrong at a client's, in our words: the class, one line, no value, no password."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest

from connector.config.resolved import Field
from connector.model import RunResult, RunState
from connector.source import session as sessions
from tests.contract.conftest import LIMITS
from tests.contract.engines import PASSWORD, needs
from tests.contract.pulling import FIELDS, Pulling, at
from tests.fault.proxy import MysqlPackets, PostgresqlPackets, Proxy

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"
SECRET = "value-of-a-row"


def failed(client: Pulling, exit_code: int, *words: str) -> RunResult:
    """Pull, and insist on the error's class and on words of its one line."""
    result = client.pull()
    assert (result.state, result.exit_code) == (RunState.FAILED, exit_code), result.error
    assert "\n" not in result.error
    assert PASSWORD not in result.error
    assert SECRET not in result.error
    assert result.error.startswith("acme/customers: ")
    for word in words:
        assert word in result.error
    assert len(result.error) < 300
    return result


@pytest.fixture
def table(client: Pulling) -> Pulling:
    client.execute(TABLE)
    client.insert((1, SECRET, at(1)))
    return client


@needs("server")
def test_a_wrong_password_is_for_people_to_mend(table: Pulling) -> None:
    table.configure(source=replace(table.database.source, password=f"{PASSWORD}-wrong"))
    failed(table, 3, "source.password")


@needs("server")
def test_an_unknown_login_is_for_people_to_mend(table: Pulling) -> None:
    table.configure(source=replace(table.database.source, user="nobody_of_ours"))
    failed(table, 3, "source.user")


@needs("server")
def test_an_unknown_database_is_for_people_to_mend(table: Pulling) -> None:
    table.configure(source=replace(table.database.source, database="no_such_database"))
    failed(table, 3, "database")


@needs("file")
def test_a_missing_file_is_for_people_to_mend(table: Pulling) -> None:
    table.configure(source=replace(table.database.source, database=str(table.folder / "none.db")))
    failed(table, 3, "source.database")


@needs("file")
def test_a_file_that_is_no_database_is_for_people_to_mend(table: Pulling) -> None:
    (table.folder / "text.db").write_text("not a database, whatever its name says" * 100)
    table.configure(source=replace(table.database.source, database=str(table.folder / "text.db")))
    failed(table, 3, "source.database")


@needs("server")
def test_an_unknown_host_may_be_known_later(table: Pulling) -> None:
    table.configure(source=replace(table.database.source, host="no-such-host.invalid"))
    failed(table, 4, "source.host")


@needs("server")
def test_a_closed_port_may_be_open_later(table: Pulling) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    table.configure(source=replace(table.database.source, host="127.0.0.1", port=port))
    failed(table, 4, "source.port")


def test_a_missing_table_is_named(table: Pulling) -> None:
    table.configure(table="no_such_table")
    failed(table, 3, "no_such_table")


@pytest.mark.parametrize("where", ["watermark_column", "key", "field"])
def test_a_missing_column_is_named(table: Pulling, where: str) -> None:
    missing = "no_such_column"
    changes: dict[str, Any] = {
        "watermark_column": missing,
        "key": (missing,),
        "field": {**FIELDS, "x": Field(column=missing)},
    }
    table.configure(**{where if where != "field" else "fields": changes[where]})
    failed(table, 3, missing)


@needs("server")
def test_a_missing_right_is_for_the_clients_dba(table: Pulling) -> None:
    server, source = table.database.server, table.database.source
    assert server is not None
    login = server.login(source.user)
    what = "t" if "infinity" in table.has else f"{server.quote(source.database)}.*"
    table.execute(f"REVOKE SELECT ON {what} FROM {login}")
    failed(table, 3)


@pytest.mark.parametrize("sql", ["no_such_function(id)", "id +", "(SELECT 1", "id FROM t --", "v; DROP TABLE t"])
def test_an_expression_that_is_no_sql_is_for_people_to_mend(table: Pulling, sql: str) -> None:
    table.configure(fields={**FIELDS, "x": Field(sql=sql)})
    result = table.pull()
    assert (result.state, result.exit_code) in ((RunState.FAILED, 2), (RunState.FAILED, 3)), result.error
    assert "\n" not in result.error
    assert table.expected() == {"1": SECRET}


@needs("infinity")
@pytest.mark.parametrize("sql", ["CAST(v AS int)", "CAST(v AS date)", "1 / (id - 1)"])
def test_an_expression_that_fails_on_a_row_does_not_print_the_row(table: Pulling, sql: str) -> None:
    table.configure(fields={**FIELDS, "x": Field(sql=sql)})
    failed(table, 3)


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Listen on a port, take connections, and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in taken:
                connection.close()


@needs("server")
@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up_in_time(
    table: Pulling, mode: Literal["disable", "prefer"]
) -> None:
    with silent() as port:
        source = table.database.source
        limits = replace(LIMITS, connect_timeout_s=2)
        tls = replace(source.tls, mode=mode)
        table.configure(source=replace(source, host="127.0.0.1", port=port, limits=limits, tls=tls))
        before = time.monotonic()
        failed(table, 4)
        assert time.monotonic() - before < 8


@needs("server")
@pytest.mark.parametrize(
    "packets",
    [3, 8, 26] + [pytest.param(packets, marks=pytest.mark.full) for packets in (1, 2, 4, 5, 6, 7, *range(10, 60, 4))],
)
def test_a_server_that_falls_silent_at_any_point_is_given_up_in_time(table: Pulling, packets: int) -> None:
    table.patch.setattr(sessions, "GRACE_S", 0.5)
    source = table.database.source
    kind = PostgresqlPackets if "infinity" in table.has else MysqlPackets
    with Proxy(source.host, source.port or 0, kind) as proxy:
        limits = replace(LIMITS, connect_timeout_s=2, statement_timeout_s=1, read_timeout_s=3)
        table.configure(source=replace(source, host=proxy.host, port=proxy.port, limits=limits))
        proxy.cut_after(packets, how="blackhole")
        results: list[RunResult] = []
        thread = threading.Thread(target=lambda: results.append(table.pull()), daemon=True)
        thread.start()
        thread.join(10)
        hung = thread.is_alive()
        proxy.cut_now()
        thread.join(10)
        assert not hung, f"still waiting 10 s after the server fell silent at packet {packets}"
        if proxy.struck.is_set():
            assert results[0].exit_code in (0, 4), results[0].error


@needs("server")
def test_a_server_that_freezes_between_batches_is_given_up_in_time(table: Pulling) -> None:
    table.patch.setattr(sessions, "GRACE_S", 0.5)
    table.insert(*((i, "v", at(i)) for i in range(2, 31)))
    source = table.database.source
    with Proxy(source.host, source.port or 0) as proxy:
        limits = replace(LIMITS, connect_timeout_s=2, statement_timeout_s=1, read_timeout_s=10)
        table.configure(source=replace(source, host=proxy.host, port=proxy.port, limits=limits))
        before = time.monotonic()
        result = table.pull(watch=lambda _: proxy.blackhole())
        assert (result.state, result.exit_code) == (RunState.FAILED, 4), result.error
        assert time.monotonic() - before < 6
        proxy.heal()
        rest = table.succeed()
        assert result.counters.read + rest.counters.read == 30
    assert table.final() == table.expected()
