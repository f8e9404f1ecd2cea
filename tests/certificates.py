"""Certificates, the authorities that sign them, and TLS contexts that use them."""

from __future__ import annotations

import datetime as dt
import ssl
from functools import cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@cache
def authority() -> trustme.CA:
    """The one that tests share."""
    return trustme.CA()


@cache
def server_context(host: str = "127.0.0.1") -> ssl.SSLContext:
    """That of a server with a certificate for ``host``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(host).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    """That of a client which trusts the authority."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


class Files:
    """An authority, and the files of what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)
        self.settings = identity(folder, "localhost", "127.0.0.1", by=self.authority)
        self.cert, self.key = self.settings["tls_cert"], self.settings["tls_key"]

    def client(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """What a client that trusts the authority takes; of TLS only ``version``, where given."""
        context = ssl.create_default_context(cafile=self.ca)
        assert context.check_hostname
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


class Pair:
    """A certificate for ``names`` and its key, in files that may be replaced."""

    def __init__(self, folder: Path, stem: str, *names: str) -> None:
        self.cert, self.key = folder / f"{stem}.pem", folder / f"{stem}.key"
        self.names = names
        self.issue().write(self.cert, self.key)

    def issue(self, by: trustme.CA | None = None) -> Issued:
        """A new one, which is not written yet."""
        return Issued((by or authority()).issue_cert(*self.names))


class Issued:
    """A certificate and its key, before they are in files."""

    def __init__(self, issued: trustme.LeafCert) -> None:
        self.cert = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        self.key = issued.private_key_pem.bytes()
        self.leaf = issued.cert_chain_pems[0].bytes().decode().strip()

    def write(self, cert: Path, key: Path) -> None:
        """Write both, in place."""
        cert.write_bytes(self.cert)
        key.write_bytes(self.key)


def leaf_in(text: str) -> str:
    """The first certificate in a file or in what ``openssl s_client`` prints; empty if there is
    none."""
    _, head, rest = text.partition(ssl.PEM_HEADER)
    return head and head + rest[: rest.index(ssl.PEM_FOOTER)] + ssl.PEM_FOOTER


def revocations(by: trustme.CA, *revoked: bytes) -> bytes:
    """The authority's list of certificates that it has revoked, in PEM."""
    key = serialization.load_pem_private_key(by.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(by.cert_pem.bytes())
    now = dt.datetime.now(dt.UTC)
    crl = x509.CertificateRevocationListBuilder(
        issuer.subject, now - dt.timedelta(days=1), now + dt.timedelta(days=1)
    )
    for pem in revoked:
        number = x509.load_pem_x509_certificate(pem).serial_number
        entry = x509.RevokedCertificateBuilder(number, now - dt.timedelta(hours=1))
        crl = crl.add_revoked_certificate(entry.build())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return crl.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def encrypt(key: Path, to: Path, password: str, traditional: bool = False) -> None:
    """Write ``key`` to a file that has a password."""
    form = serialization.PrivateFormat
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    text = private.private_bytes(
        serialization.Encoding.PEM,
        form.TraditionalOpenSSL if traditional else form.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    to.write_bytes(text)


def identity(folder: Path, *names: str, by: trustme.CA | None = None) -> dict[str, str]:
    """The settings that name the files of a certificate for ``names``, signed by the authority that
    all tests share unless ``by`` is another one."""
    issued = (by or authority()).issue_cert(*names)
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(cert, append=True)
    issued.private_key_pem.write_to_path(key)
    return {"tls_cert": cert, "tls_key": key}
