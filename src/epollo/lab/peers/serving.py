"""Shared by the peers: address, ready line, and the main function of those on asyncio."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from epollo.lab.peers.streams import echo

HOST = "127.0.0.1"
BACKLOG = 2048  # as in epollo: the accept queue is not compared

Listen = Callable[[int], Awaitable[asyncio.Server]]


def port_argument() -> int:
    """The port on the command line; 0 is any free port."""
    return int(sys.argv[1])


def print_ready(name: str, port: int) -> None:
    """Print the ready line, with the bound port."""
    print(f"{name}: serving on {HOST}:{port}", flush=True)


def listen_protocol(protocol: Callable[[], asyncio.Protocol]) -> Listen:
    """Listen with a Protocol for each connection."""

    async def listen(port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(protocol, HOST, port, backlog=BACKLOG)

    return listen


async def listen_streams(port: int) -> asyncio.Server:
    """Listen with streams."""
    return await asyncio.start_server(echo, HOST, port, backlog=BACKLOG)


def run(name: str, listen: Listen, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Serve, on a loop made by ``new_loop``, until SIGTERM or SIGINT."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(name, listen))


async def _serve(name: str, listen: Listen) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = await listen(port_argument())
    print_ready(name, server.sockets[0].getsockname()[1])
    await stopping.wait()
    server.close()
