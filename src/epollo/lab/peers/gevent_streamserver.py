"""Peer: gevent, StreamServer. Run with a port; 0 is any free port."""

from __future__ import annotations

import signal

import gevent
from gevent import socket
from gevent.server import StreamServer

from epollo.lab.peers.handler import handle
from epollo.lab.peers.serving import BACKLOG, HOST, port_argument, print_ready


def echo(sock: socket.socket, address: tuple[str, int]) -> None:
    """Serve one connection: reply to each u32 frame until the peer ends or resets it."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock.makefile("rb") as stream:
        try:
            while len(header := stream.read(4)) == 4:
                length = int.from_bytes(header)
                message = stream.read(length)
                if len(message) < length:
                    break
                reply = handle(message)
                sock.sendall(len(reply).to_bytes(4) + reply)
        except ConnectionError:
            pass


def main() -> None:
    """Serve until SIGTERM."""
    server = StreamServer((HOST, port_argument()), echo, backlog=BACKLOG)
    gevent.signal_handler(signal.SIGTERM, server.stop)
    server.start()
    print_ready("gevent_streamserver", server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
