"""The tenant filter: only this client's rows, in whatever type and spelling; never another's."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from connector.config.resolved import Tenant
from connector.model import RunResult, RunState
from connector.source.layout import Layout
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, at

OURS, OTHERS = uuid.UUID(int=2**127 + 5), uuid.UUID(int=2**127 + 6)


def shared(client: Pulling, type_: str, *values: Any, tenant: Tenant) -> None:
    """Create a table that tenants share, with three rows for each value of its tenant column."""
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, owner " + type_ + ", v {text}, updated_at {stamp})")
    client.insert(*((n * 10 + i, value, f"v{n}", at(i)) for n, value in enumerate(values) for i in range(3)))
    client.configure(tenant=tenant, batch_size=2)


def refused(client: Pulling) -> RunResult:
    """Pull, and insist that nothing was committed and the watermark stayed."""
    result = client.pull()
    assert result.state is RunState.FAILED
    assert client.final() == {}
    assert client.watermark() is None
    return result


def test_only_rows_of_the_tenant_are_read(client: Pulling) -> None:
    shared(client, "VARCHAR(20)", "acme", "globex", "acme-2", None, tenant=Tenant("owner", "acme"))
    assert client.succeed().counters.read == 3
    assert client.final() == client.expected("WHERE owner = 'acme'")


@pytest.mark.parametrize(
    "value", ["' OR 1=1 --", 'a"; DROP TABLE t; --', "100%", "%s", ":x", "?", "\\", "back\\'slash", "{x}"]
)
def test_a_tenants_value_is_never_sql(client: Pulling, value: str) -> None:
    shared(client, "VARCHAR(40)", value, "globex", tenant=Tenant("owner", value))
    assert client.succeed().counters.read == 3
    assert set(client.final()) == {"0", "1", "2"}


@needs("char")
def test_the_padding_of_a_fixed_length_column_means_nothing(client: Pulling) -> None:
    shared(client, "CHAR(12)", "acme", "globex", tenant=Tenant("owner", "acme"))
    assert client.succeed().counters.read == 3


def test_a_number_in_the_configuration_is_a_text_for_a_text_column(client: Pulling) -> None:
    """42 must neither match '42x', as comparing with a number would on some engines, nor '042'."""
    shared(client, "VARCHAR(20)", "42", "42x", "042", "42.0", tenant=Tenant("owner", 42))
    assert client.succeed().counters.read == 3
    assert set(client.final()) == {"0", "1", "2"}


@pytest.mark.parametrize("value", [42, "42"])
def test_a_whole_number_selects_in_a_number_column(client: Pulling, value: str | int) -> None:
    shared(client, "INT", 42, 43, tenant=Tenant("owner", value))
    assert client.succeed().counters.read == 3


@pytest.mark.parametrize("value", ["042", "42 ", "4.2e1", "globex", 42.0, True])
def test_a_value_that_a_number_column_can_t_hold_as_it_stands_is_refused(client: Pulling, value: Any) -> None:
    shared(client, "INT", 42, 43, tenant=Tenant("owner", value))
    result = refused(client)
    assert result.exit_code == 2
    assert "owner" in result.error
    assert str(value) not in result.error.replace("tenant.value", "")


@needs("decimal")
def test_a_decimal_column_may_write_the_number_with_zeros(client: Pulling) -> None:
    shared(client, "DECIMAL(12, 2)", 42, 43, tenant=Tenant("owner", 42))
    assert client.succeed().counters.read == 3


@needs("uuid")
@pytest.mark.parametrize("spelling", [str(OURS), str(OURS).upper(), OURS.hex, f"{{{OURS}}}"])
def test_a_uuid_selects_in_every_spelling(client: Pulling, spelling: str) -> None:
    shared(client, "{uuid}", str(OURS), str(OTHERS), tenant=Tenant("owner", spelling))
    assert client.succeed().counters.read == 3


@needs("uuid")
def test_a_boolean_column_can_tell_tenants_apart(client: Pulling) -> None:
    shared(client, "BOOLEAN", True, False, tenant=Tenant("owner", True))
    assert client.succeed().counters.read == 3


@needs("zero_dates")
def test_another_spelling_that_the_collation_takes_for_equal_stops_the_stream(client: Pulling) -> None:
    shared(client, "VARCHAR(20)", "acme", "Acme", tenant=Tenant("owner", "acme"))
    result = refused(client)
    assert result.exit_code == 3
    assert "accept" in result.error
    assert "Acme" not in result.error


@needs("zero_dates")
def test_trailing_blanks_are_another_spelling(client: Pulling) -> None:
    shared(client, "VARCHAR(20)", "acme", "acme ", tenant=Tenant("owner", "acme"))
    assert refused(client).exit_code == 3


@needs("zero_dates")
def test_accepted_spellings_are_read(client: Pulling) -> None:
    shared(client, "VARCHAR(20)", "acme", "Acme", "globex", tenant=Tenant("owner", "acme", accept=("Acme",)))
    assert client.succeed().counters.read == 6


def test_accepted_spellings_are_selected_where_the_database_tells_them_apart(client: Pulling) -> None:
    shared(client, "VARCHAR(20)", "acme", "acme-old", "globex", tenant=Tenant("owner", "acme", accept=("acme-old",)))
    assert client.succeed().counters.read == 6


def test_a_foreign_row_in_a_later_batch_stops_the_stream_and_keeps_the_watermark(client: Pulling) -> None:
    shared(client, "VARCHAR(20)", "acme", tenant=Tenant("owner", "acme"))
    client.succeed()
    before = client.watermark()
    client.insert(*((50 + i, "acme", "new", at(10 + i)) for i in range(4)), (60, "globex", "foreign", at(20)))
    client.patch.setattr(Layout, "where", property(lambda _: ()))
    assert client.pull().exit_code == 3
    assert client.watermark() == before
    assert "60" not in client.final()


def test_rows_of_others_are_noticed_even_when_the_filter_does_not_hold_them_back(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, owner VARCHAR(20), v {text}, updated_at {stamp})")
    client.insert((1, "acme", "a", at(1)), (2, "globex", "b", at(2)))
    client.configure(tenant=Tenant("owner", "acme"))
    client.patch.setattr(Layout, "where", property(lambda _: ()))
    result = refused(client)
    assert result.exit_code == 3
    assert "owner" in result.error
    assert "globex" not in result.error


def test_another_tenant_value_reads_that_tenants_rows_from_their_start(client: Pulling) -> None:
    shared(client, "VARCHAR(20)", "acme", "globex", tenant=Tenant("owner", "acme"))
    client.succeed()
    client.configure(tenant=Tenant("owner", "globex"))
    client.succeed()
    assert set(client.final()) >= {"10", "11", "12"}


def test_a_tenant_accepted_later_is_read_from_its_start(client: Pulling) -> None:
    shared(client, "VARCHAR(20)", "acme", "acme-old", tenant=Tenant("owner", "acme"))
    client.succeed()
    client.configure(tenant=Tenant("owner", "acme", accept=("acme-old",)))
    client.succeed()
    assert client.final() == client.expected()


def test_a_missing_tenant_column_is_named(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})")
    client.configure(tenant=Tenant("owner", "acme"))
    result = refused(client)
    assert result.exit_code in (2, 3)
    assert "owner" in result.error
