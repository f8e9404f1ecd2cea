"""TLS contexts made from PEM files."""

from __future__ import annotations

import ssl
from pathlib import Path

from epollo.causes import cause_of
from epollo.errors import SettingError

ANY = "any"
"""Instead of a client's CA file: trust any server."""

_NOT_ITS_KEY = (
    "KEY_VALUES_MISMATCH",
    "KEY_TYPE_MISMATCH",
    "NO_CERTIFICATE_ASSIGNED",  # the key is of another type
)


def server_context(cert: str, key: str = "", ca: str = "") -> ssl.SSLContext:
    """A server's context for TLS 1.2 and later, made from PEM files.

    ``cert`` holds the certificate and its chain, and also its key unless ``key`` is given. With
    ``ca``, clients must present a certificate signed by a CA in this file. Raises SettingError
    that names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_certificate(context, cert, key)
    if ca:
        _load_authorities(context, ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: str = "", cert: str = "", key: str = "") -> ssl.SSLContext:
    """A client's context for TLS 1.2 and later, made from PEM files.

    ``ca`` holds the CAs to trust instead of the system's; ``"any"`` trusts any server. ``cert``
    and ``key`` are the client's own. Raises SettingError that names the file.
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
        raise SettingError("tls_key: needs a certificate; give tls_cert too")
    return context


def _no_password() -> str:
    raise SettingError("tls_key: the key is encrypted; remove the password: openssl pkey -in")


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
        raise SettingError(f"tls_ca: no certificate in {ca!r}; it must be PEM") from None


def _check_readable(name: str, path: str) -> None:
    try:
        if path:
            Path(path).open("rb").close()
    except OSError as error:
        raise SettingError(f"{name}: cannot read {path!r}: {cause_of(error)}") from None


def _load_fault(error: ssl.SSLError, cert: str, key: str) -> str:
    if error.reason in _NOT_ITS_KEY:
        return f"tls_key: {key or cert!r} is not the key of the certificate in {cert!r}"
    if b"CERTIFICATE" not in Path(cert).read_bytes():
        return f"tls_cert: no certificate in {cert!r}; it must be PEM"
    if not key and b"PRIVATE KEY" not in Path(cert).read_bytes():
        return f"tls_key: there is no key in {cert!r}; name the file that holds it"
    return f"tls_cert: no certificate and key in {cert!r} and {key or cert!r}; both must be PEM"
