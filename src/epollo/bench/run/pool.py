"""The connections of a run: opened, replaced when lost, given up when they do not answer."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from time import monotonic_ns

from epollo.bench.load.shards import Shard
from epollo.bench.results.histogram import Histogram
from epollo.bench.run.connection import BenchConnection
from epollo.bench.run.context import RunContext
from epollo.bench.run.dialer import Dialer
from epollo.bench.run.opener import Opener
from epollo.bench.run.schedule import Schedule
from epollo.bench.workload import Workload
from epollo.engine import CloseReason, EventLoop
from epollo.errors import ConnectError

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0  # seconds, before a connection is opened again

CLOSED_IDLE = "closed_idle"  # the error of a connection that the server closed between messages
# The error that a close is counted as, unless the run closed the connection itself.
_ERRORS = {
    CloseReason.EOF: "closed_early",
    CloseReason.TRUNCATED: "closed_early",
    CloseReason.RESET: "reset",
    CloseReason.BAD_FRAME: "bad_frame",
    CloseReason.FRAME_TOO_LARGE: "bad_frame",
}
# The error that a failed connect is counted as; any other is connect_refused.
_CONNECT_ERRORS: dict[type, str] = {
    ConnectionResetError: "reset",
    TimeoutError: "connect_timeout",
}


class ConnectionPool:
    """Opens the connections of a run, listens to their events, and stops the loop when no more can
    come of them.

    Each has a *slot*, which its replacement takes over. ``ramped_up`` is called when each has had
    a reply to each of its first messages, or has failed; ``connected``, with each that connects.
    """

    def __init__(
        self,
        context: RunContext,
        loop: EventLoop,
        shard: Shard,
        dialer: Dialer,
        new_connection: Callable[..., BenchConnection],
        ramped_up: Callable[[], object],
        connected: Callable[[BenchConnection], object],
    ) -> None:
        workload = context.workload
        self.workload: Workload = workload
        self.count: int = shard.count(workload.connections)
        self.answered: list[int] = [0] * self.count  # measured replies, by slot
        self.connect: Histogram = Histogram()
        self.first_reply: Histogram = Histogram()
        self.connect_error: BaseException | None = None  # of one of them, if any failed
        self.bug: BaseException | None = None  # raised by the tester itself
        self._context = context
        self._counters = context.counters
        self._loop = loop
        self._shard = shard
        self._new_connection = new_connection
        self._ramped_up = ramped_up
        self._connected = connected
        rate = workload.connection_rate
        own = rate and rate / shard.of
        delay = shard.index / rate if rate else 0.0
        self._opener = Opener(loop, dialer, own, self._not_opened, delay)
        self._schedule: Schedule | None = None
        self._connections: dict[BenchConnection, None] = {}  # connecting or connected
        self._created = 0  # in all
        self._ramping = self.count
        self._idle = 0
        self._ended = 0  # of those that were open
        self._last_closed = 0  # ns; when one that was open last closed
        self._pauses = [0.0] * self.count  # seconds, before the last attempt of each slot

    @property
    def open_count(self) -> int:
        """Connections open now."""
        return self.connect.total - self._ended

    def open(self) -> None:
        """Open all of them, and give up those that do not answer from now on."""
        self._loop.call_later(self._sweep_seconds, self._sweep)
        for slot in range(self.count):
            self._opener.open(partial(self._begin, slot, self.workload.depth))

    def follow(self, schedule: Schedule) -> None:
        """Send the messages of ``schedule`` on them, and replace those lost from now on."""
        self._schedule = schedule
        for connection in self._connections:
            if connection.transport is not None:
                schedule.add(connection)
        self._opener.halted = False

    def halt(self) -> None:
        """Open no more; each connection is idle once it has all its replies."""
        self._opener.halt()
        # Later, because one of them may be sending its last message.
        self._loop.call_threadsafe(self._finish_if_idle)

    # ConnectionListener

    def on_connected(self, connection: BenchConnection) -> None:
        assert connection.connect_time is not None
        self.connect.record(connection.connect_time)
        self._connected(connection)
        if self._schedule is not None:
            self._schedule.add(connection)
        if not self._counters.sending:
            connection.finish_if_idle()
        elif connection.ramp_remaining:
            for _ in range(self._first_messages(connection)):
                connection.send(monotonic_ns())
        else:  # the schedule says when to send on it
            self._opener.release()

    def on_first_reply(self, connection: BenchConnection) -> None:
        assert connection.first_reply is not None
        self.first_reply.record(connection.first_reply)
        if connection.ramp_remaining:
            self._opener.release()

    def on_ramped_up(self) -> None:
        self._ramping -= 1
        if not self._ramping:
            self._ramped_up()

    def on_idle(self) -> None:
        self._idle += 1
        counters = self._counters
        if counters.sent >= counters.quota:  # such a run lasts until its last reply
            counters.end_at(monotonic_ns())
        self._stop_when_idle()

    def on_closed(
        self, connection: BenchConnection, reason: CloseReason, error: BaseException | None
    ) -> None:
        fault = ""
        broken = reason is not CloseReason.LOCAL and not connection.idle
        if reason is CloseReason.HANDLER_ERROR:
            self.bug = error
            self._loop.stop()
        elif broken:
            idle = reason is CloseReason.EOF and not connection.pending
            fault = CLOSED_IDLE if idle else _error(reason, error)
            self._counters.count(fault)
        if connection.connect_time is not None:
            self._ended += 1
            if broken or connection.timed_out:
                self._counters.lost[fault if broken else "timeout"] += 1
        self._idle -= connection.idle
        connection.abandon()
        self._remove(connection, error)
        if connection.retired and not broken:
            self._open_replacement(connection, self.workload.think)
        else:
            self._replace(connection)
        self._stop_when_idle()

    # Opening and replacing

    def _begin(self, slot: int, ramp_remaining: int) -> BenchConnection:
        serial = self._shard.number(self._created)
        connection = self._new_connection(self._context, self, serial, slot, ramp_remaining)
        self._created += 1
        self._connections[connection] = None
        return connection

    def _first_messages(self, connection: BenchConnection) -> int:
        """How many messages a connection sends at once. A replacement sends its full depth when
        there is a think time; otherwise its later messages would skip that pause."""
        if not self.workload.think or connection.serial < self.workload.connections:
            return 1
        return min(self.workload.depth, self._context.retire_after)

    def _not_opened(self, connection: BenchConnection, error: ConnectError) -> None:
        """Its connect could not be started."""
        if not connection.timed_out:
            self._counters.count(_error(CloseReason.REFUSED, error.__cause__))
        self._remove(connection, error)
        self._replace(connection)
        self._stop_when_idle()

    def _remove(self, connection: BenchConnection, error: BaseException | None) -> None:
        del self._connections[connection]
        self.answered[connection.slot] += connection.answered
        if self._schedule is not None:
            self._schedule.remove(connection)
        if connection.connect_time is None:
            self.connect_error = error or self.connect_error
        else:
            self._last_closed = monotonic_ns()
        ramping = bool(connection.ramp_remaining)
        if connection.first_reply is None and (ramping or connection.connect_time is None):
            self._opener.release()
        if ramping and connection.serial < self.workload.connections:
            self.on_ramped_up()

    def _replace(self, connection: BenchConnection) -> None:
        """An open loop replaces a connection that was lost or could not be opened. If it had no
        reply, there is a pause first, twice as long each time."""
        if self._schedule is None or connection.ramp_remaining:  # the opening tries once
            return
        pause = 0.0
        if connection.first_reply is None:
            pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, 2 * self._pauses[connection.slot]))
        self._pauses[connection.slot] = pause
        self._open_replacement(connection, pause)

    def _open_replacement(self, connection: BenchConnection, pause: float) -> None:
        """Open one in its slot, while there are messages to send."""
        if self._counters.sending and self.bug is None:
            self._opener.open(partial(self._begin, connection.slot, self._ramp_of_later), pause)

    @property
    def _ramp_of_later(self) -> int:
        """The ``ramp_remaining`` of a replacement."""
        if self.workload.open_loop:
            return 0
        return 1 if self.workload.think else self.workload.depth

    # The end

    def _finish_if_idle(self) -> None:
        for connection in list(self._connections):
            if connection.connect_time is not None:
                connection.finish_if_idle()
        self._stop_when_idle()

    def _stop_when_idle(self) -> None:
        if not self._opener.has_more and self._idle == len(self._connections):
            self._loop.stop()

    # Timeouts

    @property
    def _sweep_seconds(self) -> float:
        return min(1.0, self.workload.timeout / 4)

    def _sweep(self) -> None:
        """Give up each connection that is not made or does not answer within the timeout, and each
        message that was overtaken so long ago."""
        before = monotonic_ns() - self._context.timeout_ns
        if self._is_without_connections(before):
            self._counters.finish(monotonic_ns())
        for connection in list(self._connections):
            if connection.overdue(before):
                self._time_out(connection)
            else:
                connection.abandon_overtaken(before)
        self._loop.call_later(self._sweep_seconds, self._sweep)

    def _is_without_connections(self, before: int) -> bool:
        """Has a scheduled message been due, with no connection to send it on, since then?"""
        schedule = self._schedule
        if schedule is None or schedule.connections:
            return False
        return schedule.due_at < before and self._last_closed < before

    def _time_out(self, connection: BenchConnection) -> None:
        if connection.timed_out:
            return
        connection.timed_out = True
        if connection.connect_time is None:
            self._counters.count("connect_timeout")
        if connection.first_reply is None and self._schedule is None:
            for _ in range(self._opener.halt()):  # the queued ones would time out too
                self.on_ramped_up()
        if connection.transport is not None:
            connection.transport.abort()


def _error(reason: CloseReason, error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        return "no_port"
    if reason is CloseReason.REFUSED:
        return _CONNECT_ERRORS.get(type(error), "connect_refused")
    return _ERRORS.get(reason, str(reason))
