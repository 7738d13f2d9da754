"""TLS modes against servers with a certificate of a private authority, by the drivers as they are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connector import clock
from connector.config.resolved import Limits, Source, Tls
from connector.errors import ConnectorError, SourceRefused
from connector.registry import DIALECTS
from connector.source.select import Statement
from connector.source.session import Door
from tests import provision, servers

ENCRYPTED = {
    "postgresql": "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mysql": "SELECT VARIABLE_VALUE <> '' FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'",
}


@dataclass(frozen=True)
class Certified:
    """A server that has a certificate for `localhost`, and the file of the authority that signed it."""

    source: Source
    ca: Path


@pytest.fixture(scope="module", params=["postgresql", "mysql"])
def certified(request: pytest.FixtureRequest) -> Iterator[Certified]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connector-tls-")))
        ca, cert, key = certificates(folder)
        if request.param == "postgresql":
            settings = {"ssl": "on", "ssl_cert_file": str(cert), "ssl_key_file": str(key)}
            server = stack.enter_context(servers.postgresql(durable=False, settings=settings))
        else:
            settings = {"ssl-cert": str(cert), "ssl-key": str(key), "ssl-ca": str(ca)}
            server = stack.enter_context(servers.mariadb(durable=False, settings=settings))
        database = stack.enter_context(servers.fresh_database(server))
        everything = "SELECT ON ALL TABLES IN SCHEMA public" if request.param == "postgresql" else "SELECT ON *"
        database.create_login("tls_reader", "secret", [everything])
        yield Certified(
            Source(
                request.param,
                host="localhost",
                port=server.port,
                database=database.name,
                user="tls_reader",
                password="secret",
                limits=Limits(connect_timeout_s=5, statement_timeout_s=10),
            ),
            ca,
        )


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Write an authority's certificate, and a server's with its key, which only the server's account may read."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = clock.now()

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def builder(subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        found = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named("test authority"))
        found = found.public_key(public).serial_number(x509.random_serial_number())
        return found.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))

    root = builder("test authority", authority.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    leaf = builder("localhost", key.public_key()).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
    )
    files = (folder / "ca.pem", folder / "server.pem", folder / "server.key")
    encoding = serialization.Encoding.PEM
    files[0].write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(encoding))
    files[1].write_bytes(leaf.sign(authority, hashes.SHA256()).public_bytes(encoding))
    files[2].write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    files[2].chmod(0o600)
    account = provision.unprivileged()
    if account is not None:
        for path in (folder, *files):
            os.chown(path, account.uid, account.gid)
    return files


def encrypted(source: Source) -> bool:
    with Door(DIALECTS[source.engine], source).session() as session:
        return str(session.rows(Statement(ENCRYPTED[source.engine]))[0][0]) in ("true", "1")


@pytest.mark.parametrize(
    "tls, expected",
    [(Tls("disable"), False), (Tls("prefer"), True), (Tls("require"), True)],
    ids=lambda value: getattr(value, "mode", str(value)),
)
def test_a_mode_without_verification_is_as_secret_as_it_says(certified: Certified, tls: Tls, expected: bool) -> None:
    assert encrypted(replace(certified.source, tls=tls)) is expected


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_certificate_of_the_named_authority_is_accepted(certified: Certified, mode: str) -> None:
    assert encrypted(replace(certified.source, tls=Tls(mode, ca=certified.ca)))  # type: ignore[arg-type]  # one of two


def test_verify_full_refuses_a_server_under_another_name(certified: Certified) -> None:
    elsewhere = replace(certified.source, host="127.0.0.1", tls=Tls("verify-full", ca=certified.ca))
    with pytest.raises(SourceRefused, match="TLS"):
        encrypted(elsewhere)
    assert encrypted(replace(elsewhere, tls=Tls("verify-ca", ca=certified.ca)))


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_certificate_of_another_authority_is_refused(certified: Certified, tmp_path: Path, mode: str) -> None:
    other, _, _ = certificates(tmp_path)
    with pytest.raises(SourceRefused, match="TLS"):
        encrypted(replace(certified.source, tls=Tls(mode, ca=other)))  # type: ignore[arg-type]  # one of two


def test_a_missing_ca_file_is_named_by_its_key(certified: Certified, tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match=r"source\.tls"):
        encrypted(replace(certified.source, tls=Tls("verify-full", ca=tmp_path / "none.pem")))
