"""What the operator's YAML comes to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from connector.config.duration import duration_s, size_bytes
from connector.config.load import ConfigProblems, load
from connector.config.resolved import (
    Client,
    Config,
    DaemonSettings,
    Field,
    Limits,
    Schedule,
    StoreSettings,
    Stream,
    Tenant,
)
from connector.config.schema import (
    DaemonSection,
    LimitsSection,
    ScheduleSection,
    Section,
    StoreSection,
    StreamOptions,
    json_schema,
    write_schemas,
)
from connector.model import StreamId

ENGINES = ("postgresql", "mysql", "sqlite")
ALIASES = {"postgres": "postgresql", "mariadb": "mysql"}
ENTITIES = {"customer": ["local_id"], "receipt": ["local_id", "date", "status", "total"]}
DATES = {"customer": ["register_date", "birth_date"], "receipt": ["date"]}
SHIPPED = Path(__file__).parents[2] / "config"

CONNECTOR = "store: {path: ../data/connector.db}\n"
CLIENT = """\
client: acme
source: {engine: postgresql, host: db, database: shop}
tenant: {column: user_id, value: acme-corp}
streams:
  customers:
    entity: customer
    table: customers
    watermark: {column: updated_at, by: timestamp}
    key: customer_id
    fields: {local_id: customer_id}
