"""The connector's side: a first pull of every tenant's stream, as a process of its own, into a new store."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.customers import TENANTS
from tests.bench.measure import Taken, taken
from tests.servers import Database

LOGIN, PASSWORD = "connector_bench", "bench"
COMMAND = (sys.executable, "-m", "connector", "pull", "bench", "--json")
CONFIG = "connector.yaml"
FIELDS = {
    "local_id": "customer_id",
    "first_name": "f_name",
    "middle_name": "m_name",
    "last_name": "l_name",
    "email": "email",
    "phone": "phone",
    "sex": "gender",
    "birth_date": "b_date",
    "country": "country",
    "area": "area",
    "city": "city",
    "zip": "post_index",
    "register_date": "reg_date",
    "tenant": "user_id",
    "changed": "updated_at",
    "balance": "balance",
}


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull took, and what it said about itself in its `--json`."""

    taken: Taken
    rows: int
    refused: int
    stages_s: dict[str, float]


def grant(database: Database) -> None:
    """Create the read-only login that the connector is given."""
    rights = ["SELECT ON ALL TABLES IN SCHEMA public" if database.server.engine == "postgresql" else "SELECT ON *"]
    database.create_login(LOGIN, PASSWORD, rights)


def configure(folder: Path, database: Database, table: str) -> Path:
    """Write an installation with one client and a stream for each tenant, and return its main file."""
    server = database.server
    client: dict[str, Any] = {
        "client": "bench",
        "source": {
            "engine": server.engine,
            "host": server.host,
            "port": server.port,
            "database": database.name,
            "user": LOGIN,
            "password": PASSWORD,
            "tls": {"mode": "disable"},
        },
        "streams": {
            tenant: {
                "entity": "customer",
                "table": table,
                "watermark": {"column": "updated_at", "by": "timestamp"},
                "key": "customer_id",
                "tenant": {"column": "user_id", "value": tenant},
                "fields": FIELDS,
            }
            for tenant in TENANTS
        },
    }
    (folder / "clients").mkdir(parents=True)
    # JSON is YAML, and needs no quoting rules of our own.
    (folder / "clients" / "bench.yaml").write_text(json.dumps(client, indent=1), encoding="utf-8")
    path = folder / CONFIG
    path.write_text(json.dumps({"store": {"path": "connector.db"}}), encoding="utf-8")
    return path


def environment(config: Path) -> dict[str, str]:
    """Return what tells the connector's commands which installation they work on."""
    return {"CONNECTOR_CONFIG": str(config)}


def pull(config: Path) -> Pulled:
    """Run `connector pull bench --json` against a store that does not exist yet."""
    result = taken(COMMAND, environment=environment(config), keep_output=True)
    stages: dict[str, float] = {}
    rows = refused = 0
    for run in _runs(result.output):
        counters = run.get("counters", run)
        rows += counters.get("read", 0)
        refused += counters.get("refused", 0)
        for stage, seconds in run.get("stages_s", {}).items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    return Pulled(result, rows, refused, stages)


def _runs(output: str) -> Iterator[dict[str, Any]]:
    """Yield every run in the output: one document that may be a list, or one a line."""
    try:
        documents = [json.loads(output)]
    except json.JSONDecodeError:
        documents = [json.loads(line) for line in output.splitlines() if line.startswith(("{", "["))]
    waiting: list[Any] = documents
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict) and ("stages_s" in value or "counters" in value):
            yield value
        elif isinstance(value, dict):
            waiting.extend(value.values())
