"""Accepts new connections from one listener."""

from __future__ import annotations

import errno
import os
import socket

from epollo.address import Address, SocketFile
from epollo.engine import EventLoop
from epollo.engine.interface import AcceptSource
from epollo.server.attacher import Attacher

RETRY_SECONDS = 1.0


class Acceptor:
    """Accepts the connections of one listener.

    Without a free descriptor, accept() fails, the connection stays in the queue, and a
    level-triggered poller reports the listener again and again. So one descriptor is kept in
    reserve: it is closed for a moment, to accept the connection and close it at once (libuv does
    the same). If that fails too, the listener is not watched for a second.
    """

    def __init__(
        self,
        loop: EventLoop,
        listener: socket.socket,
        bound: Address,
        attacher: Attacher,
        file: SocketFile | None = None,
    ) -> None:
        self._loop = loop
        self.listener: socket.socket = listener
        self._bound = bound
        self._file = file
        self._attacher = attacher
        self._warn = attacher.limiter.warn
        self._process = os.getpid()
        self._reserve: int | None = _open_reserve()
        self._source: AcceptSource | None = None
        self._resume()

    @property
    def path(self) -> str:
        """Of the Unix socket's file; empty if there is none."""
        return "" if self._file is None else self._file.path

    def close(self, most: int = 0) -> None:
        """Accept up to ``most`` of the connections that are queued, then no more, and close the
        listener. Those that are left in the queue are reset, though the kernel has acknowledged
        their requests."""
        try:
            if self.listener.fileno() >= 0:
                if most and self._source is not None:
                    self._source.accept(most)
                if os.getpid() == self._process:  # a forked process must not remove the path
                    self._remove_file()
        finally:  # a signal handler may have raised
            if self.listener.fileno() >= 0:
                self._loop.unlisten(self.listener)
            self._give_up_reserve()

    def _remove_file(self) -> None:
        """Remove the Unix socket's file, while its inode is surely this one's: before the close."""
        try:
            if self._file is not None:
                self._file.remove()
        except OSError as error:  # the server must stop all the same
            self._warn(f"{self._bound} is left behind: {error.strerror}")

    def _failed(self, error: OSError) -> None:
        if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._refuse_one():
            self._warn(f"cannot accept: {error.strerror}; trying again in {RETRY_SECONDS:g} s")
            self._loop.unwatch(self.listener.fileno())
            self._loop.call_later(RETRY_SECONDS, self._resume)

    def _refuse_one(self) -> bool:
        if not self._give_up_reserve():
            return False
        try:
            with self.listener.accept()[0]:
                self._attacher.refuse_for_descriptors()
        except BlockingIOError:  # the peer has gone already
            pass
        except OSError:
            return False
        finally:
            self._reserve = _open_reserve()
        return True

    def _resume(self) -> None:
        if self.listener.fileno() >= 0:
            if self._reserve is None:
                self._reserve = _open_reserve()
            self._source = self._loop.listen(self.listener, self._attacher.attach, self._failed)

    def _give_up_reserve(self) -> bool:
        reserve, self._reserve = self._reserve, None
        if reserve is not None:
            os.close(reserve)
        return reserve is not None


def _open_reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
