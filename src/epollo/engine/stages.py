"""Three stages of a connection, with an object each: CONNECTING, HANDSHAKING and LINGERING.

`Stage` in `connection.py` lists all stages. In these three, the loop watches the object in place of
the connection. It is left for another stage, or for the close, by `leave`, which cancels its timer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
import termios
from collections.abc import Sequence
from typing import Protocol

from epollo.engine.events import READ, WRITE
from epollo.engine.filter_io import FilteredConnection, FilterIO
from epollo.engine.interface import ConnectionContext, LoopInterface
from epollo.engine.timers import Timer
from epollo.errors import FilterError
from epollo.filters.base import Filter
from epollo.reasons import CloseReason

LINGER_SECONDS = 2.0
READ_SIZE = 64 << 10


class StagedConnection(FilteredConnection, Protocol):
    """What the stages need of their connection."""

    socket: socket.socket
    peer: str | None
    filter_io: FilterIO | None

    @property
    def fd(self) -> int: ...
    @property
    def context(self) -> ConnectionContext: ...
    @property
    def loop(self) -> LoopInterface: ...
    def find_peer(self) -> None: ...
    def count_bytes(self, received: int, sent: int) -> None: ...
    def connect_done(self) -> None: ...
    def open(self) -> None: ...
    def refuse(self, error: FilterError) -> None: ...


class ConnectionStage:
    """What all of them have in common."""

    __slots__ = ("connection",)

    def __init__(self, connection: StagedConnection) -> None:
        self.connection: StagedConnection = connection

    def abort(self) -> None:
        """The loop is closed."""
        self.connection.drop(CloseReason.LOCAL)

    def leave(self) -> None:
        """The stage is over."""


class Connecting(ConnectionStage):
    """An outgoing connection whose connect is under way."""

    __slots__ = ()

    def ready(self, events: int) -> None:
        """connect(2): writable when it is decided, and SO_ERROR tells how."""
        connection = self.connection
        if connection.closed:  # by an earlier one of the same batch
            return
        if not events & ~READ:  # meant for the listener that had this descriptor until just now
            return
        code = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            reset = code == errno.ECONNRESET  # accepted, or established, and reset at once
            reason = CloseReason.RESET if reset else CloseReason.REFUSED
            connection.drop(reason, OSError(code, os.strerror(code)))
            return
        try:
            connection.find_peer()
        except OSError as error:  # ENOTCONN: established, and reset at once
            connection.drop(CloseReason.RESET, error)
        else:
            connection.connect_done()


class Handshake(ConnectionStage):
    """Establishes the filters of a connection, one after the other, and opens it then.

    The handler never learns of a peer that fails here. While output of a filter is unsent nothing
    is read, so a peer that does not read cannot make it pile up.
    """

    __slots__ = ("_filters", "_timer", "_unsent", "received_any")

    def __init__(self, connection: StagedConnection, filters: Sequence[Filter]) -> None:
        super().__init__(connection)
        self._filters = list(filters)
        self.received_any: bool = False
        self._unsent = b""
        self._timer: Timer | None = None
        connection.loop.watch(connection.fd, self, READ)
        self._start_timer()
        self._advance(b"")  # some filters speak first

    def ready(self, events: int) -> None:
        if self.connection.closed:  # by an earlier one of the same batch
            return
        try:
            if self._unsent:
                self._send()
            else:
                self._receive()
        except BlockingIOError:
            pass
        except OSError as error:
            self.connection.drop(CloseReason.RESET, error)

    def leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _receive(self) -> None:
        data = self.connection.socket.recv(READ_SIZE)
        self.connection.count_bytes(len(data), 0)
        if data:
            self.received_any = True
            self._advance(data)
        else:
            self._end_of_stream()

    def _advance(self, data: bytes) -> None:
        """Give ``data`` to the filter that is next; what one leaves over is for the one after."""
        connection = self.connection
        try:
            while self._filters:
                current = self._filters[0]
                data = current.received(data)
                if connection.closed:  # by a signal handler
                    return
                self._unsent += current.output.read()
                if not current.established:
                    break
                self._filter_done(self._filters.pop(0))
        except FilterError as error:
            self._fail(error)
            return
        if self._filters:
            if self._unsent:
                self._send()
            return
        self.leave()
        connection.transmit(self._unsent)
        if not connection.closed:
            connection.open()
            if data:
                connection.feed(data)
            if connection.filter_io is not None:
                connection.filter_io.after_receive(connection)

    def _filter_done(self, established: Filter) -> None:
        connection = self.connection
        if established.peername is not None:
            connection.peer = established.peername
        if not established.handshake_only:
            assert connection.filter_io is None, "two filters that stay"
            connection.filter_io = FilterIO(established)
        if self._filters:
            self._start_timer()

    def _send(self) -> None:
        connection = self.connection
        try:
            sent = connection.socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        connection.count_bytes(0, sent)
        self._unsent = self._unsent[sent:]
        connection.loop.watch(connection.fd, self, WRITE if self._unsent else READ)

    def _end_of_stream(self) -> None:
        try:
            if self.received_any or self._filters[0].speaks_first:
                self._filters[0].eof()
        except FilterError as error:
            self._fail(error)
        else:
            self.connection.drop(CloseReason.EOF)

    def _fail(self, error: FilterError) -> None:
        """Tell the peer why, if the filter can (a TLS alert), and close."""
        self._unsent += self._filters[0].output.read()
        if self._unsent:
            try:
                sent = self.connection.socket.send(self._unsent)
                self.connection.count_bytes(0, sent)
            except OSError:  # the peer takes nothing more
                pass
        self.leave()
        self.connection.refuse(error)

    def _start_timer(self) -> None:
        self.leave()
        seconds = self._filters[0].timeout
        self._timer = self.connection.loop.call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        if self.connection.closed:
            return
        current = self._filters[0]
        error = current.fault(f"not established within {current.timeout:g} s")
        error.__cause__ = TimeoutError()
        self._fail(error)


class Lingering(ConnectionStage):
    """A connection that has sent everything while the peer still sends, or receives.

    close() with bytes unread makes the kernel answer with a reset (RFC 2525, 2.17), and so do
    bytes that come after it; a reset destroys the replies that are still on their way. So end this
    side's stream only, and throw away what still comes, until the peer ends its own or time is
    up. nginx calls it lingering_close.
    """

    __slots__ = ("_seconds", "_timer", "_unacknowledged")

    def __init__(self, connection: StagedConnection, seconds: float) -> None:
        super().__init__(connection)
        self._seconds = seconds
        self._unacknowledged = _unacknowledged(connection.socket)
        self._timer = connection.loop.call_later(seconds, self._time_is_up)
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:  # ENOTCONN: the peer is gone already
            self.leave()
            connection.drop()
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
        self.connection.drop()

    def abort(self) -> None:
        self.connection.drop(self.connection.reason)

    def leave(self) -> None:
        self._timer.cancel()

    def _time_is_up(self) -> None:
        """A peer that still receives is given more time. The kernel goes on to send what another
        one has not taken, within TCP_USER_TIMEOUT: it may only be slow to read."""
        if self.connection.closed:
            return
        left = _unacknowledged(self.connection.socket)
        if 0 < left < self._unacknowledged:
            self._unacknowledged = left
            self._timer = self.connection.loop.call_later(self._seconds, self._time_is_up)
        else:
            self.connection.drop()


def drop_unacknowledged(sock: socket.socket, lost: bool) -> None:
    """Have close() drop what the peer has not taken, if there is any, or more was ``lost``; that
    resets the connection (SO_LINGER of 0, socket(7)). Otherwise the kernel keeps it, megabytes, for
    as long as the peer lives."""
    try:
        if lost or _unacknowledged(sock):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:  # the peer is gone already
        pass


def linger_seconds(sock: socket.socket, crossing: float) -> float:
    """How long to linger: longer than ``crossing`` if close() could destroy what is on its way to
    the peer."""
    would_reset = has_unread(sock) or _unacknowledged(sock) > 0
    return LINGER_SECONDS if would_reset else crossing


def _unacknowledged(sock: socket.socket) -> int:
    """Bytes sent that the peer's kernel does not have yet (tcp(7), SIOCOUTQ)."""
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return 0  # on a Unix socket, what was sent is with the peer
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
