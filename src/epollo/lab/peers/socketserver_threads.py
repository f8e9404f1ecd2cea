"""Peer: socketserver, a thread for each connection. Run with a port; 0 is any free port."""

from __future__ import annotations

import signal
import sys
from socketserver import StreamRequestHandler, ThreadingTCPServer

from epollo.lab.peers.handler import handle
from epollo.lab.peers.serving import BACKLOG, HOST, port_argument, print_ready


class FramedEcho(StreamRequestHandler):
    """One connection: replies to each u32 frame until the peer ends or resets it."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            while len(header := self.rfile.read(4)) == 4:
                length = int.from_bytes(header)
                message = self.rfile.read(length)
                if len(message) < length:
                    break
                reply = handle(message)
                self.wfile.write(len(reply).to_bytes(4) + reply)
        except ConnectionError:
            pass


class Server(ThreadingTCPServer):
    """Its threads end with the program."""

    daemon_threads = True
    request_queue_size = BACKLOG


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server((HOST, port_argument()), FramedEcho) as server:
        print_ready("socketserver_threads", server.server_address[1])
        server.serve_forever()


if __name__ == "__main__":
    main()
