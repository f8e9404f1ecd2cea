"""TLS on a connection: OpenSSL between two buffers in memory, no I/O of its own."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import ClassVar

from epollo.errors import SettingError, TLSError

ANY = "any"
"""In place of a client's file of authorities: trust whoever answers."""

_NOT_ITS_KEY = (
    "KEY_VALUES_MISMATCH",
    "KEY_TYPE_MISMATCH",
    "NO_CERTIFICATE_ASSIGNED",  # to a key of another type
)
_RECORD = 16 << 10  # the most plain bytes of one record (RFC 8446, 5.1)
_RECORD_HEADER = 5  # bytes: type, version, and two of length


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


class TLS:
    """One side of a TLS connection, as a filter: a server's or, with ``server_side`` false, a
    client's, which has the first word and wants a certificate for ``server_hostname``.

    An end of the stream without close_notify is an end: the framing shows whether a message was
    cut, and many peers, Python's own sockets among them, close so.
    """

    fault: ClassVar[type[TLSError]] = TLSError
    passive = False
    peername = None

    def __init__(
        self,
        context: ssl.SSLContext,
        timeout: float,
        server_side: bool = True,
        server_hostname: str | None = None,
    ) -> None:
        self.timeout = timeout
        self.calling = not server_side
        self.established = False
        self.ended = False
        self._closed = self._broken = False
        self._head = b""  # what has come of the header of a record
        self._missing = 0  # bytes of a record, after its header
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)

    @property
    def partial(self) -> bool:
        return bool(self._missing or self._head)

    def received(self, data: bytes) -> bytes:
        self._follow(data)
        self._incoming.write(data)
        plain: list[bytes] = []
        try:
            if not self.established:
                self.tls.do_handshake()
                self.established = True
            while not self.ended:
                part = self.tls.read(_RECORD)
                plain.append(part)
                self.ended = not part  # close_notify
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            self._broken = True
            raise TLSError(self._explain(error), b"".join(plain)) from error
        return b"".join(plain)

    def send(self, data: bytes) -> bytes:
        if self._broken:  # the peer is told of the fault, and can be sent nothing more
            return b""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self.tls.write(rest) :]
        except ssl.SSLError as error:
            raise TLSError(self._explain(error)) from error
        return self.pending()

    def pending(self) -> bytes:
        return self._outgoing.read()

    def eof(self) -> None:
        if not self.established:
            left = ConnectionAbortedError()
            raise TLSError("the peer left before the TLS handshake was done") from left

    def close(self) -> bytes:
        if not self._closed:
            self._closed = True
            try:
                self.tls.unwrap()
            except ssl.SSLError:  # the peer's close_notify is not waited for; or there is a fault
                pass
        return self.pending()

    def _follow(self, data: bytes) -> None:
        """Step over the records, to know if the last one is complete: OpenSSL does not tell."""
        if self._head:
            data = self._head + data
            self._head = b""
        at, size = self._missing, len(data)
        while at + _RECORD_HEADER <= size:
            at += _RECORD_HEADER + int.from_bytes(data[at + 3 : at + 5], "big")
        self._missing = max(0, at - size)
        if at < size:
            self._head = data[at:]

    def _explain(self, error: ssl.SSLError) -> str:
        what = "TLS record" if self.established else "TLS handshake"
        cause = getattr(error, "verify_message", "") or error.reason or str(error)
        return f"{what}: {cause.replace('_', ' ').lower()}"


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
