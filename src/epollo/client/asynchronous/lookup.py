"""Looking up a name without blocking the event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

from epollo import address
from epollo.address import Address


async def lookup(where: Address) -> list[tuple[int, Any]]:
    """As `epollo.address.resolve`. A literal address takes no thread.

    Another name takes a thread of its own: asyncio's pool takes no more work once the main thread
    has ended, and its few threads may all wait for a slow name server.
    """
    try:
        return address.resolve(where, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[tuple[int, Any]]] = loop.create_future()

    def settle(result: list[tuple[int, Any]] | None, error: Exception | None) -> None:
        if found.done():  # cancelled
            pass
        elif error is not None:
            found.set_exception(error)
        elif result is not None:
            found.set_result(result)

    def run() -> None:
        result, error = None, None
        try:
            result = address.resolve(where)
        except Exception as failure:
            error = failure
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop is closed
            pass

    # A daemon: a lookup cannot be stopped, and the interpreter must not wait for it.
    threading.Thread(target=run, name="epollo-lookup", daemon=True).start()
    return await found
