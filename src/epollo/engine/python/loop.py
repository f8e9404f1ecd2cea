"""The loop: wait for the kernel to say which sockets are ready, serve those, wait again.

It is the loop of the article: its epoll object is the poller, its dictionary of descriptors is
``_sources``, its ``while`` is `run`, and one pass of it is `poll`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from math import inf

from epollo.engine.base_loop import MOST_ENDED, MOST_FLUSHED, MOST_OTHERS, BaseLoop
from epollo.engine.connection import BaseConnection
from epollo.engine.deadlines import overdue
from epollo.engine.events import PEER_ENDED, READ, WRITE
from epollo.engine.growth import Growth
from epollo.engine.interface import Bounds, ConnectionProtocol, EventSource
from epollo.engine.next_event import NextEvent
from epollo.engine.python.connection import NOT_BEGUN, Connection
from epollo.engine.python.context import ConnectionContext
from epollo.engine.python.poller import Poller, new_poller
from epollo.reasons import CloseReason

# One buffer for all to read into. A fresh one for each read would lie above malloc's threshold for
# mmap (128 KiB, mallopt(3)): a map, page faults and an unmap, ten times the cost of the recv.
READ_SIZE = 256 << 10

_ENDS = ~(READ | WRITE)  # events that come, as a rule, with the end of a connection


class Loop(BaseLoop):
    """One thread's loop over any number of sockets."""

    name = "python"
    _new_connection = Connection
    not_begun = NOT_BEGUN
    thread: int | None
    tick: int
    waiting: bool
    polling: bool
    dispatching: bool
    turn_count: int
    turn_seconds: float
    served_seconds: float
    read_messages: int
    to_flush: list[Connection]

    def __init__(self, poller: str | Poller = "auto") -> None:
        self._poller = new_poller(poller) if isinstance(poller, str) else poller
        self._sources: dict[int, EventSource] = {}
        self._disabled: set[int] = set()  # those of them that the poller does not watch
        self.buffer: memoryview = memoryview(bytearray(READ_SIZE))
        self.growth: Growth = Growth()
        self._last_fd = 0  # none is watched that is higher
        self._highest = 0  # of the descriptors that this sweep has found, or that came meanwhile
        self._sweeps_from: int | None = None  # the descriptor that a sweep goes on with
        self._sweep_tick = 0  # at which that sweep began
        self._rotation = 0  # which events that are no messages come first, if they are many
        self.seen_at: int = 0
        super().__init__()
        self._heap = self._timers.heap

    @property
    def poller_name(self) -> str:
        return self._poller.name

    def poll(self, timeout: float | None = None) -> int:
        """One turn: wait up to ``timeout`` seconds, serve what is ready; returns how many were."""
        if self.waiting or self.polling or self.dispatching or self._closed:
            self._refuse_turn()
        self.thread = threading.get_ident()
        self.waiting = True
        try:
            ready = self._poller.poll(self._wait_time(timeout))
        finally:
            self.waiting = False
        self.polling = True
        self._clock = began = time.monotonic()
        try:
            self._serve(ready)
            if self._call_queue or (self._heap and self._heap[0][0] <= self._clock):
                self._make_calls()
            if self.to_flush:
                self._flush_scheduled()
            if self._to_close:
                self._close_scheduled()
            if self.late_after < inf:
                seconds = time.monotonic() - began
                self.turn_count += 1
                self.turn_seconds += seconds
                if seconds > self.late_after:
                    self.on_late(seconds)
        finally:
            self.polling = False
            if self.to_flush or self._to_close:  # left for the next turn
                self._wake()
        if self._exit is not None:
            self._raise_exit()
        return len(ready)

    def _wait_time(self, timeout: float | None) -> float | None:
        """How long to wait, at most: until the next timer, and not at all with work at hand."""
        at_hand = self.to_flush or self._to_close or self._call_queue or self._exit
        if at_hand or (timeout is not None and timeout < 0):
            timeout = 0
        return self._timers.wait(timeout) if self._heap else timeout

    def _new_context(self, protocol: ConnectionProtocol) -> ConnectionContext:
        return ConnectionContext(self, protocol)

    def watch(self, fd: int, source: EventSource, events: int) -> None:
        """Tell ``source`` when ``fd`` is ready for one of ``events``; replaces an earlier watch."""
        asked = events | PEER_ENDED if events & READ else events
        if fd in self._sources and fd not in self._disabled:
            self._poller.modify(fd, asked)
        else:
            self._poller.register(fd, asked)
            self._disabled.discard(fd)
        self._sources[fd] = source
        if fd > self._highest:
            self._highest = fd
            self._last_fd = max(self._last_fd, fd)

    def disable(self, fd: int) -> None:
        """Keep ``fd``, but report no event of it until it is watched again."""
        if fd not in self._disabled:
            if not self._inherited:
                self._poller.unregister(fd)
            self._disabled.add(fd)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``; its owner closes it."""
        if fd in self._sources:
            self.disable(fd)
            self._disabled.remove(fd)
            del self._sources[fd]

    def source_of(self, fd: int) -> EventSource | None:
        """The source that is watched at ``fd``, or disabled."""
        return self._sources.get(fd)

    def sources(self) -> list[EventSource]:
        """All that are watched, or disabled."""
        return list(self._sources.values())

    def sweep(self, bounds: Bounds) -> list[tuple[BaseConnection, CloseReason]]:
        """The next tick: the connections over one of the ``bounds``, and which. Of many, those
        among the first; the others are looked at, and ended, in turns that follow."""
        self.seen_at = self.tick  # this call has read and sent nothing
        self.tick += 1
        try:
            return self._sweep_from(0, bounds) if self._sweeps_from is None else []
        finally:
            self.seen_at = self.tick

    def _sweep_from(self, start: int, bounds: Bounds) -> list[tuple[BaseConnection, CloseReason]]:
        """Look at the connections from the descriptor ``start`` on: in part, and not in a list of
        all first, which at each tick would take memory for every one."""
        if not start:
            self._sweep_tick, self._highest = self.tick, 0
        end = start + MOST_ENDED
        found = self._watched(start, end)
        if found:
            self._highest = max(self._highest, found[-1])
        self._sweeps_from = None
        if end <= self._last_fd:
            self._sweeps_from = end
        else:
            self._last_fd = self._highest
            if self._sweep_tick != self.tick:  # there was a tick meanwhile
                self._sweeps_from = 0
        if self._sweeps_from is not None:
            self.call_threadsafe(lambda: self._sweep_on(bounds))
        return [
            (source, reason)
            for source in map(self._sources.get, found)
            if isinstance(source, Connection) and (reason := overdue(source, bounds)) is not None
        ]

    def _watched(self, start: int, end: int) -> list[int]:
        """The descriptors from ``start`` up to ``end`` that are watched, or disabled."""
        return [fd for fd in range(start, end) if fd in self._sources]

    def _sweep_on(self, bounds: Bounds) -> None:
        found = self._sweep_from(self._sweeps_from or 0, bounds)
        if found:
            self._end_overdue(deque(each for each, _ in found), bounds)

    def limit_growth(self, limit: int, tell: Callable[[], object]) -> None:
        """Call ``tell`` each time that connections were given ``limit`` bytes more to hold."""
        self.growth = Growth(limit, tell)

    def _descriptor(self) -> int:
        return self._poller.fileno()

    def _close_poller(self) -> None:
        self._sources.clear()
        self._poller.close()

    def _serve(self, ready: list[tuple[int, int]]) -> None:
        """Give each source the events of its descriptor: messages first; then ends, handshakes and
        accepts, but not all of them, if they are many.

        Those take much longer, so thousands at once would delay the messages that come meanwhile.
        Events that are left out are reported again, since pollers are level-triggered, and each has
        its turn: the first of them is another one each time.
        """
        others: list[tuple[int, int]] = []
        self.dispatching = True
        try:
            self._serve_each(ready, others)
            if others and self._exit is None:
                self._serve_each(self._first_of(others, len(ready)), None)
        finally:
            self.dispatching = False

    def _first_of(self, others: list[tuple[int, int]], events: int) -> list[tuple[int, int]]:
        most = MOST_OTHERS + events - len(others)
        if len(others) <= most:
            return others
        start = self._rotation % len(others)
        self._rotation += most
        return (others[start:] + others[:start])[:most]

    def _serve_each(
        self, ready: list[tuple[int, int]], others: list[tuple[int, int]] | None
    ) -> None:
        """Those of ``ready``; what is no message goes to ``others``, if there is that list."""
        sources, slow_after = self._sources, self.slow_after
        before = began = self._clock
        for fd, events in ready:
            # A source that an earlier one of the batch has closed ignores the event, or is gone.
            # Its descriptor cannot belong to a new connection, which would get events of the old
            # one: it is closed after the batch (`_close_scheduled`). A listener's may, but an event
            # to read does no harm.
            source = sources.get(fd)
            kind = type(source)
            if others is not None and (
                events & _ENDS or (kind is not Connection and kind is not NextEvent)
            ):
                others.append((fd, events))
            elif source is not None:
                self.read_messages = 0
                try:
                    source.ready(events)
                except BaseException as error:
                    self.source_failed(source, error)
                if self._exit is not None:
                    break  # the others are reported again
                now = time.monotonic()
                if now - before > slow_after:
                    self._tell_slow(source, now - before)
                if others is None and kind is not Connection:
                    began += now - before  # which was for no message
                before = now
        self._clock = before
        if slow_after < inf:
            self.served_seconds += before - began

    def _flush_scheduled(self) -> None:
        """Send the output of each, in one send, and update what it waits for."""
        self.dispatching = True
        try:
            self._flush_first()
            while self.to_flush and self._is_last_turn:
                self._flush_first()
        finally:
            self.dispatching = False

    def _flush_first(self) -> None:
        for connection in islice(self.to_flush, MOST_FLUSHED):  # which may grow meanwhile
            try:
                if connection.outbox:
                    connection.flush()
                if connection.unsent or connection.update_due:
                    connection.update_state()
            except BaseException as error:
                self.source_failed(connection, error)
        del self.to_flush[:MOST_FLUSHED]
