"""The loop: wait for the kernel to say which sockets are ready, serve those, wait again.

Who knows the article finds it here: its epoll object is the poller, its dictionary of
descriptors is ``_sources``, its ``while`` is `run`, and one pass of it is `poll`.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable

from epollo.engine import ConnectionProtocol
from epollo.engine.events import READ
from epollo.engine.lifecycle import Lifecycle, Source
from epollo.engine.listener import Listener
from epollo.engine.python.connection import Connection
from epollo.engine.python.poller import new_poller
from epollo.engine.timers import Timer, Timers
from epollo.engine.waker import Waker

_log = logging.getLogger("epollo.engine")

# One buffer for all to read into. A fresh one for each read would lie above malloc's threshold for
# mmap (128 KiB, mallopt(3)): a map, page faults and an unmap, ten times the cost of the recv.
READ_SIZE = 256 << 10


class Loop:
    """One thread's loop over any number of sockets."""

    def __init__(self, poller: str = "auto") -> None:
        self._poller = new_poller(poller)
        self._sources: dict[int, Source] = {}
        self._unasked: set[int] = set()  # those of them that the poller is not asked about
        self.buffer = memoryview(bytearray(READ_SIZE))
        self.dirty: list[Connection] = []  # to flush when the turn ends
        self._dead: list[Lifecycle] = []  # closed in this turn
        self._timers = Timers()
        self._calls: deque[Callable[[], object]] = deque()
        self._stopping = False
        self.thread: int | None = None  # the one that is, or was last, in `poll`
        self._waker = Waker()
        self.watch(self._waker.receiver.fileno(), self._waker, READ)

    @property
    def poller_name(self) -> str:
        return self._poller.name

    def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopping:
            self.poll()
        self._stopping = False

    def stop(self) -> None:
        """End `run` after the present turn."""
        self._stopping = True

    def poll(self, timeout: float | None = None) -> int:
        """One turn: wait up to ``timeout`` seconds, serve what is ready; returns how many were."""
        self.thread = threading.get_ident()
        if self.dirty or self._dead or self._calls:
            timeout = 0
        ready = self._poller.poll(self._timers.wait(timeout))
        sources = self._sources
        for fd, events in ready:
            # One that an earlier one of the batch has closed has nothing to do, or is not there.
            # Its number cannot have gone to a newcomer, who would be served events that are not
            # his: it is given back to the kernel when the batch is done (`_bury_dead`).
            source = sources.get(fd)
            if source is not None:
                source.ready(events)
        if self._timers or self._calls:
            self._make_calls()
        if self.dirty:
            self._flush_dirty()
        if self._dead:
            self._bury_dead()
        return len(ready)

    def listen(
        self,
        listener: socket.socket,
        accept: Callable[[socket.socket], object],
        failed: Callable[[OSError], object],
    ) -> None:
        """Give each new connection to ``accept``, and errors of accepting to ``failed``."""
        listener.setblocking(False)
        self.watch(listener.fileno(), Listener(listener, accept, failed), READ)

    def unlisten(self, listener: socket.socket) -> None:
        """Accept no more from ``listener``, and close it."""
        self.unwatch(listener.fileno())
        listener.close()

    def attach(self, sock: socket.socket, protocol: ConnectionProtocol) -> Connection:
        """Serve ``sock``, connected or with its connect under way; the loop owns it from here.

        Raises PollerFull, with ``sock`` closed, where the poller cannot watch its descriptor.
        """
        sock.setblocking(False)
        connection = Connection(self, sock, protocol)
        try:
            connection.start()
        except BaseException:
            sock.close()
            raise
        return connection

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` in the loop's thread, ``seconds`` from now."""
        return self._timers.add(seconds, callback)

    def call_threadsafe(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the loop's thread, soon. From any thread or signal handler."""
        self._calls.append(callback)
        self._waker.wake()

    def close(self) -> None:
        """Abort every connection, close every listener and descriptor."""
        for source in list(self._sources.values()):
            source.abort()
        self._bury_dead()
        self.dirty.clear()
        self._timers.clear()
        self._sources.clear()
        self._poller.close()

    def watch(self, fd: int, source: Source, events: int) -> None:
        """Tell ``source`` when ``fd`` is ready for one of ``events``; replaces an earlier watch."""
        if fd in self._sources and fd not in self._unasked:
            self._poller.modify(fd, events)
        else:
            self._poller.register(fd, events)
            self._unasked.discard(fd)
        self._sources[fd] = source

    def look_away(self, fd: int) -> None:
        """Keep ``fd``, but ask nothing of it until it is watched again."""
        self._poller.unregister(fd)
        self._unasked.add(fd)

    def unwatch(self, fd: int) -> None:
        """Ask nothing of ``fd`` any more; its owner closes it."""
        if self._sources.pop(fd, None) is not None:
            self._stop_asking(fd)

    def bury(self, connection: Lifecycle) -> None:
        """Unwatch now; close the descriptor, and call ``closed``, at the end of the turn."""
        self._stop_asking(connection.fd)
        self._dead.append(connection)

    def report(self, error: BaseException, what: str) -> None:
        """Log what has no connection to be the close reason of."""
        _log.error(what, exc_info=error)

    def _stop_asking(self, fd: int) -> None:
        if fd in self._unasked:
            self._unasked.remove(fd)
        else:
            self._poller.unregister(fd)

    def _make_calls(self) -> None:
        """What is due, and what other threads have asked for until now."""
        due: list[Callable[[], object]] = [timer.fire for timer in self._timers.due()]
        due += [self._calls.popleft() for _ in range(len(self._calls))]
        for call in due:
            try:
                call()
            except Exception as error:
                self.report(error, "a callback of the loop raised")

    def _flush_dirty(self) -> None:
        """Send what each has queued, in one send, and decide what it waits for next."""
        for connection in self.dirty:  # which may grow meanwhile
            connection.flush()
            if connection.unsent or connection.unsettled:
                connection.decide()
        self.dirty.clear()

    def _bury_dead(self) -> None:
        while self._dead:
            dead, self._dead = self._dead, []
            for connection in dead:
                del self._sources[connection.fd]
                connection.socket.close()
                self._tell_closed(connection)

    def _tell_closed(self, connection: Lifecycle) -> None:
        assert connection.reason is not None
        try:
            connection.protocol.closed(connection, connection.reason)
        except Exception as error:
            self.report(error, "the handler raised in disconnected")
        # Its traceback holds frames that hold the connection: a cycle for the garbage collector.
        connection.error = None
