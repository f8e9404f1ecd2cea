"""Pairs of sockets, and what the kernel says of them."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios


def tcp_pair(
    listener: socket.socket | None = None, receive_buffer: int = 0
) -> tuple[socket.socket, socket.socket]:
    """The peer's socket and the server's, connected over TCP, by way of ``listener`` if given.
    ``receive_buffer`` is SO_RCVBUF of the peer's; 0 leaves it to the kernel."""
    if listener is None:
        with socket.create_server(("127.0.0.1", 0)) as own:
            return tcp_pair(own, receive_buffer)
    theirs = socket.socket()
    if receive_buffer:  # before connect(): it bounds the window that the handshake announces
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    theirs.connect(listener.getsockname())
    ours, _ = listener.accept()
    for sock in (theirs, ours):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return theirs, ours


def unread(fd: int) -> int:
    """Bytes that the kernel has received for ``fd`` and nobody has read (FIONREAD)."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0])


def reset(sock: socket.socket) -> None:
    """Close with a RST (SO_LINGER of 0, socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
