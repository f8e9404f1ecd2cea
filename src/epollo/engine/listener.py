"""A listening socket in the loop."""

from __future__ import annotations

import socket
from collections.abc import Callable

ACCEPTS_PER_TURN = 64  # a storm of new connections must not starve the present ones


class Listener:
    """Accepts what the kernel has queued, a bounded number at each turn."""

    __slots__ = ("_accept", "_failed", "_report", "accepts", "socket")

    def __init__(
        self,
        listener: socket.socket,
        accept: Callable[[socket.socket], object],
        failed: Callable[[OSError], object],
        report: Callable[[BaseException, str], object],
    ) -> None:
        self.socket: socket.socket = listener
        self.accepts: int = ACCEPTS_PER_TURN
        self._accept = accept
        self._failed = failed
        self._report = report

    def ready(self, events: int) -> None:
        self.accept(self.accepts)

    def accept(self, most: int) -> None:
        """Accept up to ``most`` of the connections that are queued."""
        for _ in range(most):
            if self.socket.fileno() < 0:  # closed by what was just accepted
                return
            try:
                accepted = self.next()
            except BlockingIOError:
                return
            except ConnectionError:  # ECONNABORTED: this one left the queue; the next may wait
                continue
            except OSError as error:  # EMFILE and its like: level-triggered, so no later is lost
                self._failed(error)
                return
            if accepted is None:
                return
            try:
                self._accept(accepted)
            except BaseException as error:
                self._report(error, "a connection could not be accepted")

    def next(self) -> socket.socket | None:
        """The next connection, or None. Raises OSError; BlockingIOError is the same as None."""
        return self.socket.accept()[0]

    def descriptors(self) -> tuple[int, ...]:
        return (self.socket.fileno(),)

    def abort(self) -> None:
        self.socket.close()
