"""PostgreSQL's types in the shared words, and a driver set-up that hands on the server's own text."""

from __future__ import annotations

from typing import Any

from psycopg import adapt, postgres
from psycopg.types import bool as bool_types
from psycopg.types import none as none_types
from psycopg.types import numeric, string
from sqlalchemy import Connection

from connector.model import Column, Kind
from connector.source.dialects.postgresql import encoding

KINDS = {
    "boolean": Kind.BOOLEAN,
    "smallint": Kind.INTEGER,
    "integer": Kind.INTEGER,
    "bigint": Kind.INTEGER,
    "oid": Kind.INTEGER,
    "numeric": Kind.DECIMAL,
    "real": Kind.FLOAT,
    "double precision": Kind.FLOAT,
    "text": Kind.TEXT,
    "character varying": Kind.TEXT,
    "bpchar": Kind.TEXT,
    "name": Kind.TEXT,
    "citext": Kind.TEXT,
    "uuid": Kind.UUID,
    "bytea": Kind.BYTES,
    "date": Kind.DATE,
    "timestamp without time zone": Kind.TIMESTAMP,
    "timestamp with time zone": Kind.TIMESTAMPTZ,
}
LOADERS: dict[str, type[adapt.Loader]] = {
    "int2": numeric.IntLoader,
    "int4": numeric.IntLoader,
    "int8": numeric.IntLoader,
    "oid": numeric.IntLoader,
    "float4": numeric.FloatLoader,
    "float8": numeric.FloatLoader,
    "bool": bool_types.BoolLoader,
    "bytea": string.ByteaLoader,
}
DAY_US = 86_400_000_000


def text_adapters() -> adapt.AdaptersMap:
    """Return adapters that decode integers, floats, booleans and bytes, and leave every other type as text.

    The server's text is exact for every type; Python's values are not (infinity, BC, numeric(30,20), 24:00, ranges).
    """
    adapters = adapt.AdaptersMap()
    for name, loader in LOADERS.items():
        adapters.register_loader(postgres.types[name].oid, loader)
    adapters.register_loader(0, encoding.TextLoader)  # every type without a loader of its own
    adapters.register_dumper(str, string.StrDumperUnknown)
    adapters.register_dumper(bytes, string.BytesBinaryDumper)
    adapters.register_dumper(int, numeric.IntDumper)
    adapters.register_dumper(type(None), none_types.NoneDumper)
    return adapters


def columns(connection: Connection, cursor: Any) -> tuple[Column, ...]:
    """Describe a cursor's columns; the catalogue names types that are not built in."""
    description = cursor.description or ()
    oids = sorted({column.type_code for column in description})
    if not oids:
        return ()
    found = connection.exec_driver_sql(
        "SELECT t.oid::int8, pg_catalog.format_type(t.oid, -1), t.typtype::text FROM pg_catalog.pg_type t "
        f"WHERE t.oid IN ({', '.join(['%s'] * len(oids))})",
        tuple(oids),
    )
    names = {oid: (native, typtype) for oid, native, typtype in found}
    driver: Any = connection.connection.driver_connection
    return tuple(
        _column(encoding.received(driver, column.name), *names.get(column.type_code, ("text", "b")))
        for column in description
    )


def _column(name: str, native: str, typtype: str) -> Column:
    kind = Kind.TEXT if typtype == "e" else KINDS.get(native.removeprefix("public."), Kind.OTHER)
    return Column(
        name,
        kind,
        native,
        padded=native == "bpchar",
        unit_us=DAY_US if kind is Kind.DATE else 1,
    )
