"""Clients of a framed server: a blocking one, and one for asyncio.

with epollo.connect("127.0.0.1:8091", framing="u32") as client:
    client.request(b"hello")

async with epollo.AsyncClient("127.0.0.1:8091", framing="u32") as client:
    await client.request(b"hello")
"""

from typing import TYPE_CHECKING, Any

from epollo.client.backoff import Backoff
from epollo.client.blocking import Client, connect
from epollo.client.match import Match, bytes_at

if TYPE_CHECKING:
    from epollo.client.asynchronous import AsyncClient
else:

    def __getattr__(name: str) -> Any:
        """Import `AsyncClient`, and asyncio with it, on first use (PEP 562)."""
        if name != "AsyncClient":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from epollo.client.asynchronous import AsyncClient

        return globals().setdefault(name, AsyncClient)


__all__ = ["AsyncClient", "Backoff", "Client", "Match", "bytes_at", "connect"]
