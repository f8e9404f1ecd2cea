"""What a loop does once a connection, or once a sweep at most: listeners, deadlines, burials.

An engine's loop inherits `Housekeeping` and adds the turn itself: `poll`, and whom it watches.
"""

from __future__ import annotations

import math
import os
import socket
import weakref
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from epollo.engine import Bounds, CloseReason, ConnectionProtocol
from epollo.engine.calls import Calls
from epollo.engine.events import READ, WRITE
from epollo.engine.lifecycle import Lifecycle, connection_of
from epollo.engine.listener import Listener
from epollo.engine.source import Source

_LOOPS: weakref.WeakSet[Housekeeping] = weakref.WeakSet()


def _inherit() -> None:
    """In a new process: its epoll(7) instances are its parent's, whose sockets are to stay."""
    for loop in _LOOPS:
        loop._inherited = True


os.register_at_fork(after_in_child=_inherit)


class Housekeeping(Calls):
    """The part of a loop that no message passes through."""

    # What the engine adds, per turn:
    name: ClassVar[str]
    _new_listener: ClassVar[type[Listener]] = Listener

    thread: int | None  # the one that is, or was last, in `poll`
    tick: int  # counts the sweeps, for the stamps of connections
    slow_after: float  # seconds from which on `on_slow` is told of one read that took so long
    turning: bool  # handlers are being given what was ready
    _plan: Any  # of the protocol attached last
    _stopping: bool
    _inherited: bool  # from the process that this one was forked from, which goes on using it

    def __init__(self) -> None:
        self.thread = None
        self.turning = self._inherited = False
        self.tick = 0
        self.slow_after = math.inf
        self.on_slow: Callable[[Lifecycle, float], object] = _ignore
        self._plan = None
        self._stopping = False
        super().__init__()
        _LOOPS.add(self)

    @abstractmethod
    def poll(self, timeout: float | None = None) -> int:
        """One turn: wait up to ``timeout`` seconds, serve what is ready; returns how many were."""

    @abstractmethod
    def _new_plan(self, protocol: ConnectionProtocol) -> Any: ...

    @abstractmethod
    def _new_connection(self, plan: Any, sock: socket.socket) -> Lifecycle: ...

    @abstractmethod
    def look_away(self, fd: int) -> None:
        """Keep ``fd``, but ask nothing of it until it is watched again."""

    @abstractmethod
    def unwatch(self, fd: int) -> None:
        """Ask nothing of ``fd`` any more; its owner closes it."""

    @abstractmethod
    def sources(self) -> list[Source]:
        """All that is watched, or looked away from."""

    @abstractmethod
    def sweep(self, bounds: Bounds) -> list[tuple[Lifecycle, CloseReason]]:
        """The next tick: whoever is over one of the ``bounds``, and which."""

    @abstractmethod
    def _close_poller(self) -> None: ...

    def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopping:
            self.poll()
        self._stopping = False

    def stop(self) -> None:
        """End `run` after the present turn."""
        self._stopping = True

    def connections(self) -> list[Lifecycle]:
        """All that were established and are not yet closed.

        In any thread: what an engine watches is copied in one step, under the interpreter's lock.
        """
        return [each for each in self._all() if each.established]

    def newcomers(self) -> list[Lifecycle]:
        """All that are not yet established, or failed to be."""
        return [each for each in self._all() if not each.established]

    def _all(self) -> list[Lifecycle]:
        found = [connection_of(source) for source in self.sources()]
        return [each for each in found if each is not None]

    def listen(
        self,
        listener: socket.socket,
        accept: Callable[[socket.socket], object],
        failed: Callable[[OSError], object],
    ) -> None:
        """Give each new connection to ``accept``, and errors of accepting to ``failed``."""
        self._check_open()
        listener.setblocking(False)
        source = self._new_listener(listener, accept, failed, self.report)
        self.watch(listener.fileno(), source, READ)

    def unlisten(self, listener: socket.socket) -> None:
        """Accept no more from ``listener``, and close it."""
        self.unwatch(listener.fileno())
        listener.close()

    def attach(self, sock: socket.socket, protocol: ConnectionProtocol) -> Lifecycle:
        """Serve ``sock``, connected or with its connect under way; the loop owns it from here.

        Raises PollerFull, with ``sock`` closed, where the poller cannot watch its descriptor.
        """
        try:
            self._check_open()
            if sock.gettimeout() != 0:
                sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        if self._plan is None or self._plan.protocol is not protocol:
            self._plan = self._new_plan(protocol)
        connection = self._new_connection(self._plan, sock)
        try:
            connection.start()
        except BaseException:
            self.unwatch(connection.fd)
            connection.abandon()
            raise
        return connection

    def close(self) -> None:
        """Abort every connection, close every listener and descriptor."""
        self._closed = True
        self.thread = None  # whoever closes it has the say
        for source in self.sources():
            source.abort()
        self._bury_dead()
        self.dirty.clear()
        self._plan = None
        self._forget_calls()
        self._close_poller()
        if self._exit is not None:
            self._raise_exit()

    def enforce(self, bounds: Bounds) -> None:
        """The next tick: close whoever is over one of the ``bounds``. Who takes nothing of what he
        was sent is dropped; to others it is still sent."""
        for connection, reason in self.sweep(bounds):
            if reason is not CloseReason.WRITE_TIMEOUT:
                connection.end(reason)
            elif not self._takes_some(connection):
                connection.drop(reason)

    def _takes_some(self, connection: Lifecycle) -> bool:
        """Has the peer taken some after all? The kernel has room for more as soon as it has, but
        tells a poller only when a third of its buffer, which may be megabytes, is free."""
        connection.ready(WRITE)
        return connection.stuck == self.tick

    def source_failed(self, source: Source | None, error: BaseException) -> None:
        """An error escaped from ``source``: end its connection, and nothing else.

        Whatever raised it, a part of what was read or sent may be lost by now, so no later byte of
        that stream could be understood.
        """
        connection = None if source is None else connection_of(source)
        if connection is not None:
            connection.drop(CloseReason.HANDLER_ERROR, error)  # nothing if it is closed already
        if connection is not None and connection.error is error:
            self.pass_on(error)
        else:
            self.report(error, "an event could not be handled")

    def soil(self, connection: Lifecycle) -> None:
        """Flush ``connection``, and decide on it, when the turn ends."""
        self.dirty.append(connection)
        if not self.polling:
            self._see_to_it()

    def bury(self, connection: Lifecycle) -> None:
        """Unwatch now; close the descriptor, and call ``closed``, at the end of the turn."""
        self.look_away(connection.fd)
        self._dead.append(connection)
        if not self.polling:
            self._see_to_it()

    def _tell_slow(self, source: Source, seconds: float) -> None:
        connection = connection_of(source)
        if connection is not None:
            self.on_slow(connection, seconds)

    def _refuse_turn(self) -> NoReturn:
        self._check_open()
        raise RuntimeError(
            "poll was called by a handler, a signal handler or another thread while a turn of the "
            "loop is not over"
        )

    def _bury_dead(self) -> None:
        while self._dead:
            dead, self._dead = deque(self._dead), []
            try:
                while dead:
                    connection = dead.popleft()
                    self.unwatch(connection.fd)
                    connection.release()
                    self._tell_closed(connection)
            finally:
                self._dead[:0] = dead

    def _tell_closed(self, connection: Lifecycle) -> None:
        assert connection.reason is not None
        try:
            connection.protocol.closed(connection, connection.reason)
        except BaseException as error:
            self.report(error, "the handler raised in disconnected")
        # Its traceback holds frames that hold the connection: a cycle for the garbage collector.
        connection.error = None


def _ignore(*_: object) -> None:
    pass
