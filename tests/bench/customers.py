"""The table that the bench reads: 16 columns, four tenants 70/10/10/10 %, ties in `updated_at`.

Rows come from a seeded generator, one file in the tab-separated form that both COPY and LOAD DATA take. While it is
written, the keyset position after every batch is noted, so that the limit can read the same pages without searching.
"""

from __future__ import annotations

import datetime as dt
import random
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Database

BATCH_ROWS = 10_000
TENANTS = ("tenant-alpha", "tenant-beta", "tenant-gamma", "tenant-delta")
COLUMNS = (
    *("customer_id", "user_id", "f_name", "m_name", "l_name", "email", "phone", "gender", "b_date", "country"),
    *("area", "city", "post_index", "reg_date", "updated_at", "balance"),
)
FIRST = (
    "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth Олександр Марія William Barbara Richard "
    "Susan Joseph Jessica Thomas Sarah Łukasz Zoë Christopher Karen José Nancy Daniel Lisa Matthew Betty Anthony "
    "Margaret"
).split()
LAST = (
    "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson "
    "Anderson Thomas Taylor Moore Jackson Martin Шевченко Коваленко Müller Schäfer Nowak Kowalski Dupont "
    "O'Brien Ivanova Petrosyan"
).split()
PLACES = (
    ("Ukraine", "Kyivska oblast", "Kyiv"),
    ("Poland", "Mazowieckie", "Warszawa"),
    ("United States", "California", "San Francisco"),
    ("Germany", "Bayern", "München"),
    ("France", "Île-de-France", "Paris"),
    ("United Kingdom", "Greater London", "London"),
    ("Kazakhstan", "Almaty Region", "Almaty"),
    ("Spain", "Andalucía", "Sevilla"),
)
DOMAINS = ("example.com", "mail.example.org", "shop.example", "corp.example.net")
NULL = r"\N"

CREATE = {
    "postgresql": """
        CREATE TABLE {table} (
          customer_id bigint PRIMARY KEY, user_id varchar(32) NOT NULL, f_name varchar(64), m_name varchar(64),
          l_name varchar(64), email varchar(128), phone varchar(24), gender char(1), b_date date, country varchar(64),
          area varchar(64), city varchar(64), post_index varchar(12), reg_date timestamp,
          updated_at timestamp(6) NOT NULL, balance decimal(12, 2))""",
    "mysql": """
        CREATE TABLE {table} (
          customer_id bigint PRIMARY KEY, user_id varchar(32) NOT NULL, f_name varchar(64), m_name varchar(64),
          l_name varchar(64), email varchar(128), phone varchar(24), gender char(1), b_date date, country varchar(64),
          area varchar(64), city varchar(64), post_index varchar(12), reg_date datetime,
          updated_at datetime(6) NOT NULL, balance decimal(12, 2)) ENGINE = InnoDB CHARACTER SET utf8mb4""",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One keyset batch of one tenant; it begins after `(updated_at, customer_id)`, the first one after nothing."""

    tenant: str
    updated_at: str = ""
    customer_id: int = 0

    def select(self, table: str) -> str:
        after = (
            f" AND updated_at >= '{self.updated_at}'"
            f" AND (updated_at > '{self.updated_at}' OR customer_id > {self.customer_id})"
        )
        return (
            f"SELECT {', '.join(COLUMNS)} FROM {table} WHERE user_id = '{self.tenant}'"
            f"{after if self.updated_at else ''} ORDER BY updated_at, customer_id LIMIT {BATCH_ROWS}"
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """A written file and the pages that a tenant-wise reading of it consists of."""

    path: Path
    rows: int
    pages: tuple[Page, ...]
    counts: tuple[int, ...] = ()

    def count(self, tenant: str) -> int:
        """Return how many rows a tenant has."""
        return self.counts[TENANTS.index(tenant)]


def write(path: Path, rows: int) -> Sample:
    """Write `rows` customers; the same number gives the same bytes."""
    numbers = random.Random(42)
    updated_at = dt.datetime(2025, 1, 1)  # noqa: DTZ001 - the column is naive
    pages: dict[str, list[Page]] = {tenant: [Page(tenant)] for tenant in TENANTS}
    counts = dict.fromkeys(TENANTS, 0)
    last: dict[str, Page] = {}
    with path.open("w", encoding="utf-8") as file:
        for customer_id in range(1, rows + 1):
            if numbers.random() < 0.05:  # about 20 rows share a value, as a bulk update leaves them
                updated_at += dt.timedelta(microseconds=numbers.randrange(1, 30_000_000))
            tenant = TENANTS[0] if numbers.random() < 0.7 else TENANTS[numbers.randrange(1, 4)]
            stamp = updated_at.isoformat(sep=" ", timespec="microseconds")
            if counts[tenant] and counts[tenant] % BATCH_ROWS == 0:
                pages[tenant].append(last[tenant])
            counts[tenant] += 1
            if counts[tenant] % BATCH_ROWS == 0:
                last[tenant] = Page(tenant, stamp, customer_id)
            file.write(_line(numbers, customer_id, tenant, stamp))
    return Sample(
        path,
        rows,
        tuple(page for tenant in TENANTS for page in pages[tenant] if counts[tenant]),
        tuple(counts.values()),
    )


def _line(numbers: random.Random, customer_id: int, tenant: str, stamp: str) -> str:
    first, last = numbers.choice(FIRST), numbers.choice(LAST)
    country, area, city = numbers.choice(PLACES)
    mailbox = f"{first}.{last}".lower().replace("'", "")
    born = dt.date(1945, 1, 1) + dt.timedelta(days=numbers.randrange(24_000))
    registered = dt.datetime(2015, 1, 1)  # noqa: DTZ001 - the column is naive
    registered += dt.timedelta(seconds=numbers.randrange(300_000_000))
    values = (
        str(customer_id),
        tenant,
        first,
        NULL if numbers.random() < 0.7 else numbers.choice(FIRST),
        last,
        f"{mailbox}{numbers.randrange(10**6)}@{numbers.choice(DOMAINS)}",
        f"+{numbers.randrange(1, 99)}{numbers.randrange(10**9, 10**10)}",
        numbers.choice("MFMFU"),
        str(born),
        country,
        area,
        city,
        f"{numbers.randrange(1000, 99_999):05d}",
        str(registered),
        stamp,
        f"{numbers.randrange(-(10**6), 10**8) / 100:.2f}",
    )
    return "\t".join(values) + "\n"


def load(database: Database, table: str, sample: Sample) -> None:
    """Fill a table in the engine's fastest way, with the index that `check` advises."""
    database.execute(CREATE[database.server.engine].format(table=table))
    index = f"CREATE INDEX {table}_changed ON {table} (user_id, updated_at, customer_id)"
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        if database.server.engine == "postgresql":
            with cursor.copy(f"COPY {table} FROM STDIN") as copy, sample.path.open("rb") as file:
                while block := file.read(1 << 20):
                    copy.write(block)
            cursor.execute(index)
            cursor.execute(f"VACUUM (FREEZE, ANALYZE) {table}")
        else:
            cursor.execute(index)
            cursor.execute(f"LOAD DATA LOCAL INFILE '{sample.path}' INTO TABLE {table} CHARACTER SET utf8mb4")
            cursor.execute(f"ANALYZE TABLE {table}")
        cursor.execute(f"SELECT count(*) FROM {table}")
        assert cursor.fetchall()[0][0] == sample.rows
