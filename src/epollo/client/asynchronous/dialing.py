"""Connecting on asyncio."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

from epollo import address
from epollo.address.dialing import SELF_CONNECTS
from epollo.client.asynchronous.lookup import lookup
from epollo.client.endpoint import Endpoint
from epollo.client.handshake import handshake_error
from epollo.client.transport import Transport, encrypted


async def dial(endpoint: Endpoint, deadline: float | None) -> Transport:
    """Connect to ``endpoint``. Raises ConnectError and TLSHandshakeError."""
    try:
        async with asyncio.timeout_at(deadline):
            sock = await _connected(endpoint, deadline)
    except TimeoutError as error:
        failed = error if error.errno else TimeoutError("timed out")
        raise address.connect_error(endpoint.address, failed) from None
    except (OSError, UnicodeError) as error:
        raise address.connect_error(endpoint.address, error) from error
    if endpoint.tls is not None:
        sock = await _handshake(encrypted(sock, endpoint), endpoint, deadline)
    return Transport(sock)


async def start_tls(transport: Transport, endpoint: Endpoint, deadline: float | None) -> Transport:
    """``transport`` with TLS; it must not be used any more. Raises TLSHandshakeError."""
    sock = encrypted(transport.give_up_socket(), endpoint)
    return Transport(await _handshake(sock, endpoint, deadline))


async def _handshake(
    sock: ssl.SSLSocket, endpoint: Endpoint, deadline: float | None
) -> ssl.SSLSocket:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(deadline):
            while True:
                try:
                    sock.do_handshake()
                    return sock
                except ssl.SSLWantReadError:
                    await _ready(sock.fileno(), loop.add_reader, loop.remove_reader)
                except ssl.SSLWantWriteError:
                    await _ready(sock.fileno(), loop.add_writer, loop.remove_writer)
    except (OSError, ValueError) as error:
        sock.close()
        raise handshake_error(endpoint, error) from error
    except BaseException:
        sock.close()
        raise


async def _ready(fd: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    """Wait until ``fd`` is ready."""
    ready = asyncio.Event()
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)


async def _connected(endpoint: Endpoint, deadline: float | None) -> socket.socket:
    """A socket connected to the first address that accepts, as in `address.connect`."""
    loop = asyncio.get_running_loop()
    *others, last = found = await lookup(endpoint.address)
    for tried, other in enumerate(others):
        until = None
        if deadline is not None:
            now = loop.time()
            until = now + address.time_share(deadline - now, len(found) - tried)
        try:
            async with asyncio.timeout_at(until):
                return await _connected_elsewhere(*other, endpoint.keepalive)
        except OSError:
            pass
    return await _connected_elsewhere(*last, endpoint.keepalive)


async def _connected_elsewhere(family: int, sockaddr: Any, keepalive: float) -> socket.socket:
    """As `_connected_to`; a connection of a socket with itself is refused, and tried again."""
    for _ in range(SELF_CONNECTS):
        sock = await _connected_to(family, sockaddr, keepalive)
        if not address.refused_as_self_connected(sock):
            return sock
    raise address.self_connect_error()


async def _connected_to(family: int, sockaddr: Any, keepalive: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        address.no_delay(sock)
        address.find_dead_peer(sock, keepalive)
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
