"""A filter at work: between the socket and the framing of a connection that is established."""

from __future__ import annotations

import ssl
from collections import deque
from typing import TYPE_CHECKING

from epollo.engine import CloseReason
from epollo.engine.flow import FlowControl
from epollo.errors import FilterError

if TYPE_CHECKING:
    from epollo.filters.base import Filter


class FilterIO:
    """The filter of a connection, and the plain bytes that wait for it."""

    __slots__ = ("busy", "filter", "plain")

    def __init__(self, established: Filter) -> None:
        self.filter = established
        self.plain: deque[bytes] = deque()
        self.busy = False  # at work for this connection, so not to be called

    def received(self, data: bytes) -> bytes:
        """The plain bytes in what came; no ``data`` is the end. Raises FilterError."""
        self.busy = True
        try:
            if not data:
                self.filter.eof()
            return self.filter.received(data)
        finally:
            self.busy = False


class Filtering(FlowControl):
    """Takes what comes, and what goes, through the filter, where there is one."""

    __slots__ = ()

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS state, for getpeercert() and selected_alpn_protocol(); None without TLS."""
        return None if self.filter_io is None else self.filter_io.filter.tls

    def filtered(self, data: bytes) -> None:
        """What came off the wire, none for its end, goes through the filter to the framing."""
        assert self.filter_io is not None
        try:
            plain = self.filter_io.received(data)
        except FilterError as error:
            if error.received:
                self.feed(error.received)
            self.send_filtered(b"")
            self.end(CloseReason(error.reason), error)
        else:
            self.unwrapped(plain)
            if not data:
                self.end_of_stream()

    def unwrapped(self, plain: bytes) -> None:
        """Serve what the filters gave; send what they have to say themselves."""
        if plain:
            self.feed(plain)
        if self.filter_io is not None and not self.closed:
            self.send_filtered(b"")
            if self.filter_io.filter.ended:
                self.end_of_stream()

    def send_filtered(self, plain: bytes) -> None:
        """Send ``plain``, and what the filter itself has to say, as the filter makes it.

        What it makes must be sent in the order in which it was made; and OpenSSL, of which Python
        runs signal handlers in the middle, must not be called again by one. So while the filter
        works, a signal handler or a finalizer that sends only queues, for the call that follows.
        """
        io = self.filter_io
        assert io is not None
        io.plain.append(plain)
        if io.busy:
            return
        io.busy = True
        try:
            while io.plain:
                self.queue_raw(self._wrap(io.filter, io.plain.popleft()))
        except BaseException as error:  # a part of the stream may be lost: nothing can follow it
            self.drop(CloseReason.HANDLER_ERROR, error)
            raise
        finally:
            io.busy = False

    def _wrap(self, applied: Filter, plain: bytes) -> bytes:
        """What goes on the wire for ``plain``; nothing, and closed, where the filter cannot."""
        try:
            return applied.send(plain) if plain else applied.outgoing()
        except FilterError as error:
            self.drop(CloseReason(error.reason), error)
            return b""

    def _says_last_word(self) -> bool:
        """Send the filter's; true while it is still to be taken, or where the peer is gone, which
        is then no other end than the one there was."""
        assert self.filter_io is not None
        reason, error = self.reason, self.error
        self.transmit(self.filter_io.filter.close())
        if self.closed:
            self.reason, self.error = reason, error
        elif self.unsent:
            self._await()
        return self.closed or self.unsent > 0
