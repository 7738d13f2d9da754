"""The sample shop: customers, products, receipts and lines of two tenants in the same tables.

Written with plain DB-API calls, so that one builder serves SQLite, PostgreSQL and MariaDB: `placeholder` is the
driver's. Everything is drawn from a seed; times are given.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

FIRST = "Olena Taras Maria Petro Iryna Andriy Sofia Danylo Zoë José Łukasz Anna".split()
LAST = "Shevchenko Kovalenko Nowak Müller O'Brien Petrosyan Dupont García Melnyk Bondar".split()
CITIES = (("Ukraine", "Kyivska", "Kyiv"), ("Poland", "Mazowieckie", "Warszawa"), ("Germany", "Bayern", "München"))
TENANTS = ("acme-corp", "globex")
TABLES = (
    """CREATE TABLE customers (
        customer_id BIGINT PRIMARY KEY, user_id VARCHAR(32) NOT NULL, f_name VARCHAR(64), m_name VARCHAR(64),
        l_name VARCHAR(64), email VARCHAR(128), phone VARCHAR(32), gender CHAR(1), b_date DATE, country VARCHAR(64),
        area VARCHAR(64), city VARCHAR(64), post_index VARCHAR(12), reg_date {stamp}, updated_at {stamp} NOT NULL,
        balance DECIMAL(12,2))""",
    """CREATE TABLE products (
        product_id BIGINT PRIMARY KEY, user_id VARCHAR(32) NOT NULL, name VARCHAR(64), price DECIMAL(12,2),
        updated_at {stamp} NOT NULL)""",
    """CREATE TABLE receipts (
        receipt_id BIGINT PRIMARY KEY, user_id VARCHAR(32) NOT NULL, customer_id BIGINT, number VARCHAR(32),
        created_at {stamp}, status VARCHAR(16), total DECIMAL(12,2), items INTEGER, currency CHAR(3),
        shop VARCHAR(64), updated_at {stamp} NOT NULL)""",
    """CREATE TABLE receipt_lines (
        receipt_id BIGINT NOT NULL, line_no INTEGER NOT NULL, user_id VARCHAR(32) NOT NULL, product_id BIGINT,
        quantity DECIMAL(12,3), amount DECIMAL(12,2), PRIMARY KEY (receipt_id, line_no))""",
    "CREATE INDEX customers_changed ON customers (user_id, updated_at, customer_id)",
    "CREATE INDEX receipts_changed ON receipts (user_id, updated_at, receipt_id)",
)


@dataclass(frozen=True, slots=True)
class Changes:
    """What another writer did to the shop."""

    new_customers: int
    changed_customers: int
    new_receipts: int


class Shop:
    """A shop in a database; `stamp` is the engine's type of a naive timestamp with microseconds."""

    def __init__(self, connection: Any, placeholder: str, stamp: str, seed: int = 7) -> None:
        self._connection = connection
        self._placeholder = placeholder
        self._stamp = stamp
        self._random = random.Random(seed)
        self._customers = 0
        self._receipts = 0

    def build(self, customers: int, now: datetime) -> None:
        """Create the tables and fill them: a product for every ten customers, two receipts for each customer."""
        for table in TABLES:
            self._execute(table.format(stamp=self._stamp))
        start = now - timedelta(days=30)
        for product in range(1, customers // 10 + 1):
            row = (product, TENANTS[product % 2], f"Product {product}", f"{product % 90 + 1}.50", _text(start))
            self._insert("products", [row])
        self.add_customers(customers, start, spread=timedelta(days=29))
        self.add_receipts(customers * 2, start, spread=timedelta(days=29))
        self._connection.commit()

    def add_customers(self, count: int, at: datetime, spread: timedelta = timedelta()) -> None:
        rows = []
        for index in range(count):
            self._customers += 1
            rows.append(self._customer(self._customers, at + spread * index / max(1, count)))
        self._insert("customers", rows)

    def add_receipts(self, count: int, at: datetime, spread: timedelta = timedelta()) -> None:
        receipts: list[tuple[object, ...]] = []
        lines: list[tuple[object, ...]] = []
        for index in range(count):
            self._receipts += 1
            customer = self._random.randint(1, self._customers)
            when = _text(at + spread * index / max(1, count))
            cents = [self._random.randint(100, 9_999) for _ in range(self._random.randint(1, 4))]
            total = f"{sum(cents) // 100}.{sum(cents) % 100:02d}"
            number = f"R-{self._receipts:06d}"
            shop = f"Shop {customer % 5}"
            tenant = TENANTS[customer % 2]
            receipts.append(
                (self._receipts, tenant, customer, number, when, "paid", total, len(cents), "EUR", shop, when)
            )
            for line, amount in enumerate(cents, 1):
                price = f"{amount // 100}.{amount % 100:02d}"
                lines.append((self._receipts, line, tenant, self._random.randint(1, 50), "1.000", price))
        self._insert("receipts", receipts)
        self._insert("receipt_lines", lines)

    def live_a_day(self, now: datetime) -> Changes:
        """Do what another writer does in a day: new customers and receipts, changed addresses, one bad record."""
        changed = range(1, self._customers, 41)
        for customer in changed:
            country, area, city = CITIES[self._random.randrange(len(CITIES))]
            self._execute(
                f"UPDATE customers SET country = {self._placeholder}, area = {self._placeholder}, "
                f"city = {self._placeholder}, post_index = {self._placeholder}, updated_at = {self._placeholder} "
                f"WHERE customer_id = {self._placeholder}",
                (country, area, city, f"{customer:05d}", _text(now), customer),
            )
        self.add_customers(60, now)
        self.add_receipts(150, now)
        self._connection.commit()
        return Changes(60, len(changed), 150)

    def _customer(self, number: int, updated: datetime) -> tuple[object, ...]:
        draw = self._random
        first, last = draw.choice(FIRST), draw.choice(LAST)
        country, area, city = draw.choice(CITIES)
        email = f"{first}.{last}{number}@example.com".replace("'", "")
        if number % 501 == 0:
            email = "not an address"  # refused by the core, with its reason
        born = datetime.fromisoformat("1950-01-01") + timedelta(days=draw.randrange(20_000))
        registered = datetime.fromisoformat("2012-01-01") + timedelta(seconds=draw.randrange(400_000_000))
        middle = draw.choice((None, draw.choice(FIRST)))
        phone = f"+38 (0{draw.randint(50, 99)}) {draw.randrange(10**7):07d}"
        address = (country, area, city, f"{draw.randrange(10**5):05d}")
        return (
            number,
            TENANTS[number % 2],
            first,
            middle,
            last,
            email,
            phone,
            draw.choice("MF"),
            born.strftime("%Y-%m-%d"),
            *address,
            _text(registered),
            _text(updated),
            f"{draw.randrange(10**6) / 100:.2f}",
        )

    def _insert(self, table: str, rows: list[tuple[object, ...]]) -> None:
        if not rows:
            return
        cursor = self._connection.cursor()
        marks = ", ".join([self._placeholder] * len(rows[0]))
        cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        cursor.close()

    def _execute(self, sql: str, binds: tuple[object, ...] = ()) -> None:
        cursor = self._connection.cursor()
        cursor.execute(sql, binds)
        cursor.close()


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
