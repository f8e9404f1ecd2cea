"""TLS contexts made from PEM files."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from epollo.causes import cause_of
from epollo.certificate_names import names_in
from epollo.errors import SettingError
from epollo.server_names import Contexts, serve_by_name

ANY = "any"
"""Instead of a client's CA file: trust any server."""

TLS_1_2 = "1.2"
"""The lowest version, unless another is given."""

MIN_VERSIONS = {TLS_1_2: ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CLIENT_CERTS = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL}

_NOT_ITS_KEY = (
    "KEY_VALUES_MISMATCH",
    "KEY_TYPE_MISMATCH",
    "NO_CERTIFICATE_ASSIGNED",  # the key is of another type
)


def server_context(
    cert: str | Sequence[str],
    key: str | Sequence[str] = (),
    ca: str = "",
    *,
    key_password_file: str = "",
    crl: str = "",
    client_certs: str = "required",
    alpn: Sequence[str] = (),
    min_version: str = TLS_1_2,
    ciphers: str = "",
) -> ssl.SSLContext:
    """A server's context, made from PEM files. Raises SettingError that names the file.

    Parameters:
        cert: the certificate and its chain; or several such files. A client that names its host
            (SNI) gets the first certificate for this name; any other client gets the first one.
        key: the keys, one for each certificate and in the same order; none if each file in ``cert``
            contains its own.
        ca: the CAs that sign client certificates.
        key_password_file: its first line is the password of encrypted keys.
        crl: certificate revocation lists of the CAs. Revoked client certificates are refused.
        client_certs: ``"required"``, or ``"optional"``: a client may have none. Needs ``ca``.
        alpn: names of application protocols, the preferred one first (RFC 7301).
        min_version: ``"1.2"`` or ``"1.3"``.
        ciphers: those for TLS 1.2, as ``openssl ciphers`` takes them.
    """
    certs, keys = _files(cert), _files(key)
    _check_count(certs, keys)

    def one(cert: str, key: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _version(min_version)
        if ciphers:
            _set_ciphers(context, ciphers)
        _load_certificate(context, cert, key, key_password_file)
        if ca:
            _load_authorities(context, ca)
            context.verify_mode = CLIENT_CERTS[client_certs]
        if crl:
            _load_revoked(context, crl)
        _set_alpn(context, alpn)
        return context

    contexts = [one(*pair) for pair in zip(certs, keys or [""] * len(certs), strict=True)]
    if len(certs) > 1:
        serve_by_name(contexts[0], _by_name(certs, contexts))
    return contexts[0]


def client_context(
    ca: str = "",
    cert: str = "",
    key: str = "",
    *,
    alpn: Sequence[str] = (),
    min_version: str = TLS_1_2,
) -> ssl.SSLContext:
    """A client's context, made from PEM files.

    ``ca`` holds the CAs to trust instead of the system's; ``"any"`` trusts any server. ``cert``
    and ``key`` are the client's own; ``alpn`` and ``min_version`` as in `server_context`. Raises
    SettingError that names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _version(min_version)
    _set_alpn(context, alpn)
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


def _version(name: str) -> ssl.TLSVersion:
    if name not in MIN_VERSIONS:
        raise SettingError(f"tls_min_version: {name!r} is not one of {', '.join(MIN_VERSIONS)}")
    return MIN_VERSIONS[name]


def _files(given: str | Sequence[str]) -> list[str]:
    return list(filter(None, [given] if isinstance(given, str) else given))


def _check_count(certs: Sequence[str], keys: Sequence[str]) -> None:
    if not certs:
        raise SettingError("tls_cert: is empty; name a PEM file")
    if keys and len(keys) != len(certs):
        raise SettingError(
            f"tls_key: there are {len(certs)} of tls_cert and {len(keys)} of tls_key; give one key "
            "for each certificate, in the same order"
        )


def _by_name(certs: Sequence[str], contexts: Sequence[ssl.SSLContext]) -> Contexts:
    """The context for each name in the certificates; None for the names in the first one."""
    found: dict[str, ssl.SSLContext | None] = dict.fromkeys(_names(certs[0]))
    for cert, context in zip(certs[1:], contexts[1:], strict=True):
        names = _names(cert)
        new = [name for name in names if name not in found]
        _check_names(cert, names, new)
        found.update(dict.fromkeys(new, context))
    return found


def _names(cert: str) -> tuple[str, ...]:
    try:
        return names_in(Path(cert).read_bytes())
    except OSError as error:  # it was there a moment ago
        raise SettingError(f"tls_cert: cannot read {cert!r}: {cause_of(error)}") from None
    except ValueError:
        raise SettingError(f"tls_cert: cannot find the host names in {cert!r}") from None


def _check_names(cert: str, names: Sequence[str], new: Sequence[str]) -> None:
    """Raises SettingError for a certificate that no client would get."""
    if not names:
        raise SettingError(
            f"tls_cert: {cert!r} has no DNS name in its subjectAltName, by which clients would get "
            "it; only the first certificate may have none"
        )
    if not new:
        raise SettingError(
            f"tls_cert: every name in {cert!r} is in an earlier certificate too, so no client "
            "would get it; leave it out"
        )


class _Password:
    """Opens encrypted keys; OpenSSL calls it for those only."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.used = False

    def __call__(self) -> bytes:
        if not self._file:
            raise SettingError(
                "tls_key: the key is encrypted; give tls_key_password_file, or remove the "
                "password: openssl pkey -in"
            )
        self.used = True
        return _read("tls_key_password_file", self._file).split(b"\n")[0].rstrip(b"\r")


def _load_certificate(
    context: ssl.SSLContext, cert: str, key: str, password_file: str = ""
) -> None:
    _read("tls_cert", cert)
    if key:
        _read("tls_key", key)
    password = _Password(password_file)
    try:
        context.load_cert_chain(cert, key or None, password=password)
    except SettingError:  # of the password's file; it is a ValueError too
        raise
    except ssl.SSLError as error:
        fault = _load_fault(error, cert, key)
        if password.used and error.reason not in _NOT_ITS_KEY:
            fault = (
                f"tls_key_password_file: the first line of {password_file!r} is not the password "
                f"of {key or cert!r}"
            )
        raise SettingError(fault) from None
    except OSError as error:  # it was there a moment ago
        raise SettingError(
            f"tls_cert: cannot read {cert!r} or its key: {cause_of(error)}"
        ) from None
    except ValueError as error:  # a password of more than 1024 bytes
        raise SettingError(f"tls_key_password_file: {password_file!r}: {error}") from None


def _load_authorities(context: ssl.SSLContext, ca: str) -> None:
    _load_trust(context, "tls_ca", ca)
    if not context.cert_store_stats()["x509"]:
        raise SettingError(f"tls_ca: no certificate in {ca!r}; it must be PEM")


def _load_revoked(context: ssl.SSLContext, crl: str) -> None:
    before = context.cert_store_stats()["crl"]
    _load_trust(context, "tls_crl", crl)
    if context.cert_store_stats()["crl"] == before:
        raise SettingError(f"tls_crl: no certificate revocation list in {crl!r}; it must be PEM")
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _load_trust(context: ssl.SSLContext, name: str, file: str) -> None:
    _read(name, file)
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        what = "certificate revocation list" if name == "tls_crl" else "certificate"
        raise SettingError(f"{name}: no {what} in {file!r}; it must be PEM") from None
    except OSError as error:  # it was there a moment ago
        raise SettingError(f"{name}: cannot read {file!r}: {cause_of(error)}") from None


def _set_alpn(context: ssl.SSLContext, names: Sequence[str]) -> None:
    try:
        if names:
            context.set_alpn_protocols(list(names))
    except (ssl.SSLError, ValueError):
        listed = ", ".join(map(repr, names))
        raise SettingError(
            f"tls_alpn: {listed}: each protocol is 1 to 255 ASCII letters, such as 'h2'"
        ) from None


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise SettingError(
            f"tls_ciphers: {ciphers!r} names no cipher for TLS 1.2; openssl ciphers lists them"
        ) from None


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingError(f"{name}: cannot read {path!r}: {cause_of(error)}") from None


def _load_fault(error: ssl.SSLError, cert: str, key: str) -> str:
    if error.reason in _NOT_ITS_KEY:
        return f"tls_key: {key or cert!r} is not the key of the certificate in {cert!r}"
    if b"CERTIFICATE" not in _read("tls_cert", cert):
        return f"tls_cert: no certificate in {cert!r}; it must be PEM"
    if not key and b"PRIVATE KEY" not in _read("tls_cert", cert):
        return f"tls_key: there is no key in {cert!r}; name the file that holds it"
    return f"tls_cert: no certificate and key in {cert!r} and {key or cert!r}; both must be PEM"
