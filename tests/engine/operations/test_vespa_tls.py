"""A cluster that takes only who shows a certificate: deploying and searching through it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engine.config import load_settings
from engine.errors import ConfigurationError, Unavailable
from engine.operations.vespa_cluster import build_cluster, deploy_faults, open_deployer, tls_context
from engine.settings import Settings
from tests.fakes.config_server import ConfigServer
from vespa_app.package import render

DAY = dt.timedelta(days=1)


@dataclass
class Authority:
    """Signs certificates for 127.0.0.1 and writes them as PEM files."""

    folder: Path

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.folder.name)])
        certificate = self._certificate(self.name, self.key, is_authority=True)
        self.ca_file = self._write("ca.pem", certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, who: str) -> tuple[str, str]:
        """The files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        signed = self._certificate(name, key, is_authority=False)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        signed_pem = signed.public_bytes(serialization.Encoding.PEM)
        return self._write(f"{who}.pem", signed_pem), self._write(f"{who}.key", pem)

    def _certificate(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=is_authority,
                    crl_sign=is_authority,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(self.key, hashes.SHA256())
        )

    def _write(self, name: str, text: bytes) -> str:
        self.folder.mkdir(exist_ok=True)
        path = self.folder / name
        path.write_bytes(text)
        return str(path)


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def address(ours: Authority) -> Iterator[str]:
    """A config server and container that ask for a certificate of ours."""
    certificate, key = ours.issue("vespa")
    config = uvicorn.Config(
        ConfigServer().app,
        host="127.0.0.1",
        port=0,
        log_level="critical",
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_ca_certs=ours.ca_file,
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    yield f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def settings(tmp_path: Path, address: str, **vespa: str) -> Settings:
    named = {f"vespa.{name}": value for name, value in vespa.items()}
    where = {"vespa.url": address, "vespa.config_url": address, "vespa.deploy_timeout_s": 5}
    return load_settings(tmp_path / "home", None, {**where, **named})


async def test_a_certificate_of_ours_deploys(tmp_path: Path, ours: Authority, address: str) -> None:
    certificate, key = ours.issue("scrubjay")
    chosen = settings(
        tmp_path, address, ca_file=ours.ca_file, certificate_file=certificate, key_file=key
    )
    async with open_deployer(chosen) as deployer:
        plan = await deployer.deploy([])
    assert plan.first


async def test_without_a_certificate_nothing_is_deployed(
    tmp_path: Path, ours: Authority, address: str
) -> None:
    chosen = settings(tmp_path, address, ca_file=ours.ca_file)
    async with open_deployer(chosen) as deployer:
        with pytest.raises(Unavailable, match="does not answer"), deploy_faults():
            await deployer.deploy([])


async def test_a_stranger_is_not_taken_for_the_cluster(
    tmp_path: Path, ours: Authority, address: str
) -> None:
    others = Authority(tmp_path / "others")
    certificate, key = ours.issue("scrubjay")
    chosen = settings(
        tmp_path, address, ca_file=others.ca_file, certificate_file=certificate, key_file=key
    )
    async with open_deployer(chosen) as deployer:
        with pytest.raises(Unavailable, match="does not answer"), deploy_faults():
            await deployer.deploy([])


def test_a_file_that_is_no_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate", encoding="utf-8")
    for named in ({"ca_file": str(tmp_path / "ca.pem")}, {"certificate_file": "/nowhere.pem"}):
        with pytest.raises(ConfigurationError, match="PEM files"):
            tls_context(settings(tmp_path, "https://127.0.0.1:1", **named))


def test_the_containers_speak_tls_where_a_folder_is_named(tmp_path: Path) -> None:
    chosen = settings(tmp_path, "https://127.0.0.1:1", tls_folder="/etc/vespa/tls")
    services = render([], build_cluster(chosen)).files["services.xml"]
    assert '<server id="default" port="8443">' in services
    assert "<certificate-file>/etc/vespa/tls/cert.pem<" in services
    assert "<client-authentication>need<" in services
