"""Clients of a framed server, and pools of them: blocking, and for asyncio.

with epollo.connect("127.0.0.1:8091", framing="u32") as client:
    client.request(b"hello")

async with epollo.AsyncClient("127.0.0.1:8091", framing="u32") as client:
    await client.request(b"hello")
"""

from typing import TYPE_CHECKING, Any

from epollo.client.backoff import Backoff
from epollo.client.blocking.client import Client, connect
from epollo.client.blocking.pool import Pool
from epollo.client.match import Match, bytes_at

if TYPE_CHECKING:
    from epollo.client.asynchronous.client import AsyncClient
    from epollo.client.asynchronous.pool import AsyncPool
else:

    def __getattr__(name: str) -> Any:
        """Import `AsyncClient` or `AsyncPool`, and asyncio with it, on first use (PEP 562)."""
        if name not in ("AsyncClient", "AsyncPool"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from epollo.client.asynchronous.client import AsyncClient
        from epollo.client.asynchronous.pool import AsyncPool

        globals().update(AsyncClient=AsyncClient, AsyncPool=AsyncPool)
        return globals()[name]


__all__ = [
    "AsyncClient",
    "AsyncPool",
    "Backoff",
    "Client",
    "Match",
    "Pool",
    "bytes_at",
    "connect",
]
