"""Secrets get in from outside, and never out again."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from connector.config import document, shape
from connector.config.load import ConfigProblems
from connector.config.schema import ClientFile, ConnectorFile
from connector.config.url import url_parts
from tests.unit.test_config import CLIENT, installation, loaded, only_client

SECRET = "hunter2-Zq"
SOURCE = "{engine: postgresql, host: db, database: shop}"


def with_source(source: str) -> str:
    return CLIENT.replace(SOURCE, source)


def test_a_password_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_PASSWORD", "012345")
    client = only_client(tmp_path, with_source('{engine: mysql, database: x, password: "${ACME_PASSWORD}"}'))
    assert client.source.password == "012345"


@pytest.mark.parametrize("content", ["a b\n", "a b\r\n", "a b"])
def test_a_password_comes_from_a_file_without_its_newline(tmp_path: Path, content: str) -> None:
    (tmp_path / "acme").write_bytes(content.encode())
    client = only_client(
        tmp_path, with_source(f'{{engine: mysql, database: x, password: "${{file:{tmp_path}/acme}}"}}')
    )
    assert client.source.password == "a b"


def test_a_secrets_relative_path_starts_at_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "acme").write_text("pw")
    client = only_client(tmp_path, with_source('{engine: mysql, database: x, password: "${file:../../acme}"}'))
    assert client.source.password == "pw"


@pytest.mark.parametrize("written", ["12345", "0123", "no", "2024-01-01", "1e5", "12:30", "'${X}'", "$${X}"])
def test_a_password_is_the_text_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("X", "x")
    client = only_client(
        tmp_path, CLIENT.replace(f"source: {SOURCE}", f"source:\n  engine: mysql\n  database: x\n  password: {written}")
    )
    assert client.source.password == {"'${X}'": "x", "$${X}": "${X}"}.get(written, written)


def test_numbers_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "5433")
    assert only_client(tmp_path, with_source('{engine: mysql, database: x, port: "${PORT}"}')).source.port == 5433


def test_a_tenant_from_the_environment_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT", "42")
    (stream,) = only_client(tmp_path, CLIENT.replace("acme-corp", '"${TENANT}"')).streams
    assert stream.tenant is not None
    assert stream.tenant.value == "42"


def test_any_password_fits_into_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "p@:/?#[%41 é")
    source = only_client(tmp_path, with_source('{url: "postgresql://u:${PW}@h:5432/db"}')).source
    assert (source.password, source.host, source.port) == ("p@:/?#[%41 é", "h", 5432)


def test_a_url_may_be_one_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p%40w@h/db")
    source = only_client(tmp_path, with_source('{url: "${DATABASE_URL}"}')).source
    assert (source.host, source.password) == ("h", "p@w")


def test_placeholders_of_a_query_are_no_secrets(tmp_path: Path) -> None:
    query = "SELECT * FROM t WHERE id > {$last_id} AND d > {$last_date}"
    (stream,) = only_client(tmp_path, CLIENT.replace("table: customers", f'query: "{query}"')).streams
    assert stream.query == query


@pytest.mark.parametrize(
    "written, told",
    [
        ("${NOT_SET}", "the environment variable NOT_SET is not set, or is empty"),
        ("${EMPTY}", "the environment variable EMPTY is not set, or is empty"),
        ("${file:/no/such/secret}", "/no/such/secret can't be read: no such file or directory"),
        ("${file:/dev/null}", "/dev/null is empty"),
        ("${}", "${ must be followed by NAME} or file:/path}"),
        ("${NOT-A-NAME}", "${ must be followed by NAME} or file:/path}"),
        ("x${", "${ must be followed by NAME} or file:/path}"),
    ],
)
def test_a_secret_that_is_not_there_is_the_only_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, told: str
) -> None:
    monkeypatch.setenv("EMPTY", "")
    for source, key in (
        (f'{{engine: mysql, database: x, password: "{written}"}}', "password"),
        (f'{{url: "mysql://u:{written}@h/db"}}', "url"),
        (f'{{engine: "{written}", database: x}}', "engine"),
    ):
        with pytest.raises(ConfigProblems) as caught:
            loaded(installation(tmp_path, with_source(source)))
        (problem,) = caught.value.problems
        assert str(problem).startswith(f"clients/acme.yaml:2: source.{key}: {told}")


PLACES = [
    *(f"source: {{engine: postgresql, database: x, {key}: '${{S}}'}}" for key in ("port", "time_zone", "nokey")),
    *(
        f"source: {{engine: postgresql, database: x, limits: {{{key}: '${{S}}'}}}}"
        for key in ("connections", "read_timeout")
    ),
    "source: '${S}'",
    "source: ['${S}']",
    "source: {engine: '${S}', database: x}",
    "source: {engine: postgresql, database: x, tls: {mode: '${S}'}}",
    "source: {engine: postgresql, database: x, tls: '${S}'}",
    "source: {engine: postgresql, database: x, password: ['${S}']}",
    "source: {engine: postgresql, database: x, password: {hunter2-Zq}}",
    "source: {engine: postgresql, database: x, password: {hunter2-Zq: 1, hunter2-Zq: 2}}",
    "source: {engine: postgresql, database: x, password:hunter2-Zq}",
    "source: {engine: postgresql, database: x, password: *hunter2-Zq}",
    "source: {engine: postgresql, database: x, password: !hunter2-Zq x}",
    "source: {engine: postgresql, database: x, password: %hunter2-Zq}",
    'source: {engine: postgresql, database: x, password: "hunter2-Zq}',
    "source: {engine: postgresql, database: x, password: 'hunter2-Zq' 'x'}",
    "source: {url: '${S}'}",
    "source: {url: 'postgresql://u:${S}@h:port/db'}",
    "source: {url: 'postgresql://u:hunter2-Zq@h:port/db'}",
    "source: {url: 'postgresql://u:x@hunter2-Zq@h/db'}",
    "source: {url: 'postgresql://u:x@h/db?password=hunter2-Zq'}",
    "source: {url: 'postgresql://u:x@h/db?hunter2-Zq=x'}",
    "source: {url: 'hunter2-Zq://u:x@h/db'}",
    "source: {url: ['${S}']}",
]


@pytest.mark.parametrize("source", PLACES)
def test_no_problem_tells_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setenv("S", SECRET)
    client = CLIENT.replace(f"source: {SOURCE}", source)
    with pytest.raises(ConfigProblems) as caught:
        loaded(installation(tmp_path, client))
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(caught.value.problems)
    assert "\nclients/acme.yaml:" in told or ": clients/acme.yaml:" in told
    assert SECRET not in told


@pytest.mark.parametrize(
    "line",
    [
        "client: '${S}!'",
        "tenant: '${S}'",
        "tenant: {column: '${S}', value: 1.5}",
        "streams: '${S}'",
        "streams: {a: '${S}'}",
        "streams: {a: {entity: '${S}', key: ['${S}', '${S}'], watermark: '${S}', start: 1.5, retries: '${S}'}}",
        "streams: {a: {fields: {x: ['${S}'], y: {sql: ['${S}']}}, schedule: {cron: '${S}', every: '${S}'}}}",
        "defaults: {null_watermarks: '${S}', look_back: '${S}', max_rejected: '${S}', batch_size: '${S}'}",
    ],
)
def test_no_problem_tells_a_secret_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setenv("S", SECRET)
    with pytest.raises(ConfigProblems) as caught:
        loaded(installation(tmp_path, f"source: {SOURCE}\n{line}\n"))
    assert SECRET not in str(caught.value) + repr(caught.value.problems)


def test_no_value_prints_a_secret(tmp_path: Path) -> None:
    client = with_source(f"{{url: 'postgresql://u:{SECRET}@h/db'}}")
    path = installation(tmp_path, client)
    config = loaded(path)
    assert config.clients[0].source.password == SECRET
    read = document.read(path.parent / "clients" / "acme.yaml")
    report = shape.FileReport(read, "acme.yaml")
    shaped = shape.shaped(read.data, ClientFile, report)
    assert shaped is not None
    assert SECRET in (shaped.source.url or "")
    for value in (config, shaped, shaped.source, read, report, url_parts(shaped.source.url or "")):
        assert SECRET not in f"{value!r} {value}"


def test_pydantics_own_error_does_not_print_a_secret() -> None:
    with pytest.raises(ValueError, match="validation error") as caught:
        ConnectorFile.model_validate({"store": {"path": [SECRET]}, "log": SECRET})
    assert SECRET not in str(caught.value)


def test_connector_yaml_may_hold_placeholders_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", str(tmp_path / "elsewhere"))
    config = loaded(installation(tmp_path, connector="store: {path: '${DATA}/connector.db'}"))
    assert config.store.path == tmp_path / "elsewhere" / "connector.db"
