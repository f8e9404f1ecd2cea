"""Holds idle TLS connections to a framed echo server: what `c/idle.c` does, by TLS.

python -m benchmarks.tls_idle HOST:PORT

Each line on stdin is a number of connections: so many are opened in all, each has one message
echoed, and the number is printed when they are there. The end of stdin ends the program.
"""

import socket
import ssl
import sys

from benchmarks import certificate, machine

TIMEOUT = 10.0  # seconds
MESSAGE = (64).to_bytes(4) + bytes(64)


def idler(address: tuple[str, int], context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection that has had its message echoed."""
    plain = socket.create_connection(address, TIMEOUT)
    connection = context.wrap_socket(plain)
    connection.sendall(MESSAGE)
    echo = b""
    while len(echo) < len(MESSAGE):
        data = connection.recv(len(MESSAGE) - len(echo))
        if not data:
            raise ConnectionError("the server closed a connection")
        echo += data
    return connection


def main(where: str) -> None:
    """Hold as many as stdin asks for."""
    machine.allow_descriptors()
    host, _, port = where.rpartition(":")
    context = certificate.client_context()
    held: list[ssl.SSLSocket] = []
    for line in sys.stdin:
        while len(held) < int(line):
            held.append(idler((host, int(port)), context))
        print(len(held), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except OSError as error:
        sys.exit(f"tls_idle: {error}")
