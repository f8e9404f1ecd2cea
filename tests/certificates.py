"""Certificates, the authorities that sign them, and TLS contexts that use them."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

import trustme

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


def identity(folder: Path, *names: str, by: trustme.CA | None = None) -> dict[str, str]:
    """The settings that name the files of a certificate for ``names``, signed by the authority that
    all tests share unless ``by`` is another one."""
    issued = (by or authority()).issue_cert(*names)
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(cert, append=True)
    issued.private_key_pem.write_to_path(key)
    return {"tls_cert": cert, "tls_key": key}
