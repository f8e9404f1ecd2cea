"""Contexts for TLS, made from PEM files."""

from __future__ import annotations

import ssl
from pathlib import Path

from epollo.errors import SettingError

ANY = "any"
"""In place of a client's file of authorities: trust whoever answers."""

_NOT_ITS_KEY = (
    "KEY_VALUES_MISMATCH",
    "KEY_TYPE_MISMATCH",
    "NO_CERTIFICATE_ASSIGNED",  # to a key of another type
)


def server_context(cert: str, key: str = "", ca: str = "") -> ssl.SSLContext:
    """A context for a server, of PEM files, with TLS 1.2 and later.

    ``cert`` holds the certificate and the chain behind it, ``key`` its key where ``cert`` does
    not. With ``ca``, only peers with a certificate of one of its authorities are let in. Raises
    SettingError that names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_certificate(context, cert, key)
    if ca:
        _load_authorities(context, ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: str = "", cert: str = "", key: str = "") -> ssl.SSLContext:
    """A context for a client, of PEM files, with TLS 1.2 and later.

    ``ca`` holds the authorities to trust in place of the system's; ``"any"`` trusts whoever
    answers. ``cert`` and ``key`` are the client's own. Raises SettingError that names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca == ANY:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca:
        _load_authorities(context, ca)
    else:
        context.load_default_certs()
    if cert:
        _load_certificate(context, cert, key)
    elif key:
        raise SettingError("tls_key: is of a certificate; give tls_cert too")
    return context


def _no_password() -> str:
    raise SettingError("tls_key: the key is encrypted; take the password away: openssl pkey -in")


def _load_certificate(context: ssl.SSLContext, cert: str, key: str) -> None:
    _check_readable("tls_cert", cert)
    _check_readable("tls_key", key)
    try:
        context.load_cert_chain(cert, key or None, password=_no_password)
    except ssl.SSLError as error:
        raise SettingError(_load_fault(error, cert, key)) from None


def _load_authorities(context: ssl.SSLContext, ca: str) -> None:
    _check_readable("tls_ca", ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError:
        raise SettingError(f"tls_ca: no certificate in {ca!r}; it has to be PEM") from None


def _check_readable(name: str, path: str) -> None:
    try:
        if path:
            Path(path).open("rb").close()
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise SettingError(f"{name}: cannot read {path!r}: {cause}") from None


def _load_fault(error: ssl.SSLError, cert: str, key: str) -> str:
    if error.reason in _NOT_ITS_KEY:
        return f"tls_key: {key or cert!r} is not the key of the certificate in {cert!r}"
    if not key and b"PRIVATE KEY" not in Path(cert).read_bytes():
        return f"tls_key: there is no key in {cert!r}; name the file that it is in"
    return f"tls_cert: no certificate and key in {cert!r} and {key or cert!r}; both have to be PEM"
