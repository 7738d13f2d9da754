"""What `status` says about how late new versions came."""

from __future__ import annotations

import pytest

from connector.cli.show import _span
from tests.e2e.installation import Installation, sqlite_writer


def test_status_names_the_worst_lateness_of_the_streams_that_have_any(pulled: Installation) -> None:
    with sqlite_writer(pulled.store) as connection:
        streams = dict(connection.execute("SELECT name, stream_id FROM streams"))
        customers, receipts = streams["customers"], streams["receipts"]
        connection.execute("DELETE FROM lateness")
        buckets = [(customers, 0, 980, 0), (customers, 22, 15, 3_000_000), (customers, 30, 5, 720_000_000)]
        connection.executemany("INSERT INTO lateness VALUES (?, ?, ?, ?)", [*buckets, (receipts, 0, 7, 0)])
    plain, scripted = pulled.run_all(["status"], ["status", "--json"])
    told = [line for line in plain.out.splitlines() if "lateness" in line]
    assert told == ["  worst lateness seen: 12 min (99 % of 1,000 new versions within 3 s of the mark)"]
    found = {each["stream"]: each["lateness"] for each in scripted.document["streams"]}
    assert found == {
        "acme/customers": {"rows": 1000, "late": 20, "p50_us": 0, "p99_us": 3_000_000, "max_us": 720_000_000},
        "acme/receipts": {"rows": 7, "late": 0, "p50_us": 0, "p99_us": 0, "max_us": 0},
    }


@pytest.mark.parametrize(
    "time_us, words",
    [(1, "0.001 ms"), (40_000, "40 ms"), (1_500_000, "1.5 s"), (5_400_000_000, "1.5 h"), (86_400_000_000 * 9, "9 d")],
)
def test_times_are_written_in_the_greatest_unit_that_fits(time_us: int, words: str) -> None:
    assert _span(time_us) == words
