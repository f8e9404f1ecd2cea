"""What may stand between a socket and the framing: TLS, or the header that a proxy puts first."""

from __future__ import annotations

import ssl
from typing import Protocol

from epollo.errors import FilterError


class Filter(Protocol):
    """Changes the bytes of one connection on their way, without I/O of its own.

    Until it is ``established`` the connection is not: see `engine/greeting.py`.
    """

    timeout: float  # seconds that it may take to be established, from its turn on

    @property
    def fault(self) -> type[FilterError]:
        """What is raised by it, and for it where it is not established in time."""

    @property
    def established(self) -> bool:
        """The handshake is done, or the header complete."""

    @property
    def handshake_only(self) -> bool:
        """Once established it changes nothing more, and the connection drops it."""

    @property
    def speaks_first(self) -> bool:
        """It has the first word and is owed an answer: an end without one is a fault too."""

    @property
    def ended(self) -> bool:
        """The peer has said its last word inside the filter (TLS: close_notify)."""

    @property
    def partial(self) -> bool:
        """Has it received a part of something, so that more must come?"""

    @property
    def peername(self) -> str | None:
        """The peer's address, where the filter knows it better than the socket."""

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS state, where the filter is TLS."""

    def received(self, data: bytes) -> bytes:
        """The plain bytes in what came. Raises FilterError, with those before the fault."""

    def send(self, data: bytes) -> bytes:
        """What goes on the wire for plain ``data``. Raises FilterError."""

    def outgoing(self) -> bytes:
        """What the filter itself has to say now; taken once."""

    def eof(self) -> None:
        """The peer's stream has ended. Raises FilterError where that is too early."""

    def close(self) -> bytes:
        """The filter's own last word, once; then nothing."""
