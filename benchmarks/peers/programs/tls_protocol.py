"""Peer: TLS under the Protocol made fast by measuring, on uvloop or with aiofastnet's transports.

python -m benchmarks.peers.programs.tls_protocol uvloop|aiofastnet PORT CERTIFICATE
"""

import asyncio
import signal
import ssl
import sys

import aiofastnet
import uvloop

from epollo.lab.peers.protocol_tuned import TunedFramedEcho
from epollo.lab.peers.serving import BACKLOG, HOST, print_ready

AIOFASTNET = "aiofastnet"


async def main(transports: str, port: int, certificate: str) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = (
        await aiofastnet.create_server(
            loop, TunedFramedEcho, HOST, port, ssl=context, backlog=BACKLOG
        )
        if transports == AIOFASTNET
        else await loop.create_server(TunedFramedEcho, HOST, port, ssl=context, backlog=BACKLOG)
    )
    print_ready(f"TLS on {transports}", server.sockets[0].getsockname()[1])
    await stopping.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
