"""The contract of a filter between a socket and the framing: TLS, or a PROXY header."""

from __future__ import annotations

import ssl
from typing import Protocol

from epollo.errors import FilterError


class Filter(Protocol):
    """Transforms the bytes of one connection, without I/O of its own.

    A connection is established when all its filters are ``established``, one after the other.
    """

    timeout: float  # seconds to become established, once the filters before it are

    @property
    def fault(self) -> type[FilterError]:
        """The error that it raises, and that the engine raises if it is not established in time."""

    @property
    def established(self) -> bool:
        """Is the handshake done, or the header complete?"""

    @property
    def handshake_only(self) -> bool:
        """Does it change nothing once established? Then the connection drops it."""

    @property
    def speaks_first(self) -> bool:
        """Does it send first and expect an answer? Then an end of the stream before any answer is a
        fault too."""

    @property
    def output(self) -> ssl.MemoryBIO:
        """Bytes that the filter itself has to send; to be read and sent by the connection."""

    @property
    def ended(self) -> bool:
        """Has the peer ended the stream inside the filter (TLS: close_notify)?"""

    @property
    def partial(self) -> bool:
        """Has it received an incomplete record or header?"""

    @property
    def peername(self) -> str | None:
        """The peer's real address, if the filter knows another than the socket's; else None."""

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS state; None if the filter is not TLS."""

    def received(self, data: bytes) -> bytes:
        """The plain bytes in the received ``data``. Raises FilterError, which carries the plain
        bytes before the fault."""

    def send(self, data: bytes) -> bytes:
        """The bytes to send for plain ``data``. Raises FilterError."""

    def eof(self) -> None:
        """The peer's stream has ended. Raises FilterError if that is too early."""

    def close(self) -> bytes:
        """The bytes with which the filter ends its stream; empty at the second call."""
