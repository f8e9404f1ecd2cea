"""Framed echo on asyncio streams, for asyncio and uvloop."""

from __future__ import annotations

import asyncio

from epollo.lab.peers.handler import handle


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection: reply to each u32 frame until the peer ends or resets it."""
    try:
        while True:
            header = await reader.readexactly(4)
            message = await reader.readexactly(int.from_bytes(header))
            reply = handle(message)
            writer.write(len(reply).to_bytes(4) + reply)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
