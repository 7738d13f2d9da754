"""What `status` says under its table of each stream: what is promised, how late new versions came, the last sweep."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.e2e.installation import Installation, sqlite_writer

EXACT_WITHIN = (
    "acme/customers: exact within 24 h: every committed insert and update is delivered, however long the transaction "
    "or wrong the clock, for rows dated within 24 h of the last pull; those dated earlier come at the sweep, every 24 h"
)
BOUNDED = "acme/receipts: bounded by 2 min: complete if clocks agree and statements write within 2 min of their stamp"
HOUR_US = 3_600_000_000


def change_watermark(installation: Installation, stream: str, **changes: Any) -> None:
    """Let a stream's stored watermark say something else."""
    with sqlite_writer(installation.store) as connection:
        (text,) = connection.execute("SELECT watermark FROM streams WHERE name = ?", (stream,)).fetchone()
        changed = json.dumps({**json.loads(text), **changes})
        connection.execute("UPDATE streams SET watermark = ? WHERE name = ?", (changed, stream))


def lines_of(out: str, stream: str) -> list[str]:
    """Return what stands under the table of one stream: its promise, and what is indented below."""
    lines = out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"{stream}: "))
    below = next((index for index, line in enumerate(lines[start + 1 :]) if not line.startswith("  ")), 0)
    return lines[start : start + 1 + below]


def test_status_names_the_worst_lateness_of_the_streams_that_have_any(pulled: Installation) -> None:
    with sqlite_writer(pulled.store) as connection:
        streams = dict(connection.execute("SELECT name, stream_id FROM streams"))
        customers, receipts = streams["customers"], streams["receipts"]
        connection.execute("DELETE FROM lateness")
        buckets = [(customers, 0, 980, 0), (customers, 22, 15, 3_000_000), (customers, 30, 5, 720_000_000)]
        connection.executemany("INSERT INTO lateness VALUES (?, ?, ?, ?)", [*buckets, (receipts, 0, 7, 0)])
    plain, scripted = pulled.run_all(["status"], ["status", "--json"])
    told = [line for line in plain.out.splitlines() if "lateness" in line]
    assert told == ["  worst lateness seen: 12 min (99 % of 1,000 new versions were at most 3 s late)"]
    found = {each["stream"]: each["lateness"] for each in scripted.document["streams"]}
    assert found == {
        "acme/customers": {"rows": 1000, "late": 20, "p50_us": 0, "p99_us": 3_000_000, "max_us": 720_000_000},
        "acme/receipts": {"rows": 7, "late": 0, "p50_us": 0, "p99_us": 0, "max_us": 0},
    }


def test_one_late_version_among_many_is_told_as_such(pulled: Installation) -> None:
    with sqlite_writer(pulled.store) as connection:
        (customers,) = connection.execute("SELECT stream_id FROM streams WHERE name = 'customers'").fetchone()
        connection.execute("DELETE FROM lateness")
        buckets = [(customers, 0, 999, 0), (customers, 16, 1, 40_000)]
        connection.executemany("INSERT INTO lateness VALUES (?, ?, ?, ?)", buckets)
    told = lines_of(pulled.run("status").out, "acme/customers")
    assert told[1:] == ["  worst lateness seen: 40 ms (99 % of 1,000 new versions were not late)"]


def test_status_says_what_each_level_promises_and_when_a_large_table_was_last_swept(pulled: Installation) -> None:
    swept = {"mark": "7", "clock_us": int(time.time() * 1e6) - 5 * HOUR_US}
    change_watermark(pulled, "customers", level="exact within", swept=swept)
    change_watermark(pulled, "receipts", level="bounded")
    plain, scripted = pulled.run_all(["status"], ["status", "--json"])
    assert lines_of(plain.out, "acme/customers") == [EXACT_WITHIN, "  last sweep: 5 h ago"]
    assert lines_of(plain.out, "acme/receipts") == [BOUNDED]
    customers, receipts = scripted.document["streams"]
    assert (customers["level"], receipts["level"]) == ("exact within 24 h", "bounded by 2 min")
    assert customers["promise"] == EXACT_WITHIN.removeprefix("acme/customers: ")
    assert customers["last_sweep"]
    assert receipts["last_sweep"] is None


def test_status_speaks_of_no_sweep_where_every_pull_looks_at_every_row(pulled: Installation) -> None:
    change_watermark(pulled, "customers", level="exact", swept={"mark": "7", "clock_us": int(time.time() * 1e6)})
    told = lines_of(pulled.run("status").out, "acme/customers")
    assert len(told) == 1
    assert told[0].startswith("acme/customers: exact: every committed insert and update is delivered")


def test_status_tells_the_look_back_that_a_stream_has_grown_to(pulled: Installation) -> None:
    change_watermark(pulled, "customers", look_back_us=HOUR_US)
    told = lines_of(pulled.run("status").out, "acme/customers")
    late = "rows that become visible more than 1 h late are found only at a reconciliation"
    assert told == [f"acme/customers: window of 1 h: {late}"]
