"""The transport of the blocking client, which waits for the socket until a deadline."""

from __future__ import annotations

import select
import socket
import ssl
import time

from epollo import address
from epollo.address.dialing import LONGEST_WAIT
from epollo.client.endpoint import Endpoint
from epollo.client.handshake import handshake_error
from epollo.client.transport import Transport, encrypted
from epollo.errors import ConnectError


class DeadlinePassed(Exception):
    """The deadline of a call has passed. Not a TimeoutError: that is the kernel's ETIMEDOUT.

    ``unsent``: the peer had not acknowledged all bytes.
    """

    unsent = False


def dial(endpoint: Endpoint, deadline: float | None) -> SyncTransport:
    """Connect to ``endpoint``. Raises ConnectError and TLSHandshakeError."""
    try:
        sock = address.connect(endpoint.address, seconds_until(deadline))
        try:
            address.find_dead_peer(sock, endpoint.keepalive)
            if endpoint.tls is not None:
                sock = wrapped = encrypted(sock, endpoint)
                _handshake(wrapped, endpoint, deadline)
            return SyncTransport(sock)
        except OSError as error:
            sock.close()
            if isinstance(error, ConnectError):
                raise
            raise address.connect_error(endpoint.address, error) from error
        except BaseException:
            sock.close()
            raise
    except DeadlinePassed:
        raise address.connect_error(endpoint.address, TimeoutError("timed out")) from None


def start_tls(
    transport: SyncTransport, endpoint: Endpoint, deadline: float | None
) -> SyncTransport:
    """``transport`` with TLS; it must not be used any more. Raises TLSHandshakeError."""
    sock = encrypted(transport.give_up_socket(), endpoint)
    try:
        _handshake(sock, endpoint, deadline)
        return SyncTransport(sock)
    except DeadlinePassed:
        sock.close()
        raise handshake_error(endpoint, TimeoutError()) from None
    except BaseException:
        sock.close()
        raise


def _handshake(sock: ssl.SSLSocket, endpoint: Endpoint, deadline: float | None) -> None:
    try:
        sock.settimeout(seconds_until(deadline))  # for the whole handshake
        sock.do_handshake()
    except (OSError, ValueError) as error:
        raise handshake_error(endpoint, error) from error


def seconds_until(deadline: float | None) -> float | None:
    """The seconds until ``deadline``, at most LONGEST_WAIT. Raises DeadlinePassed."""
    if deadline is None:
        return None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise DeadlinePassed
    return min(seconds, LONGEST_WAIT)


class SyncTransport(Transport):
    """Waits for what cannot be done now. Raises OSError if the connection fails, and
    DeadlinePassed."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._poll = select.poll()

    def send(self, data: bytes, deadline: float | None) -> None:
        """Send all of ``data``."""
        unsent = memoryview(data)
        while unsent:
            if sent := self.try_send(unsent):
                unsent = unsent[sent:]
            else:
                self._wait(deadline)

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

    def close(self, deadline: float | None, *, wait: bool) -> None:
        """End the outgoing stream and close. With ``wait``, first wait for the peer's end.

        Raises OSError if the connection fails meanwhile, and DeadlinePassed.
        """
        nothing = bytearray()
        try:
            while not self.finish(nothing) and wait:
                self._wait(deadline)
        except DeadlinePassed as passed:
            passed.unsent = self.unsent() > 0
            self.abort()
            raise
        except BaseException:
            self.abort()
            raise
        self.release()

    def _wait(self, deadline: float | None) -> None:
        """Wait for the events that the calls before needed."""
        seconds = seconds_until(deadline)
        self._poll.register(self._socket, self.events)
        self.events = 0
        self._poll.poll(None if seconds is None else seconds * 1000)
