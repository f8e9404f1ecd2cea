"""A connected socket, plain or TLS: what both clients do with it, without waiting."""

from __future__ import annotations

import errno
import fcntl
import select
import socket
import ssl
import struct
import termios

from epollo.address import close_with_reset
from epollo.client.endpoint import Endpoint
from epollo.client.forks import Owner
from epollo.client.handshake import handshake_error
from epollo.errors import UsageError

READ_SIZE = 64 << 10

CLOSE_NOTIFY_TIMEOUT = 1.0  # seconds to wait for it at a close if no message is unanswered

# Errors of send(2) after which the incoming stream ends too. After another one, such as ENOBUFS or
# ENETUNREACH, nothing more may come, and no end either.
_OF_A_DEAD_SOCKET = (errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT)


def encrypted(sock: socket.socket, endpoint: Endpoint) -> ssl.SSLSocket:
    """``sock`` with TLS, before its handshake; ``sock`` itself is closed. Raises
    TLSHandshakeError."""
    assert endpoint.tls is not None
    with sock:  # wrap_socket detaches its descriptor
        try:
            return endpoint.tls.wrap_socket(
                sock,
                server_hostname=endpoint.server_hostname,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except (OSError, ValueError) as error:
            raise handshake_error(endpoint, error) from error


class Transport:
    """Sends and receives what can be sent and received now. Raises OSError if the connection fails.

    ``events`` are the poll(2) events to wait for: those that the calls since the last wait needed.
    ``taking`` is true from a read until `taken`: if an exception interrupts the thread there, bytes
    that the kernel has given away may be lost.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.events: int = 0
        self.taking: bool = False
        self._owner = Owner()
        self._socket = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._failure: OSError | None = None
        self._finished_sending = False
        self._was_shut_down = False

    @property
    def encrypted(self) -> bool:
        return self._tls is not None

    @property
    def failed(self) -> bool:
        """Has sending failed?"""
        return self._failure is not None

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._socket.fileno()

    def try_send(self, data: memoryview | bytearray) -> int:
        """Send as much of ``data`` as the kernel takes; returns the number of bytes."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            self.events |= select.POLLOUT
        except ssl.SSLWantReadError:
            self.events |= select.POLLIN
        return 0

    def send_some(self, unsent: bytearray) -> None:
        """Send as much of ``unsent`` as the kernel takes now, and remove it from there.

        `receive_now` raises a failure, after the bytes that the peer had sent before it.
        """
        try:
            while unsent and (sent := self.try_send(unsent)):
                del unsent[:sent]
        except OSError as error:
            self.fail(error)
            unsent.clear()

    def fail(self, error: OSError) -> None:
        """Sending has failed: `receive_now` raises ``error`` instead of the end of the stream."""
        self._failure = self._failure or error

    def receive_now(self) -> bytes | None:
        """The bytes received so far; empty at the end, None if there are none yet.

        The caller calls `taken` once it has stored them.
        """
        self.taking = True
        try:
            return self._socket.recv(READ_SIZE) or self._end()
        except (BlockingIOError, ssl.SSLWantReadError):
            self.events |= select.POLLIN
        except ssl.SSLWantWriteError:
            self.events |= select.POLLOUT
        except ssl.SSLZeroReturnError:
            return self._end()
        except OSError:
            if self._failure is not None:
                raise self._failure from None
            raise
        self.taking = False
        if self._failure is not None and self._failure.errno not in _OF_A_DEAD_SOCKET:
            raise self._failure
        return None

    def taken(self) -> None:
        """The received bytes are stored."""
        self.taking = False

    def end(self) -> None:
        """End the outgoing stream. Raises UsageError for TLS: Python has no half-close for it."""
        if self._tls is not None:
            raise UsageError("end: a TLS connection has no half-close; receive, then close")
        self._socket.shutdown(socket.SHUT_WR)

    def finish(self, unsent: bytearray) -> bool:
        """A step of an orderly close: send the rest, end the stream, and discard what is received.
        Returns whether both ends have ended their streams.

        A close with received bytes unread, or with more to come, is a reset, which makes the peer
        drop what it has not read yet (RFC 2525, 2.17).
        """
        while unsent and (sent := self.try_send(unsent)):
            del unsent[:sent]
        if not unsent and not self._finished_sending:
            self._finished_sending = self._finish_sending()
        try:
            return self._discard() and self._finished_sending
        except BlockingIOError:
            self.events |= select.POLLIN
            return False

    def unsent(self) -> int:
        """Bytes that the kernel has not sent, or whose receipt the peer has not acknowledged."""
        try:
            found = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return 0
        count: int = struct.unpack("i", found)[0]
        return count

    def abort(self) -> None:
        """Close at once, without a TLS close_notify. Bytes that the peer has not acknowledged are
        dropped by the kernel too, instead of being kept for as long as the peer lives. If a
        forked child has the socket open too, only a shutdown ends the connection."""
        unsent = self.unsent()  # before the shutdown, whose FIN is counted too
        if self._owner.shares:
            self.shut_down()
        if self._socket.family != socket.AF_UNIX and unsent:
            close_with_reset(self._socket)
        else:
            self._socket.close()

    def encrypt(self, endpoint: Endpoint) -> ssl.SSLSocket:
        """Go on with TLS; the caller makes the handshake of the socket returned. Raises
        TLSHandshakeError."""
        self._socket = self._tls = encrypted(self._socket, endpoint)
        if self._was_shut_down:  # meanwhile, when the socket before had no descriptor any more
            self.shut_down()
        return self._tls

    def give_up_socket(self) -> socket.socket:
        """The socket, which is the caller's from now on."""
        return self._socket

    def release(self) -> None:
        """Close the descriptor only; it may be open in another process too."""
        self._socket.close()

    def shut_down(self) -> None:
        """End both streams, which wakes a thread that waits for the peer."""
        self._was_shut_down = True
        try:
            # Not SSLSocket.shutdown, which gives up TLS first: a thread that sends at that moment
            # would send in plain.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:  # not connected any more
            pass

    def _end(self) -> bytes:
        """The end of the stream. Raises OSError if sending has failed before."""
        if self._failure is not None:
            raise self._failure
        return b""

    def _finish_sending(self) -> bool:
        """End the outgoing stream, and return whether it is ended."""
        if self._tls is not None:
            try:
                self._tls.unwrap()  # sends close_notify; then it looks for the peer's
            except ssl.SSLWantWriteError:
                self.events |= select.POLLOUT
                return False
            except (ssl.SSLError, ValueError):  # such as data before the peer's close_notify
                pass
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # the peer has reset the connection; receiving raises that
            pass
        return True

    def _discard(self) -> bool:
        """Read until there is no more now; returns whether the stream has ended. After close_notify
        OpenSSL would refuse to read on, so the bytes are taken below TLS."""
        if self._finished_sending:
            while socket.socket.recv(self._socket, READ_SIZE):
                pass
            return True
        while (data := self.receive_now()) is not None:
            if not data:
                return True
        return False
