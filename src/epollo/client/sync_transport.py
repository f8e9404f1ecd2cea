"""A connected socket, plain or TLS, that no call waits on beyond its deadline."""

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
_CLOSE_NOTIFY_TIMEOUT = 1.0  # seconds for the peer's close_notify


class DeadlinePassed(Exception):
    """The deadline of a call has passed; not a TimeoutError, which is the kernel's ETIMEDOUT."""


def dial(endpoint: Endpoint, deadline: float | None) -> SyncTransport:
    """Connect to ``endpoint``. Raises ConnectError and TLSHandshakeError."""
    try:
        sock = address.connect(endpoint.address, seconds_until(deadline))
        return SyncTransport(sock if endpoint.tls is None else _encrypted(sock, endpoint, deadline))
    except DeadlinePassed:
        raise address.connect_error(endpoint.address, TimeoutError("timed out")) from None


def seconds_until(deadline: float | None) -> float | None:
    """The seconds until ``deadline``, or LONGEST_WAIT. Raises DeadlinePassed if it is past."""
    if deadline is None:
        return None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise DeadlinePassed
    return min(seconds, LONGEST_WAIT)


def _encrypted(sock: socket.socket, endpoint: Endpoint, deadline: float | None) -> ssl.SSLSocket:
    assert endpoint.tls is not None
    with sock:  # which is empty once it is wrapped
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
        wrapped.settimeout(seconds_until(deadline))  # of the whole handshake
        wrapped.do_handshake()
    except (OSError, ValueError) as error:
        wrapped.close()
        raise handshake_error(endpoint, error) from error
    except BaseException:
        wrapped.close()
        raise
    return wrapped


class SyncTransport:
    """Reads and writes. Raises OSError where the connection fails, and DeadlinePassed."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._poll = select.poll()
        self._failure: OSError | None = None
        self._events = 0  # what the last calls found that they would have to wait for

    def send(self, data: bytes, deadline: float | None) -> None:
        """Send ``data`` whole."""
        unsent = memoryview(data)
        while unsent:
            if sent := self._try_send(unsent):
                unsent = unsent[sent:]
            else:
                self._wait(deadline)

    def send_some(self, unsent: bytearray) -> None:
        """Send of ``unsent`` what can be sent at once, and take it from there. That nothing can be
        is for `receive` to tell, behind what the peer sent before."""
        try:
            while unsent and (sent := self._try_send(unsent)):
                del unsent[:sent]
        except OSError as error:
            self._failure = error
            unsent.clear()

    def receive(self, deadline: float | None, unsent: bytearray | None = None) -> bytes:
        """The next bytes that come, empty at the end. Sends of ``unsent`` what it can meanwhile:
        a peer that cannot get rid of its replies may read nothing until it can."""
        while True:
            if unsent:
                self.send_some(unsent)
            data = self.receive_now()
            if data is not None:
                return data
            self._wait(deadline)

    def receive_now(self) -> bytes | None:
        """The bytes that have come, empty at the end; None where there are none yet."""
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
        """Send no more. Raises UsageError for TLS, where Python has no half-close."""
        if isinstance(self._socket, ssl.SSLSocket):
            raise UsageError("end: a TLS connection has no half-close; receive, then close")
        self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Close without a word."""
        self._socket.close()

    def close(self) -> None:
        """Close. With TLS only after the peer's goodbye, or a second: unread bytes such as its
        session tickets would make the kernel reset the connection, and destroy what was sent."""
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
        """What stands for the end of the stream. Raises OSError where sending failed before."""
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
        """Until what the calls before could not do can be done."""
        seconds = seconds_until(deadline)
        self._poll.register(self._socket, self._events)
        self._events = 0
        self._poll.poll(None if seconds is None else seconds * 1000)
