"""TLS on a connection: OpenSSL between two buffers in memory, without I/O of its own."""

from __future__ import annotations

import ssl
from typing import ClassVar

from epollo.causes import tls_cause_of
from epollo.errors import TLSError

_RECORD = 16 << 10  # maximum plain bytes of one record (RFC 8446, 5.1)
_RECORD_HEADER = 5  # bytes: type, version, and two of length


class TLS:
    """One side of a TLS connection: a server's or, with ``server_side`` false, a client's. A client
    sends first, and requires a certificate for ``server_hostname``.

    An end of the stream without close_notify is accepted as an end: the framing shows whether a
    message was cut, and many peers, among them Python's own sockets, close like this.
    """

    fault: ClassVar[type[TLSError]] = TLSError
    handshake_only = False
    peername = None

    def __init__(
        self,
        context: ssl.SSLContext,
        timeout: float,
        server_side: bool = True,
        server_hostname: str | None = None,
    ) -> None:
        self.timeout = timeout
        self.speaks_first: bool = not server_side
        self.established: bool = False
        self.ended: bool = False
        self._closed = self._broken = False
        self._head = b""  # an incomplete record header
        self._missing = 0  # bytes of the current record still to come
        self._incoming = ssl.MemoryBIO()
        self.output: ssl.MemoryBIO = ssl.MemoryBIO()
        self.tls: ssl.SSLObject = context.wrap_bio(
            self._incoming, self.output, server_side, server_hostname
        )

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
            # A read that finds no more raises, which takes longer than a read that finds a record.
            # Only of an incomplete record it is to be tried, as its header may be invalid.
            while (self._incoming.pending or self._missing or self._head) and not self.ended:
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
        return plain[0] if len(plain) == 1 else b"".join(plain)

    def send(self, data: bytes) -> bytes:
        if self._broken:  # after the TLS alert nothing more can be sent
            return b""
        try:
            written = self.tls.write(data)  # one record, of at most 16 KiB
            while written < len(data):
                written += self.tls.write(memoryview(data)[written:])
        except ssl.SSLError as error:
            raise TLSError(self._explain(error)) from error
        return self.output.read()

    def eof(self) -> None:
        if not self.established:
            cause = ConnectionAbortedError()
            raise TLSError("the peer left before the TLS handshake was done") from cause

    def close(self) -> bytes:
        if not self._closed:
            self._closed = True
            try:
                self.tls.unwrap()
            except ssl.SSLError:
                pass  # the peer's close_notify is not awaited; or the session has failed
        return self.output.read()

    def _follow(self, data: bytes) -> None:
        """Skip through the records to learn if the last one is complete: OpenSSL does not tell."""
        if self._head:
            data = self._head + data
            self._head = b""
        at, size = self._missing, len(data)
        while at + _RECORD_HEADER <= size:
            at += _RECORD_HEADER + (data[at + 3] << 8 | data[at + 4])
        self._missing = at - size if at > size else 0
        if at < size:
            self._head = data[at:]

    def _explain(self, error: ssl.SSLError) -> str:
        what = "TLS record" if self.established else "TLS handshake"
        if error.reason == "CALLBACK_FAILED":  # see `epollo.server_names`
            return f"{what}: the server name is not ASCII"
        return f"{what}: {tls_cause_of(error)}"
