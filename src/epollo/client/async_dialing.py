"""Connecting from asyncio."""

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

_MAX_ITERATIONS = 100  # of the loop; uvloop takes a few
_NO_TIMEOUT = 1e9  # seconds, where asyncio would take None for its own default


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
            "ssl_handshake_timeout": seconds + 1,  # the caller's deadline comes first
            "ssl_shutdown_timeout": seconds + 1,
        }
    create = loop.create_unix_connection if endpoint.address.path else loop.create_connection
    _, connection = await create(partial(AsyncConnection, endpoint, queue), sock=sock, **options)
    return connection


async def _connected(where: Address, deadline: float | None) -> socket.socket:
    """A socket connected to the first address that can be, as `address.connect` does it."""
    loop = asyncio.get_running_loop()
    *others, last = found = await _resolve(where)
    for tried, other in enumerate(others):
        share = None
        if deadline is not None:
            share = loop.time() + (deadline - loop.time()) / (len(found) - tried)
        try:
            async with asyncio.timeout_at(share):
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
        sock.getpeername()  # none where asyncio took a Unix socket's full accept queue for success
    except OSError as error:
        sock.close()
        raise OSError(error.errno, os.strerror(error.errno or 0)) from error  # not asyncio's words
    except BaseException:
        sock.close()
        raise
    return sock


async def _close(sock: socket.socket) -> None:
    """Close ``sock``, and see it closed: uvloop, where it has it, does so a few turns later."""
    sock.close()
    for _ in range(_MAX_ITERATIONS):
        if sock.fileno() < 0:
            return
        await asyncio.sleep(0)


async def _resolve(where: Address) -> list[tuple[int, Any]]:
    if where.path:
        return [(socket.AF_UNIX, where.path)]
    host, port, kind = where.host, where.port, socket.SOCK_STREAM
    try:  # a literal address first, which takes no thread
        infos = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    return [(family, sockaddr) for family, _, _, _, sockaddr in infos]