"""


def installation(folder: Path, client: str = CLIENT, connector: str = CONNECTOR) -> Path:
    """Write an installation of one client and return its connector.yaml."""
    (folder / "etc" / "clients").mkdir(parents=True, exist_ok=True)
    (folder / "etc" / "connector.yaml").write_text(connector)
    (folder / "etc" / "clients" / "acme.yaml").write_text(client)
    return folder / "etc" / "connector.yaml"


def loaded(path: Path) -> Config:
    return load(path, engines=ENGINES, entities=ENTITIES, aliases=ALIASES, dates=DATES)


def only_client(folder: Path, client: str = CLIENT, connector: str = CONNECTOR) -> Client:
    (found,) = loaded(installation(folder, client, connector)).clients
    return found


def only_stream(folder: Path, client: str = CLIENT, connector: str = CONNECTOR) -> Stream:
    (found,) = only_client(folder, client, connector).streams
    return found


def test_a_short_configuration_gets_every_default(tmp_path: Path) -> None:
    config = loaded(installation(tmp_path))
    assert config.path == tmp_path / "etc" / "connector.yaml"
    assert config.store == StoreSettings(path=tmp_path / "data" / "connector.db")
    assert config.daemon == DaemonSettings()
    (client,) = config.clients
    assert client.source.limits == Limits()
    assert client.streams == (
        Stream(
            id=StreamId("acme", "customers"),
            entity="customer",
            watermark_column="updated_at",
            by="timestamp",
            table="customers",
            key=("customer_id",),
            fields={"local_id": Field(column="customer_id")},
            tenant=Tenant("user_id", "acme-corp"),
        ),
    )


def test_a_folder_stands_for_its_connector_yaml(tmp_path: Path) -> None:
    path = installation(tmp_path)
    assert loaded(path.parent) == loaded(path)


def test_the_innermost_option_wins(tmp_path: Path) -> None:
    connector = CONNECTOR + "defaults: {batch_size: 1, retries: 1, max_equal: 1}\n"
    client = CLIENT + "    batch_size: 3\ndefaults: {batch_size: 2, retries: 2}\n"
    stream = only_stream(tmp_path, client, connector)
    assert (stream.batch_size, stream.retries, stream.max_equal) == (3, 2, 1)


def test_an_inner_cron_replaces_an_outer_interval_and_keeps_its_time_zone(tmp_path: Path) -> None:
    connector = CONNECTOR + "defaults: {schedule: {every: 1h, jitter: 5m, time_zone: Europe/Kyiv}}\n"
    stream = only_stream(tmp_path, CLIENT + '    schedule: {cron: "15 */4 * * *"}\n', connector)
    assert stream.schedule == Schedule(cron="15 */4 * * *", time_zone="Europe/Kyiv", jitter_s=300.0)


def test_an_inner_interval_replaces_an_outer_cron(tmp_path: Path) -> None:
    connector = CONNECTOR + 'defaults: {schedule: {cron: "0 * * * *"}}\n'
    stream = only_stream(tmp_path, CLIENT + "    schedule: {every: 90s}\n", connector)
    assert stream.schedule == Schedule(every_s=90.0)


def test_a_schedule_of_jitter_alone_keeps_the_default_interval(tmp_path: Path) -> None:
    assert only_stream(tmp_path, CLIENT + "    schedule: {jitter: 1m}\n").schedule == Schedule(
        every_s=only_stream(tmp_path).schedule.every_s, jitter_s=60.0
    )


@pytest.mark.parametrize(
    "written, expected",
    [
        (("", "", "", ""), ("UTC", "UTC")),
        (("Asia/Tokyo", "", "", ""), ("Asia/Tokyo", "Asia/Tokyo")),
        (("Asia/Tokyo", "Europe/Kyiv", "", ""), ("Europe/Kyiv", "Europe/Kyiv")),
        (("", "Europe/Kyiv", "Asia/Tokyo", ""), ("Europe/Kyiv", "Asia/Tokyo")),
        (("", "Europe/Kyiv", "Asia/Tokyo", "UTC"), ("Europe/Kyiv", "UTC")),
    ],
)
def test_a_streams_time_zone_is_the_nearest_one(
    tmp_path: Path, written: tuple[str, str, str, str], expected: tuple[str, str]
) -> None:
    outer, source, client, stream = written

    def zone(name: str) -> str:
        return f"time_zone: {name}" if name else ""

    text = CLIENT.replace("database: shop", f"database: shop, {zone(source)}")
    text += f"    {zone(stream)}\ndefaults: {{ {zone(client)} }}\n"
    found = only_client(tmp_path, text, CONNECTOR + f"defaults: {{ {zone(outer)} }}\n")
    assert (found.source.time_zone, found.streams[0].time_zone) == expected


@pytest.mark.parametrize(
    "written, expected",
    [
        (("", "", "", ""), None),
        (("PL", "", "", ""), "PL"),
        (("PL", "UA", "", ""), "UA"),
        (("PL", "UA", "DE", ""), "DE"),
        (("PL", "UA", "DE", "NO"), "NO"),
        (("", "UA", "", ""), "UA"),
    ],
)
def test_a_streams_region_is_the_nearest_one(
    tmp_path: Path, written: tuple[str, str, str, str], expected: str | None
) -> None:
    outer, client, defaults, stream = (f"region: {name}" if name else "" for name in written)
    text = f"{CLIENT}    {stream}\n{client}\ndefaults: {{ {defaults} }}\n"
    assert only_stream(tmp_path, text, CONNECTOR + f"defaults: {{ {outer} }}\n").region == expected


@pytest.mark.parametrize(
    "written, value",
    [
        ("42", 42),
        ('"42"', "42"),
        ("true", True),
        ("'true'", "true"),
        ("007", "007"),
        ("yes", "yes"),
        ("1_000", "1_000"),
    ],
)
def test_a_tenant_value_keeps_its_type(tmp_path: Path, written: str, value: object) -> None:
    client = CLIENT.replace("value: acme-corp", f"value: {written}, accept: [{written}]")
    tenant = only_stream(tmp_path, client).tenant
    assert tenant is not None
    assert (tenant.value, type(tenant.value)) == (value, type(value))
    assert (tenant.accept, type(tenant.accept[0])) == ((value,), type(value))


@pytest.mark.parametrize(
    "written, value",
    [("2024-01-01", "2024-01-01"), ("2024-01-01 10:00:00", "2024-01-01 10:00:00"), ("500", 500), ("now", "now")],
)
def test_a_start_stays_as_it_was_written(tmp_path: Path, written: str, value: str | int) -> None:
    assert only_stream(tmp_path, CLIENT + f"    start: {written}\n").start == value


@pytest.mark.parametrize("written, key", [("id", ("id",)), ("[a, b]", ("a", "b")), ("none", ()), ("[none]", ("none",))])
def test_a_key_is_a_name_a_list_or_none(tmp_path: Path, written: str, key: tuple[str, ...]) -> None:
    assert only_stream(tmp_path, CLIENT.replace("key: customer_id", f"key: {written}")).key == key


def test_keys_of_fields_are_text_whatever_yaml_thinks_of_them(tmp_path: Path) -> None:
    fields = only_stream(tmp_path, CLIENT.replace("{local_id: customer_id}", "{local_id: 1, no: yes, 7: on}")).fields
    assert fields == {"local_id": Field("1"), "no": Field("yes"), "7": Field("on")}


def test_a_streams_tenant_replaces_the_clients(tmp_path: Path) -> None:
    stream = only_stream(tmp_path, CLIENT + "    tenant: none\n")
    assert (stream.tenant, stream.tenant_in_query) == (None, False)


def test_a_query_may_filter_by_itself(tmp_path: Path) -> None:
    client = CLIENT.replace("table: customers", "query: SELECT 1").replace(
        "{column: user_id, value: acme-corp}", "in_query"
    )
    stream = only_stream(tmp_path, client.replace("    fields: {local_id: customer_id}\n", ""))
    assert (stream.tenant, stream.tenant_in_query, stream.fields) == (None, True, {})


def test_the_socket_waits_longer_than_the_statement(tmp_path: Path) -> None:
    client = CLIENT.replace("database: shop", "database: shop, limits: {statement_timeout: 10m}")
    limits = only_client(tmp_path, client).source.limits
    assert (limits.statement_timeout_s, limits.read_timeout_s) == (600.0, 630.0)


def test_paths_start_at_the_file_that_names_them(tmp_path: Path) -> None:
    client = CLIENT.replace("database: shop", "database: ../shop.db, tls: {mode: verify-ca, ca: ca.pem}")
    source = only_client(tmp_path, client).source
    assert source.database == str(tmp_path / "etc" / "shop.db")
    assert source.tls.ca == tmp_path / "etc" / "clients" / "ca.pem"


def test_a_linked_connector_yaml_keeps_its_own_folder(tmp_path: Path) -> None:
    """Kubernetes mounts configuration as links into a folder whose name changes."""
    path = installation(tmp_path)
    real = tmp_path / "..2026" / "connector.yaml"
    real.parent.mkdir()
    path.rename(real)
    path.symlink_to(real)
    assert loaded(path).store.path == tmp_path / "data" / "connector.db"


@pytest.mark.parametrize(
    "url, expected",
    [
        ("postgres://u:p%40w@h:1/db", ("postgresql", "h", 1, "db", "u", "p@w")),
        ("postgresql+psycopg://u@h/db", ("postgresql", "h", None, "db", "u", "")),
        ("mariadb://u:p?#/w@[::1]:3306/d%20b", ("mysql", "::1", 3306, "d b", "u", "p?#/w")),
    ],
)
def test_a_url_is_taken_apart(tmp_path: Path, url: str, expected: tuple[object, ...]) -> None:
    source = only_client(
        tmp_path, CLIENT.replace("{engine: postgresql, host: db, database: shop}", f'{{url: "{url}"}}')
    ).source
    assert (source.engine, source.host, source.port, source.database, source.user, source.password) == expected


def test_a_url_may_leave_parts_to_their_keys(tmp_path: Path) -> None:
    source = "{url: 'sqlite:///../shop.db', password: x}"
    found = only_client(tmp_path, CLIENT.replace("{engine: postgresql, host: db, database: shop}", source)).source
    assert (found.engine, found.database, found.password) == ("sqlite", str(tmp_path / "etc" / "shop.db"), "x")


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    client = CLIENT.replace("customers:\n", "customers: &c\n") + "  more:\n    <<: *c\n    table: other\n"
    first, second = only_client(tmp_path, client).streams
    assert (first.table, second.table) == ("customers", "other")
    assert first.fields == second.fields


@pytest.mark.parametrize(
    "written, seconds",
    [("15m", 900), ("6h", 21_600), ("30s", 30), ("2d", 172_800), ("500ms", 0.5), ("1h30m", 5_400), (7, 7), (0.5, 0.5)],
)
def test_durations_are_read_in_their_units(written: str | float, seconds: float) -> None:
    assert duration_s(written) == seconds


@pytest.mark.parametrize("written", ["", "soon", "5x", "-1s", "1 h", "1h30", "367d", -5, "m", "1.s"])
def test_other_durations_are_refused(written: str | float) -> None:
    with pytest.raises(ValueError, match="must be"):
        duration_s(written)


@pytest.mark.parametrize(
    "written, size",
    [("256MB", 256_000_000), ("1GiB", 2**30), ("1.5 kb", 1_500), (1024, 1024), ("10k", 10_000), ("2Mi", 2 * 2**20)],
)
def test_sizes_are_read_in_their_units(written: str | float, size: int) -> None:
    assert size_bytes(written) == size


@pytest.mark.parametrize("written", ["", "MB", "1XB", "-1MB", "1e3", -5, "1BB"])
def test_other_sizes_are_refused(written: str | float) -> None:
    with pytest.raises(ValueError, match="must be"):
        size_bytes(written)


def test_the_shipped_configuration_loads() -> None:
    (client,) = loaded(SHIPPED).clients
    assert [str(stream.id) for stream in client.streams] == ["acme-shop/customers", "acme-shop/receipts"]
    assert client.source.database == str(SHIPPED.parent / "demo" / "shop.db")


def test_the_examples_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_PASSWORD", "one")
    monkeypatch.setenv("GLOBEX_PASSWORD", "t@o")
    path = tmp_path / "connector.yaml"
    path.write_text(f"store: {{path: c.db}}\nclients: {SHIPPED / 'examples' / '*.yaml'}\n")
    clients = {client.name: client for client in loaded(path).clients}
    assert clients["acme"].source.password == "one"
    assert clients["globex"].source.password == "t@o"
    assert {len(client.streams) for client in clients.values()} == {2}


def test_the_shipped_schemas_are_up_to_date(tmp_path: Path) -> None:
    """Run `connector schema --write config` when this fails."""
    write_schemas(tmp_path)
    for name in json_schema():
        assert (SHIPPED / name).read_text() == (tmp_path / name).read_text(), name


def test_the_schemas_hold_what_an_editor_needs() -> None:
    text = json.dumps(json_schema())
    assert '"type": "null"' not in text
    for name, schema in json_schema().items():
        sections = [schema, *schema["$defs"].values()]
        assert all(section["additionalProperties"] is False for section in sections), name
        for section in sections:
            for key, value in section["properties"].items():
                assert "description" in value or "$ref" in value, key
    stream = json_schema()["client.schema.json"]["$defs"]["StreamSection"]["properties"]
    assert (stream["batch_size"]["minimum"], stream["batch_size"]["maximum"]) == (1, 1_000_000)
    assert stream["renamed_from"]["pattern"] == "^[A-Za-z0-9][A-Za-z0-9_.-]*$"


@pytest.mark.parametrize(
    "section, resolved",
    [
        (StreamOptions, Stream),
        (LimitsSection, Limits),
        (DaemonSection, DaemonSettings),
        (StoreSection, StoreSettings),
        (ScheduleSection, Schedule),
    ],
)
def test_descriptions_name_the_true_defaults(section: type[Section], resolved: Any) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(resolved)}
    for name, described in section.model_fields.items():
        _, found, default = (described.description or "").rstrip(".").partition("Default: ")
        true = {unit: defaults[name + unit] for unit in ("", "_s", "_bytes") if name + unit in defaults}
        if not found or "'s" in default or "and" in default or name == "every":
            continue
        ((unit, value),) = true.items()
        told = duration_s(default) if unit == "_s" else size_bytes(default) if unit == "_bytes" else default
        assert told == (value if unit else str(value)), name


def test_nothing_of_a_failed_load_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblems):
        loaded(installation(tmp_path, CLIENT + "    batch_size: 0\n"))
    assert only_stream(tmp_path).batch_size == 10_000
