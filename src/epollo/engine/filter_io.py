"""A filter at work, between the socket and the framing of one connection."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from epollo.engine.timers import Timer
from epollo.errors import FilterError
from epollo.filters.base import Filter
from epollo.reasons import CloseReason


class FilteredConnection(Protocol):
    """What a filter needs of its connection."""

    reason: CloseReason | None
    error: BaseException | None

    @property
    def closed(self) -> bool: ...
    @property
    def unsent(self) -> int: ...
    def over_max_unsent(self, waiting: int = 0, /) -> bool: ...
    def feed(self, plain: bytes, /) -> None: ...
    def transmit(self, data: bytes, /) -> None: ...
    def queue_raw(self, data: bytes, /) -> None: ...
    def end_of_stream(self) -> None: ...
    def end(self, reason: CloseReason, error: BaseException | None = None) -> None: ...
    def drop(
        self, reason: CloseReason | None = None, error: BaseException | None = None
    ) -> None: ...


class FilterIO:
    """The filter of one connection, and the plain bytes that wait for it.

    The connection is an argument of each call: to keep it would make a cycle.
    """

    __slots__ = ("_busy", "_plain", "filter", "timer", "waiting")

    def __init__(self, used: Filter, timer: Timer | None = None) -> None:
        self.filter: Filter = used
        self.timer: Timer | None = timer  # of the handshake, if the filter is not established
        self.waiting: int = 0  # bytes that are sent once it is
        self._plain: deque[bytes] = deque()
        self._busy = False  # at work, so that it must not be called again

    def receive(self, connection: FilteredConnection, data: bytes) -> None:
        """Take what came off the wire, nothing for its end, through the filter to the framing."""
        fault: FilterError | None = None
        self._busy = True
        try:
            if not data:
                self.filter.eof()
            plain = self.filter.received(data)
        except FilterError as error:
            plain, fault = error.received, error
        finally:
            self._busy = False
        if self.timer is not None and self.filter.established:
            self.leave()
        if plain:
            connection.feed(plain)
        if fault is not None:
            self.send(connection, b"")
            connection.end(CloseReason(fault.reason), fault)
            return
        if self.filter.output.pending or self._plain or self.filter.ended:
            self.after_receive(connection)
        if not data:
            connection.end_of_stream()

    def after_receive(self, connection: FilteredConnection) -> None:
        """Send the filter's own output; and its peer may have ended the stream."""
        if (self.filter.output.pending or self._plain) and not connection.closed:
            self.send(connection, b"")
        if self.filter.ended and not connection.closed:
            connection.end_of_stream()

    def send(self, connection: FilteredConnection, plain: bytes) -> None:
        """Send ``plain``, and the filter's own output, as the filter encodes it.

        Its output must be sent in the order in which it was made; and OpenSSL, of which Python runs
        signal handlers in the middle, must not be called again by one. So while the filter works, a
        signal handler or a finalizer that sends only queues, for the call that is under way.
        """
        self._plain.append(plain)
        if self.timer is not None:
            self._hold(connection, len(plain))
        if self._busy:
            return
        self._busy = True
        try:
            if self.timer is not None:
                connection.queue_raw(self.filter.output.read())
                return
            while self._plain:
                plain = self._plain.popleft()
                data = self.filter.send(plain) if plain else self.filter.output.read()
                connection.queue_raw(data)
        except FilterError as error:
            connection.drop(CloseReason(error.reason), error)
        except BaseException as error:  # a part of the stream may be lost: nothing can follow it
            connection.drop(CloseReason.HANDLER_ERROR, error)
            raise
        finally:
            self._busy = False

    def leave(self) -> None:
        """The handshake is over, one way or the other."""
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()

    def _hold(self, connection: FilteredConnection, size: int) -> None:
        """Count plain bytes that wait until the filter is established."""
        self.waiting += size
        if not size:
            self._plain.pop()
        elif connection.over_max_unsent(self.waiting):
            connection.drop(CloseReason.SLOW_CONSUMER)

    def close(self, connection: FilteredConnection) -> bool:
        """Send the filter's closing message, once. True while it is not sent yet, or if the peer is
        gone, which does not change the reason of the close."""
        reason, error = connection.reason, connection.error
        connection.transmit(self.filter.close())
        if connection.closed:
            connection.reason, connection.error = reason, error
            return True
        return connection.unsent > 0
