"""The loop: wait for the kernel to say which sockets are ready, serve those, wait again.

Who knows the article finds it here: its epoll object is the poller, its dictionary of
descriptors is ``_sources``, its ``while`` is `run`, and one pass of it is `poll`.
"""

from __future__ import annotations

import socket
import threading
import time

from epollo.engine import Bounds, CloseReason, ConnectionProtocol
from epollo.engine.housekeeping import Housekeeping
from epollo.engine.lifecycle import Lifecycle
from epollo.engine.python.connection import Connection
from epollo.engine.python.context import Plan
from epollo.engine.python.poller import new_poller
from epollo.engine.source import Source

# One buffer for all to read into. A fresh one for each read would lie above malloc's threshold for
# mmap (128 KiB, mallopt(3)): a map, page faults and an unmap, ten times the cost of the recv.
READ_SIZE = 256 << 10


class Loop(Housekeeping):
    """One thread's loop over any number of sockets."""

    name = "python"
    dirty: list[Connection]

    def __init__(self, poller: str = "auto") -> None:
        self._poller = new_poller(poller)
        self._sources: dict[int, Source] = {}
        self._unasked: set[int] = set()  # those of them that the poller is not asked about
        self.buffer = memoryview(bytearray(READ_SIZE))
        super().__init__()

    @property
    def poller_name(self) -> str:
        return self._poller.name

    def poll(self, timeout: float | None = None) -> int:
        """One turn: wait up to ``timeout`` seconds, serve what is ready; returns how many were."""
        if self.waiting or self.polling or self.turning or self._closed:
            self._refuse_turn()
        self.thread = threading.get_ident()
        self.waiting = True
        try:
            ready = self._poller.poll(self._wait_time(timeout))
        finally:
            self.waiting = False
        self.polling = True
        try:
            self._serve(ready)
            if self._timers or self._calls:
                self._make_calls()
            if self.dirty:
                self._flush_dirty()
            if self._dead:
                self._bury_dead()
        finally:
            self.polling = False
            if self.dirty or self._dead:  # by what was told of an end, or what ended the turn
                self._see_to_it()
        if self._exit is not None:
            self._raise_exit()
        return len(ready)

    def _wait_time(self, timeout: float | None) -> float | None:
        """How long to wait, at most: until the next timer, and not at all with work at hand."""
        at_hand = self.dirty or self._dead or self._calls or self._exit
        if at_hand or (timeout is not None and timeout < 0):
            timeout = 0
        return self._timers.wait(timeout)

    def _new_plan(self, protocol: ConnectionProtocol) -> Plan:
        return Plan(self, protocol)

    def _new_connection(self, plan: Plan, sock: socket.socket) -> Connection:
        return Connection(plan, sock)

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
        if fd not in self._unasked:
            if not self._inherited:
                self._poller.unregister(fd)
            self._unasked.add(fd)

    def unwatch(self, fd: int) -> None:
        """Ask nothing of ``fd`` any more; its owner closes it."""
        if fd in self._sources:
            self.look_away(fd)
            self._unasked.remove(fd)
            del self._sources[fd]

    def sources(self) -> list[Source]:
        """All that is watched, or looked away from."""
        return list(self._sources.values())

    def sweep(self, bounds: Bounds) -> list[tuple[Lifecycle, CloseReason]]:
        """The next tick: whoever is over one of the ``bounds``, and which."""
        self.tick += 1
        return [  # of them only: a list of all, made at each tick, would be memory that all take
            (source, reason)
            for source in self._sources.values()
            if isinstance(source, Connection) and (reason := source.overdue(bounds)) is not None
        ]

    def _descriptor(self) -> int:
        return self._poller.fileno()

    def _close_poller(self) -> None:
        self._sources.clear()
        self._poller.close()

    def _serve(self, ready: list[tuple[int, int]]) -> None:
        """Give each source the events of its descriptor."""
        sources, slow_after = self._sources, self.slow_after
        self.turning = True
        before = time.monotonic()
        try:
            for fd, events in ready:
                # One that an earlier one of the batch has closed has nothing to do, or is gone.
                # Its number cannot have gone to a newcomer, who would be served events that are
                # not his: it is given back to the kernel when the batch is done (`_bury_dead`).
                # That of a listener may have, but to be told to read does no harm.
                source = sources.get(fd)
                if source is not None:
                    try:
                        source.ready(events)
                    except BaseException as error:
                        self.source_failed(source, error)
                    if self._exit is not None:
                        break  # those left are told again: pollers are level-triggered
                    now = time.monotonic()
                    if now - before > slow_after:
                        self._tell_slow(source, now - before)
                    before = now
        finally:
            self.turning = False

    def _flush_dirty(self) -> None:
        """Send what each has queued, in one send, and decide what it waits for next."""
        self.turning = True
        try:
            for connection in self.dirty:  # which may grow meanwhile
                try:
                    connection.flush()
                    if connection.unsent or connection.unsettled:
                        connection.decide()
                except BaseException as error:
                    self.source_failed(connection, error)
        finally:
            self.turning = False
        self.dirty.clear()
