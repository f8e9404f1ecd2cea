"""Applications that say farewell: ``bye`` to each connection, a line on stdout for the server.

The environment names the hook that ``RAISES`` or ``STICKS``: ``closing`` does so for a connection
whose message was ``unlucky``. With ``WAITS``, ``stopping`` waits until a message has come.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import epollo


def check(hook: str) -> bool:
    """Raises if ``hook`` is to raise. Does it have to stick?"""
    if hook == os.environ.get("RAISES", ""):
        raise ValueError("on purpose")
    return hook == os.environ.get("STICKS", "")


class Plain:
    def received(self, message: bytes, connection: epollo.Connection) -> bytes:
        connection.state = message
        return message

    def stopping(self, server: epollo.Server) -> None:
        print("stopping", flush=True)
        if check("stopping"):
            threading.Event().wait()

    def closing(self, connection: epollo.Connection) -> None:
        if connection.state == b"unlucky" and check("closing"):
            threading.Event().wait()
        connection.send(b"bye")

    def stopped(self, server: epollo.Server) -> None:
        print("stopped", flush=True)


class Async:
    def __init__(self) -> None:
        self.come: Any = None

    async def started(self, server: epollo.Server) -> None:
        self.come = asyncio.Event()

    async def received(self, message: bytes, connection: epollo.Connection) -> bytes:
        connection.state = message
        self.come.set()
        return message

    async def stopping(self, server: epollo.Server) -> None:
        print("stopping", flush=True)
        if os.environ.get("WAITS"):
            await self.come.wait()
        await asyncio.sleep(0)
        if check("stopping"):
            await asyncio.get_running_loop().create_future()

    async def closing(self, connection: epollo.Connection) -> None:
        await asyncio.sleep(0)
        if connection.state == b"unlucky" and check("closing"):
            await asyncio.get_running_loop().create_future()
        connection.send(b"bye")

    async def stopped(self, server: epollo.Server) -> None:
        print("stopped", flush=True)
