"""The remote end that a client connects to."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from epollo.address import Address
from epollo.framing import Framing


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address, its framing, and the TLS context and host name; without TLS the context is None.

    The server's certificate has to be valid for ``server_hostname``. ``keepalive`` is the silence
    in seconds after which TCP probes the peer; 0 is never.
    """

    address: Address
    framing: Framing
    tls: ssl.SSLContext | None
    server_hostname: str | None
    keepalive: float = 0.0

    def __str__(self) -> str:
        return str(self.address)
