"""A server that sends back what it receives, and does nothing else: ``null_server.py [PATH]``.

A script of its own, which imports no more than it needs: it starts in a hundredth of a second. It
serves one connection at a time, on a free port or on the Unix socket PATH.
"""

from __future__ import annotations

import socket
import sys

_SIZE = 256 << 10


def main(path: str = "") -> None:
    """Serve until killed."""
    if path:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen()
        where = f"unix:{path}"
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        where = f"127.0.0.1:{listener.getsockname()[1]}"
    print(f"serving nothing on {where}", flush=True)
    buffer = memoryview(bytearray(_SIZE))
    while True:
        connection, _ = listener.accept()
        with connection:
            if not path:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _echo(connection, buffer)


def _echo(connection: socket.socket, buffer: memoryview) -> None:
    try:
        while count := connection.recv_into(buffer):
            connection.sendall(buffer[:count])
    except OSError:  # the peer has gone
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
