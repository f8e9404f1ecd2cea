"""What the peers have in common: the command line, the ready line and the end."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from benchmarks.peers.protocol import FramedEcho
from benchmarks.peers.streams import echo

HOST = "127.0.0.1"

Listen = Callable[[int], Awaitable[asyncio.Server]]


async def listen_protocol(port: int) -> asyncio.Server:
    """Listen with a Protocol; port 0 takes any free one."""
    return await asyncio.get_running_loop().create_server(FramedEcho, HOST, port)


async def listen_streams(port: int) -> asyncio.Server:
    """Listen with streams; port 0 takes any free one."""
    return await asyncio.start_server(echo, HOST, port)


async def serve(name: str, listen: Listen, port: int) -> None:
    """Listen, say so on stdout, and serve until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = await listen(port)
    print(f"{name}: serving on {HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    await stopping.wait()
    server.close()


def run(name: str, listen: Listen, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Serve on the port that the command line names, on a loop made by `new_loop`."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(name, listen, int(sys.argv[1])))
