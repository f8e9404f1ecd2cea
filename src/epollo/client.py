"""A blocking client of a framed server."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from epollo import address
from epollo.errors import ConnectionClosed, FrameError, ReplyTimeout, StreamEnded
from epollo.framing import DEFAULT_MAX_FRAME, Buffer, Framing, parse

_READ_SIZE = 64 << 10


def connect(
    to: str,
    framing: str | Framing = "u32",
    timeout: float | None = 5.0,
    max_frame: int = DEFAULT_MAX_FRAME,
) -> Client:
    """A client connected to ``to``, an address in the form that ``--bind`` takes.

    ``timeout`` bounds, in seconds, the connecting and then each call; None waits for ever.
    Raises AddressError, FramingSpecError and ConnectFailed.
    """
    where = address.parse(to)
    how = parse(framing, max_frame)
    return Client(address.connect(where, timeout), how, timeout, name=str(where))


class Client:
    """One connection, for one thread at a time. Made by `connect`; a context manager.

    Iterating yields messages until the peer ends the stream.
    """

    def __init__(
        self, sock: socket.socket, framing: Framing, timeout: float | None, name: str
    ) -> None:
        self._socket = sock
        self._framing = framing
        self._decoder = framing.decoder()
        self._inbox: deque[bytes] = deque()
        self._fault: FrameError | None = None
        self.peername = name
        self.timeout = timeout

    def request(self, message: Buffer) -> bytes:
        """Send ``message`` and return the next one received. Raises as `send` and `receive`."""
        self.send(message)
        return self.receive()

    def send(self, message: Buffer) -> None:
        """Send one message whole.

        Raises EncodeError before a byte is sent, ConnectionClosed and ReplyTimeout. After a
        ReplyTimeout an unknown part of the message is sent, so the client is closed.
        """
        frame = self._framing.encode(message)
        try:
            self._socket.settimeout(self.timeout)
            self._socket.sendall(frame)
        except TimeoutError:
            self.close()
            raise ReplyTimeout(
                f"{self.peername} did not take the message within {self.timeout:g} s"
            ) from None
        except OSError as error:
            raise self._broken(error) from error

    def receive(self) -> bytes:
        """The next message.

        Raises ReplyTimeout (a later call may still get the message), ConnectionClosed at the end
        of the stream, FrameTruncated where it ends inside a frame, FrameTooLarge and FrameCorrupt.
        """
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        while not self._inbox:
            if self._fault is not None:
                raise self._fault
            self._read(deadline)
        return self._inbox.popleft()

    def end(self) -> None:
        """Send no more (half-close); the replies to what was sent can still be received."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._broken(error) from error

    def close(self) -> None:
        self._socket.close()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                message = self.receive()
            except StreamEnded:
                return
            yield message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, deadline: float | None) -> None:
        """Wait for bytes until ``deadline``, however they trickle, and cut them."""
        try:
            self._socket.settimeout(None if deadline is None else _left(deadline))
            data = self._socket.recv(_READ_SIZE)
        except TimeoutError as error:
            if self.timeout is None:  # ETIMEDOUT: the kernel has given up the connection
                raise self._broken(error) from error
            raise ReplyTimeout(f"no message from {self.peername} in {self.timeout:g} s") from None
        except OSError as error:
            raise self._broken(error) from error
        if not data:
            self._decoder.eof()
            raise StreamEnded(f"{self.peername} has closed the connection")
        try:
            self._inbox += self._decoder.feed(data)
        except FrameError as fault:
            self._inbox += fault.messages
            self._fault = fault

    def _broken(self, error: OSError) -> ConnectionClosed:
        cause = (
            "closed here" if self._socket.fileno() < 0 else (error.strerror or str(error)).lower()
        )
        return ConnectionClosed(f"connection to {self.peername} is broken: {cause}")


def _left(deadline: float) -> float:
    """The seconds until ``deadline``. Raises TimeoutError where it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
