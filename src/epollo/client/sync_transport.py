"""A connected socket, plain or TLS, with a deadline for each call."""

from __future__ import annotations

import select
import socket
import ssl
import time

from epollo import address
from epollo.address.dialing import LONGEST_WAIT
from epollo.client.endpoint import Endpoint
from epollo.client.handshake import handshake_error
from epollo.errors import UsageError

_READ_SIZE = 64 << 10
_CLOSE_NOTIFY_TIMEOUT = 1.0  # seconds


class DeadlinePassed(Exception):
    """The deadline of a call has passed. Not a TimeoutError: that is the kernel's ETIMEDOUT."""


def dial(endpoint: Endpoint, deadline: float | None) -> SyncTransport:
    """Connect to ``endpoint``. Raises ConnectError and TLSHandshakeError."""
    try:
        sock = address.connect(endpoint.address, seconds_until(deadline))
        return SyncTransport(sock if endpoint.tls is None else _encrypted(sock, endpoint, deadline))
    except DeadlinePassed:
        raise address.connect_error(endpoint.address, TimeoutError("timed out")) from None


def seconds_until(deadline: float | None) -> float | None:
    """The seconds until ``deadline``, at most LONGEST_WAIT. Raises DeadlinePassed."""
    if deadline is None:
        return None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise DeadlinePassed
    return min(seconds, LONGEST_WAIT)


def _encrypted(sock: socket.socket, endpoint: Endpoint, deadline: float | None) -> ssl.SSLSocket:
    assert endpoint.tls is not None
    with sock:  # wrap_socket detaches its descriptor
        try:
            wrapped = endpoint.tls.wrap_socket(
                sock,
                server_hostname=endpoint.server_hostname,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except (OSError, ValueError) as error:
            raise handshake_error(endpoint, error) from error
    try:
        wrapped.settimeout(seconds_until(deadline))  # for the whole handshake
        wrapped.do_handshake()
    except (OSError, ValueError) as error:
        wrapped.close()
        raise handshake_error(endpoint, error) from error
    except BaseException:
        wrapped.close()
        raise
    return wrapped


class SyncTransport:
    """Reads and writes. Raises OSError if the connection fails, and DeadlinePassed."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._poll = select.poll()
        self._failure: OSError | None = None
        self._events = 0  # the poll(2) events that the last calls would have to wait for

    def send(self, data: bytes, deadline: float | None) -> None:
        """Send all of ``data``."""
        unsent = memoryview(data)
        while unsent:
            if sent := self._try_send(unsent):
                unsent = unsent[sent:]
            else:
                self._wait(deadline)

    def send_some(self, unsent: bytearray) -> None:
        """Send as much of ``unsent`` as the kernel takes now, and remove it from there. `receive`
        raises a failure, after the bytes that the peer had sent before it."""
        try:
            while unsent and (sent := self._try_send(unsent)):
                del unsent[:sent]
        except OSError as error:
            self._failure = error
            unsent.clear()

    def receive(self, deadline: float | None, unsent: bytearray | None = None) -> bytes:
        """The next bytes received; empty at the end. Meanwhile sends from ``unsent``: a peer whose
        replies are not read may stop reading."""
        while True:
            if unsent:
                self.send_some(unsent)
            data = self.receive_now()
            if data is not None:
                return data
            self._wait(deadline)

    def receive_now(self) -> bytes | None:
        """The bytes received so far; empty at the end, None if there are none yet."""
        try:
            return self._socket.recv(_READ_SIZE) or self._end()
        except (BlockingIOError, ssl.SSLWantReadError):
            self._events |= select.POLLIN
        except ssl.SSLWantWriteError:
            self._events |= select.POLLOUT
        except ssl.SSLZeroReturnError:
            return self._end()
        return None

    def end(self) -> None:
        """End the outgoing stream. Raises UsageError for TLS: Python has no half-close for it."""
        if isinstance(self._socket, ssl.SSLSocket):
            raise UsageError("end: a TLS connection has no half-close; receive, then close")
        self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Close at once, without a TLS close_notify."""
        self._socket.close()

    def close(self) -> None:
        """Close. With TLS, first wait up to a second for the peer's close_notify: unread bytes,
        such as its session tickets, would make the kernel reset the connection and drop sent
        data."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.fileno() >= 0:
            try:
                self._exchange_close_notify(self._socket, time.monotonic() + _CLOSE_NOTIFY_TIMEOUT)
            except (OSError, ValueError, DeadlinePassed):
                pass
        self._socket.close()

    def _exchange_close_notify(self, sock: ssl.SSLSocket, deadline: float) -> None:
        while True:
            try:
                sock.unwrap()
                return
            except ssl.SSLWantReadError:
                self._events = select.POLLIN
            except ssl.SSLWantWriteError:
                self._events = select.POLLOUT
            self._wait(deadline)

    def _end(self) -> bytes:
        """The end of the stream. Raises OSError if sending has failed before."""
        if self._failure is not None:
            raise self._failure
        return b""

    def _try_send(self, data: memoryview | bytearray) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._events |= select.POLLOUT
        except ssl.SSLWantReadError:
            self._events |= select.POLLIN
        return 0

    def _wait(self, deadline: float | None) -> None:
        """Wait for the events that the calls before needed."""
        seconds = seconds_until(deadline)
        self._poll.register(self._socket, self._events)
        self._events = 0
        self._poll.poll(None if seconds is None else seconds * 1000)
