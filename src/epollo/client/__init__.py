"""Clients of a framed server: one that blocks, one for asyncio.

with epollo.connect("127.0.0.1:8091", framing="u32") as client:
    client.request(b"hello")

async with epollo.AsyncClient("127.0.0.1:8091", framing="u32") as client:
    await client.request(b"hello")
"""

from epollo.client.asynchronous import AsyncClient
from epollo.client.backoff import Backoff
from epollo.client.blocking import Client, connect

__all__ = ["AsyncClient", "Backoff", "Client", "connect"]
