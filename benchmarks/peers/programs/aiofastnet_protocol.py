"""Peer: aiofastnet on uvloop, with the Protocol made fast by measuring. Run with a port; 0 is any
free port."""

import asyncio
import signal

import aiofastnet
import uvloop

from epollo.lab.peers.protocol_tuned import TunedFramedEcho
from epollo.lab.peers.serving import BACKLOG, HOST, port_argument, print_ready


async def main() -> None:
    """Serve until SIGTERM, with aiofastnet's transports in place of uvloop's."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    server = await aiofastnet.create_server(
        loop, TunedFramedEcho, HOST, port_argument(), backlog=BACKLOG
    )
    print_ready("aiofastnet", server.sockets[0].getsockname()[1])
    await stopping.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
