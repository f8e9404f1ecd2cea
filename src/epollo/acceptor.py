"""What becomes of a new connection, and of those that cannot be taken."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time

from epollo import address
from epollo.engine import ConnectionProtocol, EventLoop
from epollo.errors import PollerFull

_log = logging.getLogger("epollo.server")

REST_SECONDS = 1.0


class Acceptor:
    """Takes the connections of one listener for one protocol.

    Out of descriptors, accept() fails while the connection stays in the queue, and a
    level-triggered poller reports the listener for ever. So one descriptor is kept in reserve:
    given up for as long as it takes to accept and close, it lets the peer be told at once
    (libuv does the same). Where even that fails, the listener is left alone for a second.
    """

    def __init__(
        self, loop: EventLoop, listener: socket.socket, protocol: ConnectionProtocol
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._protocol = protocol
        self._process = os.getpid()
        self._reserve: int | None = _open_reserve()
        self._last_complaint = float("-inf")
        self._resume()

    def close(self) -> None:
        """Accept no more, and close the listener."""
        if self._listener.fileno() >= 0:
            if os.getpid() == self._process:  # a forked one leaves the path of a Unix socket alone
                address.remove_socket(self._listener)
            self._loop.unlisten(self._listener)
        self._give_up_reserve()

    def _accept(self, sock: socket.socket) -> None:
        try:
            self._loop.attach(sock, self._protocol)
        except (PollerFull, OSError) as error:
            self._complain(f"connection refused: {error}")

    def _failed(self, error: OSError) -> None:
        if error.errno in (errno.EMFILE, errno.ENFILE) and self._refuse_one():
            self._complain("connection refused: no descriptors left; raise ulimit -n")
        else:
            self._complain(f"cannot accept: {error.strerror}; trying again in {REST_SECONDS:g} s")
            self._loop.unwatch(self._listener.fileno())
            self._loop.call_later(REST_SECONDS, self._resume)

    def _refuse_one(self) -> bool:
        if not self._give_up_reserve():
            return False
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:  # it has left of its own accord
            pass
        except OSError:
            return False
        finally:
            self._reserve = _open_reserve()
        return True

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._reserve = self._reserve or _open_reserve()
            self._loop.listen(self._listener, self._accept, self._failed)

    def _give_up_reserve(self) -> bool:
        reserve, self._reserve = self._reserve, None
        if reserve is not None:
            os.close(reserve)
        return reserve is not None

    def _complain(self, text: str) -> None:
        """Log at most once a second: thousands may be refused in that time."""
        now = time.monotonic()
        if now - self._last_complaint >= 1:
            self._last_complaint = now
            _log.warning(text)


def _open_reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
