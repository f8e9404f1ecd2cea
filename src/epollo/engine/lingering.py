"""The end of a connection whose last replies a plain close() could destroy."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from typing import TYPE_CHECKING

from epollo.engine.events import READ
from epollo.engine.stage import Stage

if TYPE_CHECKING:
    from epollo.engine.lifecycle import Lifecycle

LINGER_SECONDS = 2.0


class Lingering:
    """A connection that has said its last word while the peer is still talking, or listening.

    close() with bytes unread makes the kernel answer with a reset (RFC 2525, 2.17), and so do
    bytes that come after it; a reset destroys the replies that are still on their way. So end this
    side's stream only, and throw away what still comes, until the peer ends its own or time is
    up. nginx calls it lingering_close.
    """

    __slots__ = ("_timer", "_unacknowledged", "connection")

    def __init__(self, connection: Lifecycle) -> None:
        self.connection = connection
        connection.stage = Stage.LINGERING
        self._unacknowledged = _unacknowledged(connection.socket)
        self._timer = connection.loop.call_later(LINGER_SECONDS, self._time_is_up)
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:  # ENOTCONN: the peer is gone already
            self._done()
        else:
            connection.loop.watch(connection.fd, self, READ)

    def ready(self, events: int) -> None:
        try:
            if self.connection.socket.recv(1 << 16):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._done()

    def abort(self) -> None:
        self._done()

    def _time_is_up(self) -> None:
        """But a peer that goes on taking what it was sent is given more of it."""
        if self.connection.closed:  # it was aborted
            return
        left = _unacknowledged(self.connection.socket)
        if 0 < left < self._unacknowledged:
            self._unacknowledged = left
            self._timer = self.connection.loop.call_later(LINGER_SECONDS, self._time_is_up)
        else:
            self._done()

    def _done(self) -> None:
        self._timer.cancel()
        self.connection.drop()


def would_reset(sock: socket.socket) -> bool:
    """Could close() destroy what is on its way to the peer?"""
    return has_unread(sock) or _unacknowledged(sock) > 0


def _unacknowledged(sock: socket.socket) -> int:
    """Bytes on their way that the peer's kernel has not yet (tcp(7), SIOCOUTQ)."""
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return 0  # a Unix socket has no way: what was sent is with the peer
    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def has_unread(sock: socket.socket) -> bool:
    """Has something come that was not read?"""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except OSError:  # EAGAIN: nothing there; or broken, so nothing to save
        return False
