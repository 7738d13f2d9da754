"""What a run came to: the connector's store and the control beside the final table."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connector.app import App, load_config
from connector.model import StreamId

CONTROL_MUST_LOSE = 100
"""Below it a run says nothing: the load was too light to lose anything by."""

VERSION_FIELD = "custom.ver"


@dataclass(frozen=True, slots=True)
class Held:
    """What the connector holds: the newest version by id, how often each was delivered, and how many rows it read."""

    newest: Mapping[int, int]
    deliveries: Mapping[tuple[int, int], int]
    read: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the table and one object of the JSON."""

    engine: str
    role: str
    profile: str
    topology: str
    written: int
    lost: int
    stale: int
    twice: int
    amplification: float
    idle_ms: float
    control_lost: int
    level: str
    pulls: int
    killed: int
    failed: int
    error: str = field(default="", repr=False)
    must_lose: int = CONTROL_MUST_LOSE

    @property
    def void(self) -> bool:
        """Say that the control lost too little for the run to prove anything."""
        return self.control_lost < self.must_lose

    @property
    def good(self) -> bool:
        return not (self.lost or self.stale or self.twice or self.void)


def held(config: Path, stream: StreamId) -> Held:
    """Read the store as it was left."""
    app = App(load_config(config))
    try:
        row = app.store.find_stream(stream)
        assert row is not None, "the stream was never pulled"
        newest = {
            int(record["local_id"]): int(record[VERSION_FIELD])
            for frame in app.store.iter_records(row)
            for record in frame.to_dicts()
        }
        deliveries: collections.Counter[tuple[int, int]] = collections.Counter()
        segment = 0
        while found := list(app.store.changes(segment)):
            for each in found:
                pairs = each.frame.select("local_id", VERSION_FIELD).rows()
                deliveries.update((int(key), int(version)) for key, version in pairs)
            segment = found[-1].segment_id
        read = sum(run.counters.read for run in app.store.runs(row, 1_000_000))
        return Held(newest, deliveries, read)
    finally:
        app.close()


def compared(truth: Mapping[int, int], found: Held) -> dict[str, Any]:
    """Count what is missing, what is of another version, what came more than once, and rows read for one change."""
    return {
        "lost": len(truth.keys() - found.newest.keys()),
        "stale": sum(found.newest.get(key, version) != version for key, version in truth.items()),
        "twice": sum(times > 1 for times in found.deliveries.values()),
        "amplification": round(found.read / max(1, sum(found.deliveries.values())), 2),
    }


def pulls(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up the runner's lines."""
    ended = [line for line in lines if line["state"] != "killed"]
    errors = [str(line["error"]) for line in ended if line["error"]]
    return {
        "idle_ms": round(statistics.median(line["ms"] for line in lines if line.get("last")), 1),
        "level": ", ".join(sorted({str(line["level"]) for line in ended})),
        "pulls": len(lines),
        "killed": len(lines) - len(ended),
        "failed": len(errors),
        "error": errors[-1] if errors else "",
    }
