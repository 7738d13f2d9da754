"""What the operator is told when the YAML is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.config.load import ConfigProblems
from tests.unit.test_config import CLIENT, CONNECTOR, installation, loaded

TWO = CLIENT + (
    "  receipts:\n"
    "    entity: receipt\n"
    "    table: receipts\n"
    "    watermark: {column: id, by: id}\n"
    "    key: id\n"
    "    fields: {local_id: id, date: d, status: s, total: t}\n"
)


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigProblems) as caught:
        loaded(path)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return str(caught.value).splitlines()


def test_every_problem_of_every_file_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = installation(
        tmp_path,
        TWO.replace("engine: postgresql", "engine: postgrsql").replace("key: id\n", "key: id\n    batch_sise: 5\n"),
        CONNECTOR + "log: {format: jsn}\ndefualts: {}\n",
    )
    (path.parent / "clients" / "globex.yaml").write_text("client: globex\n")
    assert problems(path) == [
        "connector.yaml:2: log.format: must be one of 'console' or 'json'; did you mean \"json\"?",
        'connector.yaml:3: defualts: unknown key; did you mean "defaults"?',
        'clients/acme.yaml:2: source.engine: unknown engine; did you mean "postgresql"?',
        'clients/acme.yaml:16: streams.receipts.batch_sise: unknown key; did you mean "batch_size"?',
        "clients/globex.yaml:1: source: is required",
        "clients/globex.yaml:1: streams: is required",
    ]


STREAM = "streams.customers"


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("client: acme", "client: acme corp", "1: client: must begin with a letter or digit"),
        ("client: acme", f"client: {'a' * 65}", "1: client: is longer than 64 characters"),
        ("client: acme", "client: acme\nclient: acme", "2: client: is there twice; first on line 1"),
        ("  customers:", "  cust omers:", "5: streams.cust omers: must begin with a letter or digit"),
        ("tenant: {column: user_id, value: acme-corp}\n", "", "1: says nothing about the tenant"),
        ("{column: user_id, value: acme-corp}", "", "3: tenant: has no value"),
        ("{column: user_id, value: acme-corp}", "all", "3: tenant: must be one of 'none' or 'in_query'"),
        ("{column: user_id, value: acme-corp}", "[x]", "3: tenant: must be {column: ..., value: ...}, none, or in_"),
        ("{column: user_id, value: acme-corp}", "in_query", f"5: {STREAM}: reads a table, so its tenant can't be in_q"),
        ("value: acme-corp", "accept: [x]", "3: tenant.value: is required"),
        ("value: acme-corp", "value: 1.50", "3: tenant.value: must be a text, a whole number, true or false; quote it"),
        ("value: acme-corp", 'value: ""', "3: tenant.value: is empty"),
        ("value: acme-corp", "value: x, accept: [1.5]", "3: tenant.accept[0]: must be a text"),
        ("entity: customer", "entity: custmer", f'6: {STREAM}.entity: unknown entity; did you mean "customer"?'),
        ("entity: customer", "entity: zzz", f"6: {STREAM}.entity: unknown entity; one of customer, receipt"),
        ("engine: postgresql", "engine: zzz", "2: source.engine: unknown engine; one of mysql, postgresql, sqlite"),
        ("engine: postgresql, ", "", "2: source: needs an engine, or a url"),
        (", database: shop", "", "2: source: needs a database"),
        ("database: shop", "database: 1.50", "2: source.database: must be a text; quote it"),
        ("database: shop", "database: x, port: 99999", "2: source.port: must be at most 65535"),
        ("database: shop", "database: x, time_zone: Kyiv", 'unknown time zone; did you mean "Europe/Kyiv"?'),
        ("database: shop", "database: x, time_zone: ../../etc", "2: source.time_zone: unknown time zone"),
        (
            "client: acme",
            "client: acme\nregion: ua",
            "2: region: must be a country's two letters (ISO 3166), such as UA;",
        ),
        ("client: acme", "client: acme\nregion: ua", 'did you mean "UA"?'),
        ("client: acme", "client: acme\nregion: UK", 'did you mean "GB"?'),
        ("client: acme", 'client: acme\nregion: "+380"', 'did you mean "UA"?'),
        ("client: acme", "client: acme\nregion: 380", 'did you mean "UA"?'),
        (
            "client: acme",
            "client: acme\nregion: Ukraine",
            "2: region: must be a country's two letters (ISO 3166), such",
        ),
        ("client: acme", "client: acme\nregion: ZZ", "2: region: must be a country's two letters"),
        ("client: acme", "client: acme\nregion: [UA]", "2: region: must be a country's two letters"),
        ("key: customer_id", "key: id\n    region: true", f"10: {STREAM}.region: must be a country's two letters"),
        ("database: shop", "database: x, tls: {cert: c}", "2: source.tls: needs cert and key together"),
        ("database: shop", "database: x, tls: {mode: require, ca: c}", "2: source.tls.ca: is only used when"),
        ("database: shop", "database: x, limits: {read_timeout: 1s}", "2: source.limits.read_timeout: must not be sh"),
        ("database: shop", "database: x, limits: {snapshot_cap: 0}", "2: source.limits.snapshot_cap: must be more"),
        ("table: customers", "query: SELECT 1\n    table: customers", f"7: {STREAM}.query: stands beside table"),
        ("    table: customers\n", "", f"5: {STREAM}: needs a table or a query"),
        ("    fields: {local_id: customer_id}\n", "", f"5: {STREAM}: needs fields"),
        ("local_id: customer_id", "localid: x", f"10: {STREAM}.fields: lacks local_id, which this entity requires"),
        ("local_id: customer_id", "local_id: x, _key: x", f"10: {STREAM}.fields._key: must not begin with _"),
        (
            "local_id: customer_id",
            "local_id: {sql: x, sqll: y}",
            f"10: {STREAM}.fields.local_id.sqll: unknown key; did",
        ),
        ("local_id: customer_id", "local_id: [x]", f"10: {STREAM}.fields.local_id: must be a column name, {{column:"),
        ("key: customer_id", "key: []", f"9: {STREAM}.key: names no column; write `none`"),
        ("key: customer_id", "key: [a, a]", f"9: {STREAM}.key: names a column twice"),
        ("    key: customer_id\n", "", f"5: {STREAM}.key: is required"),
        ("by: timestamp", "by: date", f"8: {STREAM}.watermark.by: must be one of 'timestamp' or 'id'"),
        ("{column: updated_at, by: timestamp}", "updated_at", f"8: {STREAM}.watermark: must be a mapping"),
        ("key: customer_id", "key: id\n    schedule: {cron: x}", f"10: {STREAM}.schedule.cron: must have five fields"),
        ("key: customer_id", "key: id\n    schedule: {cron: 0 0 * * *, every: 1h}", f"{STREAM}.schedule.every: stands"),
        ("key: customer_id", "key: id\n    schedule: {every: 0}", f"10: {STREAM}.schedule.every: must be at least 1s"),
        ("key: customer_id", "key: id\n    look_back: soon", f"10: {STREAM}.look_back: must be a duration"),
        ("key: customer_id", "key: id\n    max_rejected: 2", f"10: {STREAM}.max_rejected: must be at most 1"),
        ("key: customer_id", "key: id\n    batch_size: yes", f"10: {STREAM}.batch_size: must be a whole number"),
        ("key: customer_id", "key: id\n    retries: 1.5", f"10: {STREAM}.retries: must be a whole number"),
        ("key: customer_id", "key: id\n    start: 1.5", f"10: {STREAM}.start: must be beginning, now, or a value"),
        ("key: customer_id", "key: id\n    renamed_from: customers", f"10: {STREAM}.renamed_from: names a stream that"),
        ("client: acme", "client: acme\nextra: 1", "2: extra: unknown key"),
        ("client: acme", "client: [", "is not YAML"),
        ("client: acme", "client: !!python/name:os.system x", "1: has a tag; only plain YAML is read here"),
        ("client: acme", "client: !!int x", "1: has a value that its tag does not fit"),
        ("client: acme", "? [a]\n: b", "1: a key must be a text"),
        ("client: acme", "client: &a [*a]", "1: an alias stands inside what it names"),
        ("client: acme", "client: a\0b", "is not YAML: it holds a character that YAML does not allow"),
    ],
)
def test_a_mistake_is_told_alone_with_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert CLIENT.count(old) == 1
    (found,) = problems(installation(tmp_path, CLIENT.replace(old, new)))
    assert found.startswith("clients/acme.yaml:")
    assert told in found


@pytest.mark.parametrize(
    "connector, told",
    [
        ("", "connector.yaml:1: is empty"),
        ("- x\n", "connector.yaml:1: must be a mapping of keys to values"),
        ("log: {}\n", "connector.yaml:1: store: is required"),
        (CONNECTOR + "clients: none/*.yaml\n", "connector.yaml:2: clients: no file matches"),
        (CONNECTOR + "daemon: {workers: 0}\n", "connector.yaml:2: daemon.workers: must be at least 1"),
        (CONNECTOR + "defaults:\n", "connector.yaml:2: defaults: has no value; give one or remove the line"),
        ("store: {path: x, min_free: much}\n", "connector.yaml:1: store.min_free: must be a size"),
        ("store: {path: x}\n---\nstore: {path: y}\n", "connector.yaml:2: is not YAML"),
    ],
)
def test_a_mistake_in_connector_yaml_is_told_alone(tmp_path: Path, connector: str, told: str) -> None:
    (found,) = problems(installation(tmp_path, connector=connector))
    assert found.startswith(told)


def test_a_missing_connector_yaml_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path) == ["connector.yaml:1: can't be read: no such file or directory"]


def test_a_file_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    path = installation(tmp_path)
    (path.parent / "clients" / "acme.yaml").write_bytes(b"client: \xff\xfe\n")
    assert problems(path) == ["clients/acme.yaml:1: is not UTF-8 text"]


def test_an_endless_file_is_a_problem(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    (found,) = problems(installation(tmp_path, bomb))
    assert "holds more than 100,000 values" in found


def test_a_deeply_nested_file_is_a_problem(tmp_path: Path) -> None:
    assert problems(installation(tmp_path, "[" * 5_000)) == ["clients/acme.yaml:1: is nested too deeply"]


def test_two_files_of_one_client_name_are_a_problem(tmp_path: Path) -> None:
    path = installation(tmp_path)
    (path.parent / "clients" / "other.yaml").write_text("# copied\n" + CLIENT)
    assert problems(path) == [
        "clients/other.yaml:2: client: another file has a client of this name: clients/acme.yaml:1"
    ]


def test_hidden_files_are_not_clients(tmp_path: Path) -> None:
    path = installation(tmp_path)
    (path.parent / "clients" / ".#acme.yaml").write_text("an editor's lock")
    assert len(loaded(path).clients) == 1


def test_two_streams_that_write_the_same_records_are_a_problem(tmp_path: Path) -> None:
    twin = CLIENT.partition("streams:\n")[2].replace("customers:", "again:", 1)
    (found,) = problems(installation(tmp_path, CLIENT + twin))
    assert found.startswith("clients/acme.yaml:11: streams.again: two streams would write the same records: customers ")


@pytest.mark.parametrize("difference", ["    tenant: {column: user_id, value: '42'}\n", "    tenant: none\n"])
def test_two_streams_of_different_tenants_are_not(tmp_path: Path, difference: str) -> None:
    twin = CLIENT.partition("streams:\n")[2].replace("customers:", "again:", 1)
    assert len(loaded(installation(tmp_path, CLIENT + twin + difference)).clients[0].streams) == 2


def test_two_heirs_of_one_stream_are_a_problem(tmp_path: Path) -> None:
    client = TWO.replace("    key:", "    renamed_from: old\n    key:")
    assert problems(installation(tmp_path, client)) == [
        "clients/acme.yaml:16: streams.receipts.renamed_from: is the former name of stream customers already"
    ]


def test_one_stream_without_a_tenant_is_named(tmp_path: Path) -> None:
    client = TWO.replace("tenant: {column: user_id, value: acme-corp}\n", "") + "    tenant: none\n"
    (found,) = problems(installation(tmp_path, client))
    assert found.startswith("clients/acme.yaml:4: streams.customers: says nothing about the tenant")


@pytest.mark.parametrize(
    "source, told",
    [
        ("{url: nonsense}", "2: source.url: is not a URL like engine://user:password@host:port/database"),
        ("{url: 'postgrsql://h/db'}", '2: source.url: unknown engine; did you mean "postgresql"?'),
        ("{url: 'postgresql://h/db', host: x}", "2: source.host: stands in the url already; write it in one place"),
        ("{url: 'postgresql://h'}", "2: source: needs a database"),
        (
            "{url: 'postgresql://h/db?sslmode=require&foo=bar'}",
            "2: source.url: must not carry options after ?: here sslmode is tls.mode",
        ),
        ("{url: 'postgresql://h/db?foo=bar'}", "2: source.url: must not carry options after ?"),
    ],
)
def test_a_url_that_does_not_fit_is_told(tmp_path: Path, source: str, told: str) -> None:
    client = CLIENT.replace("{engine: postgresql, host: db, database: shop}", source)
    assert problems(installation(tmp_path, client)) == [f"clients/acme.yaml:{told}"]
