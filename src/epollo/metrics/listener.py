"""Serves pages on an address, on any loop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from itertools import chain
from time import monotonic
from typing import Any

from epollo import address
from epollo.address import Bound
from epollo.engine import CloseReason, EngineConnection, EventLoop, Limits, Timer
from epollo.errors import PollerFull
from epollo.framing import Framing, parse
from epollo.logs.logger import logger
from epollo.metrics.pages import Pages
from epollo.metrics.scrape import Scrape

SECONDS = 5.0  # for a request and its response
MOST = 16  # connections at a time
_TAKE_SECONDS = 0.1  # a scraper has its response by then
_ACCEPTS = 4  # in a turn of the loop: a storm of connections takes no long turn
_BACKLOG = 128  # in a full queue, a scraper would have to try again
_RETRY_SECONDS = 1.0
_MOST_UNSENT = 4 << 20  # bytes

_log = logger("epollo.metrics")


def listening_on(bind: str, existing: Callable[[Any], Bound | None] = lambda _: None) -> Bound:
    """A socket that listens on ``bind``, an address as text. ``existing`` returns the one that this
    process has already for a socket address. Raises AddressError and BindError."""
    options = address.Options(_BACKLOG)
    return address.listen_all(address.parse(bind), options, most=1, existing=existing)[0]


class MetricsListener:
    """Answers on ``loop``, from `begin` on, the requests for ``pages`` that come to ``bound``.

    No client can cost much: a request is small, a response has a deadline, and of more
    than ``MOST`` connections one is closed, the one that is least likely a scraper's.

    Attributes:
        address: the one really bound.
    """

    framing: Framing = parse("raw")
    limits: Limits = Limits(max_unsent=_MOST_UNSENT)

    def __init__(self, loop: EventLoop, bound: Bound, pages: Pages) -> None:
        self._loop = loop
        self._pages = pages
        self._open: dict[EngineConnection, Timer] = {}  # the oldest first
        self.bound: Bound = bound
        self._listener, self._file = bound
        self._listens = False
        self.address: str = str(address.of(self._listener.getsockname()))

    @property
    def url(self) -> str:
        """Where the figures are: a URL, or the address of a Unix socket."""
        if self.address.startswith("unix:"):
            return self.address
        return f"http://{self.address}/metrics"

    def begin(self) -> None:
        """Accept connections. In the loop's thread, or before it runs."""
        if self._listener.fileno() >= 0 and not self._listens:
            self._listens = True
            source = self._loop.listen(self._listener, self._accept, self._failed)
            source.accepts = _ACCEPTS

    def end(self, *, leave_file: bool = False) -> None:
        """Accept no more. With ``leave_file``, the file of a Unix socket is another process's."""
        if self._listener.fileno() < 0:
            return
        if self._file is not None and not leave_file:
            self._remove(self._file)
        if self._listens:
            self._loop.unlisten(self._listener)
        else:
            self._listener.close()

    def close(self, *, leave_file: bool = False) -> None:
        """As `end`, and close all connections. In the loop's thread, or once it is over."""
        self.end(leave_file=leave_file)
        for connection in list(self._open):
            connection.abort()

    def received(self, data: bytes, connection: EngineConnection) -> None:
        """A part of a request came."""
        scrape: Scrape = connection.state
        scrape.feed(data)
        if scrape.asked and not connection.closed:
            connection.pause_reading()

    def connected(self, connection: EngineConnection) -> None:
        connection.state = Scrape(self._pages, partial(_send, connection))

    def closed(self, connection: EngineConnection, reason: CloseReason) -> None:
        self._forget(connection)
        scrape, connection.state = connection.state, None  # which knows the connection
        if scrape is not None:
            scrape.gone = True
        if reason is CloseReason.HANDLER_ERROR:
            _log.error("the figures cannot be told", exc_info=connection.error)

    def _remove(self, file: address.SocketFile) -> None:
        try:
            file.remove()
        except OSError as error:
            _log.warning("%s is left behind: %s", file.path, error.strerror)

    def _accept(self, sock: socket.socket) -> None:
        if len(self._open) >= MOST:
            self._give_up(self._least_likely())
        try:
            connection = self._loop.attach(sock, self)
        except PollerFull:
            return
        self._open[connection] = self._loop.call_later(SECONDS, connection.abort)

    def _give_up(self, connection: EngineConnection) -> None:
        self._forget(connection)  # the loop may close it later in this turn
        connection.abort()

    def _forget(self, connection: EngineConnection) -> None:
        timer = self._open.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def _least_likely(self) -> EngineConnection:
        """The connection that is least likely a scraper's: a scraper takes its response, and asks
        as soon as it is connected. Of several, the oldest."""
        late = monotonic() - _TAKE_SECONDS
        reset = (each for each in self._open if each.state is None)  # before they were accepted
        not_taken = (each for each in self._open if each.state.answered_at < late)
        not_asked = (each for each in self._open if not each.state.asked)
        return next(chain(reset, not_taken, not_asked, self._open))

    def _failed(self, error: OSError) -> None:
        """No descriptor is left, or something like that: try again later."""
        _log.warning("%s: cannot accept: %s", self.address, error.strerror)
        self._loop.unwatch(self._listener.fileno())
        self._listens = False
        self._loop.call_later(_RETRY_SECONDS, self.begin)


def _send(connection: EngineConnection, response: bytes) -> None:
    """Send ``response``, perhaps long after the request, and close."""
    if not connection.closed:
        connection.send(response)
        connection.close()
