"""A filter at work: between the socket and the framing of a connection that is established."""

from __future__ import annotations

import ssl

from epollo.engine import CloseReason
from epollo.engine.flow import FlowControl
from epollo.errors import FilterError


class Filtering(FlowControl):
    """Takes what comes, and what goes, through the filter, where there is one."""

    __slots__ = ()

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS state, for getpeercert() and selected_alpn_protocol(); None without TLS."""
        return None if self.filter is None else self.filter.tls

    def filtered(self, data: bytes) -> None:
        """What came off the wire, none for its end, goes through the filter to the framing."""
        assert self.filter is not None
        try:
            if not data:
                self.filter.eof()
            plain = self.filter.received(data)
        except FilterError as error:
            if error.received:
                self.feed(error.received)
            self.transmit(self.filter.pending())
            self.end(CloseReason(error.reason), error)
        else:
            self.unwrapped(plain)
            if not data:
                self.end_of_stream()

    def unwrapped(self, plain: bytes) -> None:
        """Serve what the filters gave; send what they have to say themselves."""
        if plain:
            self.feed(plain)
        if self.filter is not None and not self.closed:
            self.transmit(self.filter.pending())
            if self.filter.ended:
                self.end_of_stream()

    def wrap(self, plain: bytes) -> bytes:
        """What goes on the wire for ``plain``; nothing, and closed, where the filter cannot."""
        assert self.filter is not None
        try:
            return self.filter.send(plain)
        except FilterError as error:
            self.drop(CloseReason(error.reason), error)
            return b""

    def _says_last_word(self) -> bool:
        """Send the filter's; true while it is still to be taken, or where the peer is gone, which
        is then no other end than the one there was."""
        assert self.filter is not None
        reason, error = self.reason, self.error
        self.transmit(self.filter.close())
        if self.closed:
            self.reason, self.error = reason, error
        elif self.unsent:
            self._await()
        return self.closed or self.unsent > 0
