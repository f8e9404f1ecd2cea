"""A connection whose filters come first: a proxy's header, a TLS handshake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakMethod

from epollo.engine import CloseReason
from epollo.engine.events import READ, WRITE
from epollo.engine.filtering import FilterIO
from epollo.errors import FilterError

if TYPE_CHECKING:
    from epollo.engine.lifecycle import Lifecycle
    from epollo.filters.base import Filter

READ_SIZE = 64 << 10


class Greeting:
    """Establishes the filters of a connection, one after the other, and opens it then.

    The handler hears nothing of a peer that fails here. While a filter's words are unsent nothing
    is read, so a peer that does not listen cannot make them pile up.
    """

    __slots__ = ("__weakref__", "_filters", "_heard", "_timer", "_unsent", "connection")

    def __init__(self, connection: Lifecycle, filters: Sequence[Filter]) -> None:
        self.connection = connection
        self._filters = list(filters)
        self._heard = False  # a byte of the peer
        self._unsent = b""
        self._set_timer()
        connection.loop.watch(connection.fd, self, READ)
        self._drive(b"")  # there are filters that have the first word

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
            self._timer.cancel()
            self.connection.drop(CloseReason.RESET, error)

    def abort(self) -> None:
        self.connection.abort()

    def _receive(self) -> None:
        data = self.connection.socket.recv(READ_SIZE)
        if data:
            self._heard = True
            self._drive(data)
        else:
            self._end_of_stream()

    def _drive(self, data: bytes) -> None:
        """Give what came to the filter whose turn it is; what one leaves over is for the next."""
        try:
            while self._filters:
                current = self._filters[0]
                data = current.received(data)
                self._unsent += current.outgoing()
                if not current.established:
                    break
                self._take_over(self._filters.pop(0))
        except FilterError as error:
            self._fail(error)
        else:
            self._go_on(data)

    def _take_over(self, established: Filter) -> None:
        connection = self.connection
        if established.peername is not None:
            connection.peer = established.peername
        if not established.handshake_only:
            assert connection.filter_io is None, "two filters that stay"
            connection.filter_io = FilterIO(established)
        if self._filters:
            self._set_timer()

    def _go_on(self, data: bytes) -> None:
        connection = self.connection
        if self._filters:
            if self._unsent:
                self._send()
            return
        self._timer.cancel()
        connection.transmit(self._unsent)
        if not connection.closed:
            connection.open()
            connection.unwrapped(data)

    def _send(self) -> None:
        connection = self.connection
        try:
            sent = connection.socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        self._unsent = self._unsent[sent:]
        connection.loop.watch(connection.fd, self, WRITE if self._unsent else READ)

    def _end_of_stream(self) -> None:
        try:
            if self._heard or self._filters[0].speaks_first:
                self._filters[0].eof()
        except FilterError as error:
            self._fail(error)
        else:
            self._timer.cancel()
            self.connection.drop(CloseReason.EOF)

    def _fail(self, error: FilterError) -> None:
        """Say why, where the filter has words for it (a TLS alert), and close."""
        self._timer.cancel()
        self._unsent += self._filters[0].outgoing()
        if self._unsent:
            try:
                self.connection.socket.send(self._unsent)
            except OSError:  # who takes nothing more is not told
                pass
        self.connection.refuse(error)

    def _set_timer(self) -> None:
        loop, current = self.connection.loop, self._filters[0]
        if (timer := getattr(self, "_timer", None)) is not None:
            timer.cancel()
        # Weakly, for a connection that is closed meanwhile must not be kept until then.
        time_is_up = WeakMethod(self._time_is_up)
        self._timer = loop.call_later(current.timeout, lambda: _call(time_is_up))

    def _time_is_up(self) -> None:
        if not self.connection.closed:
            current = self._filters[0]
            error = current.fault(f"not established within {current.timeout:g} s")
            error.__cause__ = TimeoutError()
            self._fail(error)


def _call(method: Callable[[], Callable[[], None] | None]) -> None:
    found = method()
    if found is not None:
        found()
