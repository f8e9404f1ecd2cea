"""Serves the figures of a registry on an address, on any loop."""

from __future__ import annotations

import socket

from prometheus_client import CollectorRegistry

from epollo import address
from epollo.engine import CloseReason, EngineConnection, EventLoop, Limits, Timer
from epollo.errors import PollerFull
from epollo.framing import Framing, parse
from epollo.logs.logger import logger
from epollo.metrics.scrape import Scrape

SECONDS = 5.0  # for a request and its response
MOST = 16  # connections at a time
_RETRY_SECONDS = 1.0
_MOST_UNSENT = 4 << 20  # bytes

_log = logger("epollo.metrics")


class MetricsListener:
    """Listens on ``bind``, an address as text, and answers on ``loop``.

    No client can cost much: a request is small, a scrape has a deadline, and of more
    than ``MOST`` connections the oldest is closed. Raises AddressError and BindError.

    Attributes:
        address: the one really bound.
    """

    framing: Framing = parse("raw")
    limits: Limits = Limits(max_unsent=_MOST_UNSENT)

    def __init__(self, loop: EventLoop, bind: str, registry: CollectorRegistry) -> None:
        self._loop = loop
        self._registry = registry
        self._open: dict[EngineConnection, Timer] = {}  # the oldest first
        wanted = address.parse(bind)
        options = address.Options(MOST)
        self._listener, self._file = address.listen_all(wanted, options, most=1)[0]
        self.address: str = str(address.of(self._listener.getsockname()))
        self._listen()

    @property
    def url(self) -> str:
        """Where the figures are: a URL, or the address of a Unix socket."""
        if self.address.startswith("unix:"):
            return self.address
        return f"http://{self.address}/metrics"

    def close(self) -> None:
        """Accept no more, and close all connections. In the loop's thread, or once it is over."""
        if self._listener.fileno() >= 0:
            if self._file is not None:
                self._file.remove()
            self._loop.unlisten(self._listener)
        for connection in list(self._open):
            connection.abort()

    def received(self, data: bytes, connection: EngineConnection) -> bytes | None:
        """A part of a request came."""
        response: bytes | None = connection.state.feed(data)
        if response is not None:
            connection.close()
        return response

    def connected(self, connection: EngineConnection) -> None:
        connection.state = Scrape(self._registry)

    def closed(self, connection: EngineConnection, reason: CloseReason) -> None:
        self._open.pop(connection).cancel()
        if reason is CloseReason.HANDLER_ERROR:
            _log.error("the figures cannot be told", exc_info=connection.error)

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.listen(self._listener, self._accept, self._failed)

    def _accept(self, sock: socket.socket) -> None:
        if len(self._open) >= MOST:
            next(iter(self._open)).abort()
        try:
            connection = self._loop.attach(sock, self)
        except PollerFull:
            return
        self._open[connection] = self._loop.call_later(SECONDS, connection.abort)

    def _failed(self, error: OSError) -> None:
        """No descriptor is left, or something like that: try again later."""
        _log.warning("%s: cannot accept: %s", self.address, error.strerror)
        self._loop.unwatch(self._listener.fileno())
        self._loop.call_later(_RETRY_SECONDS, self._listen)
