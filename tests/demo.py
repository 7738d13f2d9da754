"""`make demo`: a sample shop of two tenants is pulled, lives a day, and is pulled again.

The shipped example installation (`config/`) does it over SQLite; where PostgreSQL's programs are found, a private
server gets the same shop. Everything goes through the command line, as an operator would use it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests import provision, servers
from tests.shop import Shop

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "demo"
CUSTOMERS = 3_000
PASSWORD = "demo-password"  # of a private server that lives for seconds


def main() -> None:
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    say(f"A sample shop: {CUSTOMERS:,} customers and {CUSTOMERS * 2:,} receipts of two tenants in the same tables.")
    with contextlib.closing(sqlite3.connect(FOLDER / "shop.db")) as connection:
        shop = Shop(connection, "?", "TIMESTAMP")
        tell("SQLite", shop, ROOT / "config", "acme-shop")
    try:
        provision.programs(provision.POSTGRESQL, ("local",))
    except servers.ServersMissing:
        say("\nPostgreSQL's programs are not on this machine, so the second half of the demo is left out.")
    else:
        with servers.postgresql(ways=("local",)) as server, servers.fresh_database(server, "shop") as database:
            installation = configure_postgresql(server.port)
            with contextlib.closing(database.connect(autocommit=False)) as connection:
                shop = Shop(connection, "%s", "TIMESTAMP(6)")
                tell("a private PostgreSQL", shop, installation, "acme-pg", before_pull=lambda: grant(database))
    say(
        f"""
Where to look next
  .venv/bin/connector status                              every stream at a glance
  .venv/bin/connector check                               what the connector thinks of the source
  .venv/bin/connector preview acme-shop/customers         the exact SQL, ten masked rows
  .venv/bin/connector records acme-shop/customers         the newest records
  config/clients/acme-shop.yaml                           the whole configuration of this client
  config/examples/                                        files to start a real client from

The demo took {time.monotonic() - began:.0f} s; its files are in demo/."""
    )


def tell(source: str, shop: Shop, config: Path, client: str, before_pull: Any = lambda: None) -> None:
    """Build the shop, pull it, let it live a day, pull again; print what each pull did."""
    now = datetime.now(UTC).replace(tzinfo=None)
    shop.build(CUSTOMERS, now - timedelta(hours=1))
    before_pull()
    say(f"\n== {source} ==\nFirst pull: every row of tenant acme-corp, none of globex's.")
    show(config, connector(config, "pull", client))
    changes = shop.live_a_day(now)
    say(
        f"Another writer adds {changes.new_customers} customers and {changes.new_receipts} receipts and moves "
        f"{changes.changed_customers} customers, of both tenants. Second pull: what changed, and nothing else."
    )
    show(config, connector(config, "pull", client))
    say("Third pull, with nothing changed: the last 15 minutes are read again, and recognised.")
    show(config, connector(config, "pull", client))


def show(config: Path, document: dict[str, Any]) -> None:
    header = f"  {'stream':<22}{'read':>8}{'created':>9}{'changed':>9}{'unchanged':>11}{'refused':>9}{'seconds':>9}"
    say(header)
    for run in document["runs"]:
        counters = run["counters"]
        if run["state"] != "succeeded":
            sys.exit(f"demo: {run['error']}")
        words = (counters["read"], counters["created"], counters["updated"], counters["unchanged"], counters["refused"])
        read, created, updated, unchanged, refused = words
        say(
            f"  {run['stream']:<22}{read:>8,}{created:>9,}{updated:>9,}{unchanged:>11,}{refused:>9,}"
            f"{run['duration_s']:>9.2f}"
        )


def connector(config: Path, *words: str) -> dict[str, Any]:
    """Run the program as a process and return its JSON."""
    command = [sys.executable, "-m", "connector", "--config", str(config), *words, "--json"]
    environment = {**os.environ, "DEMO_PASSWORD": PASSWORD}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"demo: {' '.join(command)} ended with {done.returncode}\n{done.stderr}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def configure_postgresql(port: int) -> Path:
    """Write an installation beside the shop: the shipped client file with another source."""
    folder = FOLDER / "postgresql"
    (folder / "clients").mkdir(parents=True)
    (folder / "connector.yaml").write_text("store: {path: connector.db}\nlog: {level: warning}\n")
    shipped = (ROOT / "config" / "clients" / "acme-shop.yaml").read_text()
    source = "  engine: sqlite\n  database: ../../demo/shop.db\n"
    mine = (
        f"  engine: postgresql\n  host: 127.0.0.1\n  port: {port}\n  database: shop\n  user: connector\n"
        "  password: ${DEMO_PASSWORD}\n"
    )
    if source not in shipped:
        sys.exit("demo: config/clients/acme-shop.yaml no longer names the sample shop's file")
    text = shipped.replace(source, mine).replace("client: acme-shop", "client: acme-pg")
    (folder / "clients" / "acme-pg.yaml").write_text(text)
    return folder


def grant(database: servers.Database) -> None:
    """Give the platform what a client gives it: a login that may read."""
    database.create_login("connector", PASSWORD, ("SELECT ON ALL TABLES IN SCHEMA public",))


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
