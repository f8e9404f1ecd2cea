"""Connecting on asyncio."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial
from typing import Any

from epollo import address
from epollo.address import Address
from epollo.client.async_connection import AsyncConnection
from epollo.client.endpoint import Endpoint
from epollo.client.handshake import handshake_error
from epollo.client.message_queue import MessageQueue

_MAX_ITERATIONS = 100  # of the loop; uvloop needs a few
_NO_TIMEOUT = 1e9  # seconds; asyncio takes None for its own default timeout


async def dial(endpoint: Endpoint, queue: MessageQueue, deadline: float | None) -> AsyncConnection:
    """Connect to ``endpoint``. Raises ConnectError and TLSHandshakeError."""
    try:
        async with asyncio.timeout_at(deadline):
            sock = await _connected(endpoint.address, deadline)
    except TimeoutError as error:
        failed = error if error.errno else TimeoutError("timed out")
        raise address.connect_error(endpoint.address, failed) from None
    except (OSError, UnicodeError) as error:
        raise address.connect_error(endpoint.address, error) from error
    try:
        async with asyncio.timeout_at(deadline):
            return await _attached(sock, endpoint, queue, deadline)
    except (OSError, ValueError) as error:
        await _close(sock)
        raise handshake_error(endpoint, error) from error
    except BaseException:
        sock.close()
        raise


async def _attached(
    sock: socket.socket, endpoint: Endpoint, queue: MessageQueue, deadline: float | None
) -> AsyncConnection:
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {}
    if endpoint.tls is not None:
        seconds = _NO_TIMEOUT if deadline is None else max(deadline - loop.time(), 0.0)
        options = {
            "ssl": endpoint.tls,
            "server_hostname": endpoint.server_hostname or "",
            "ssl_handshake_timeout": seconds + 1,  # later than the caller's deadline
            "ssl_shutdown_timeout": seconds + 1,
        }
    create = loop.create_unix_connection if endpoint.address.path else loop.create_connection
    _, connection = await create(partial(AsyncConnection, endpoint, queue), sock=sock, **options)
    return connection


async def _connected(where: Address, deadline: float | None) -> socket.socket:
    """A socket connected to the first address that accepts, as in `address.connect`."""
    loop = asyncio.get_running_loop()
    *others, last = found = await _resolve(where)
    for tried, other in enumerate(others):
        until = None
        if deadline is not None:
            now = loop.time()
            until = now + address.time_share(deadline - now, len(found) - tried)
        try:
            async with asyncio.timeout_at(until):
                return await _connected_to(*other)
        except OSError:
            pass
    return await _connected_to(*last)


async def _connected_to(family: int, sockaddr: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        address.no_delay(sock)
        await asyncio.get_running_loop().sock_connect(sock, sockaddr)
        # asyncio takes a full accept queue of a Unix socket for success: then there is no peer.
        sock.getpeername()
    except OSError as error:
        sock.close()
        # The kernel's text instead of asyncio's.
        raise OSError(error.errno, os.strerror(error.errno or 0)) from error
    except BaseException:
        sock.close()
        raise
    return sock


async def _close(sock: socket.socket) -> None:
    """Close ``sock`` and wait until it is closed: uvloop may close it some iterations later."""
    sock.close()
    for _ in range(_MAX_ITERATIONS):
        if sock.fileno() < 0:
            return
        await asyncio.sleep(0)


async def _resolve(where: Address) -> list[tuple[int, Any]]:
    try:  # a literal address takes no thread
        return address.resolve(where, socket.AI_NUMERICHOST)
    except socket.gaierror:
        loop, kind = asyncio.get_running_loop(), socket.SOCK_STREAM
        infos = await loop.getaddrinfo(where.host, where.port, type=kind)
    return [(family, sockaddr) for family, _, _, _, sockaddr in infos]
