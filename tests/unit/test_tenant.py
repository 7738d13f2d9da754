"""Which value selects a client's rows, and which returned values are the client's."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from connector.errors import ConfigError, TenantViolation
from connector.model import Column, Kind
from connector.source.tenant import recheck, spelled

UUID = "0123abcd-0000-4000-8000-00000000beef"


def column(kind: Kind, *, padded: bool = False) -> Column:
    return Column("owner", kind, kind.value, padded=padded)


@pytest.mark.parametrize(
    "value, kind, text",
    [
        ("acme", Kind.TEXT, "acme"),
        (" acme ", Kind.TEXT, " acme "),
        (42, Kind.TEXT, "42"),
        ("042", Kind.TEXT, "042"),
        (42, Kind.INTEGER, "42"),
        ("42", Kind.INTEGER, "42"),
        ("-7", Kind.INTEGER, "-7"),
        (2**64, Kind.DECIMAL, str(2**64)),
        (True, Kind.BOOLEAN, "true"),
        (UUID.upper(), Kind.UUID, UUID),
        (f"{{{UUID}}}", Kind.UUID, UUID),
    ],
)
def test_a_value_is_written_for_its_column(value: Any, kind: Kind, text: str) -> None:
    assert spelled(value, column(kind)) == text


@pytest.mark.parametrize(
    "value, kind",
    [
        ("042", Kind.INTEGER),
        ("42 ", Kind.INTEGER),
        ("4_2", Kind.INTEGER),
        ("٤٢", Kind.INTEGER),
        ("1e2", Kind.INTEGER),
        ("+1", Kind.INTEGER),
        ("-0", Kind.INTEGER),
        ("acme", Kind.DECIMAL),
        (1.5, Kind.DECIMAL),
        (42.0, Kind.INTEGER),
        (True, Kind.INTEGER),
        (True, Kind.TEXT),
        (1, Kind.BOOLEAN),
        ("true", Kind.BOOLEAN),
        ("not-a-uuid", Kind.UUID),
        ("acme", Kind.BYTES),
        ("2024-01-01", Kind.DATE),
        ("2024-01-01", Kind.TIMESTAMP),
        (1, Kind.FLOAT),
    ],
)
def test_a_value_that_would_have_to_change_is_refused_and_not_printed(value: Any, kind: Kind) -> None:
    with pytest.raises(ConfigError) as caught:
        spelled(value, column(kind))
    assert "owner" in str(caught.value)
    assert isinstance(value, bool | int) or str(value) not in str(caught.value)


def test_the_clients_own_rows_pass() -> None:
    recheck(pl.Series(["acme", "acme"]), ["acme"], column(Kind.TEXT))
    recheck(pl.Series([42, 42]), ["42"], column(Kind.INTEGER))
    recheck(pl.Series(["42.00"]), ["42"], column(Kind.DECIMAL))
    recheck(pl.Series(["acme   "]), ["acme"], column(Kind.TEXT, padded=True))
    recheck(pl.Series(["acme", "ACME"]), ["acme", "ACME"], column(Kind.TEXT))
    recheck(pl.Series([], dtype=pl.String), ["acme"], column(Kind.TEXT))


@pytest.mark.parametrize("foreign", ["Acme", "acme ", " acme", "acmé", "", None, "globex"])
def test_any_other_spelling_and_null_stop_the_stream(foreign: str | None) -> None:
    with pytest.raises(TenantViolation) as caught:
        recheck(pl.Series(["acme", foreign, "acme"]), ["acme"], column(Kind.TEXT))
    assert str(caught.value).startswith("1 of 3 rows")
    assert not foreign or len(foreign.strip()) < 6 or foreign not in str(caught.value)


def test_only_blanks_are_padding() -> None:
    with pytest.raises(TenantViolation):
        recheck(pl.Series(["acme\t"]), ["acme"], column(Kind.TEXT, padded=True))
    with pytest.raises(TenantViolation):
        recheck(pl.Series(["42.50"]), ["42"], column(Kind.DECIMAL))
