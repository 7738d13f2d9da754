"""A pull that finds nothing is cheap: for the client's database, and in time."""

from __future__ import annotations

import statistics
import time

import pytest

from connector.model import Counters
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, at

PULLS = 20
LIMIT_MS = 30.0


@needs("server")
@pytest.mark.bench
def test_a_quiet_pull_takes_less_than_thirty_milliseconds(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.execute("CREATE INDEX changed ON t (updated_at, id)")
    client.insert(*((i, "v", at(i)) for i in range(1, 1001)))
    client.configure(batch_size=1000)
    client.succeed()
    times_ms = []
    for _ in range(PULLS):
        before = time.perf_counter()
        assert client.succeed().counters == Counters()
        times_ms.append((time.perf_counter() - before) * 1000)
    median_ms = statistics.median(times_ms)
    print(f"quiet pull, {client.engine.name}: median {median_ms:.1f} ms, fastest {min(times_ms):.1f} ms")
    assert median_ms < LIMIT_MS
