"""The deadlines of a connection. A sweep looks at all of them, once a tick: no timer for each."""

from __future__ import annotations

from collections import deque

from epollo.engine.connection import FLUSHING, OPEN, TICKS, BaseConnection
from epollo.engine.events import WRITE
from epollo.engine.interface import Bounds
from epollo.reasons import CloseReason


def overdue(connection: BaseConnection, bounds: Bounds) -> CloseReason | None:
    """The deadline that the peer has missed. Only the peer's own delays count: while it
    is not read, or waits for a reply, it is neither idle nor late."""
    tick = connection.loop.tick
    if not OPEN <= connection.stage <= FLUSHING:
        return None
    reads = not connection.paused and connection.reason is None and not connection.held_back
    if not reads or connection.unsent or connection.in_flight:
        connection.last_activity = tick
    write, frame = connection.write_ticks(), connection.frame_ticks(reads)
    if bounds.write and write > bounds.write:
        return CloseReason.WRITE_TIMEOUT
    if bounds.frame and frame > bounds.frame:
        return CloseReason.FRAME_TIMEOUT
    timeouts = connection.loop.idle_timeouts
    idle = timeouts.ticks(connection, bounds.idle) if timeouts.seconds else bounds.idle
    if idle and (tick - connection.last_activity) & TICKS > idle:
        return CloseReason.IDLE_TIMEOUT
    return None


def end_overdue(found: deque[BaseConnection], bounds: Bounds, most: int) -> None:
    """End those of the first ``most`` of ``found`` that are overdue; all of these are removed from
    there. Those past the write timeout are dropped; the output of the others is still sent."""
    for _ in range(min(most, len(found))):
        connection = found.popleft()
        reason = overdue(connection, bounds)
        if reason is CloseReason.WRITE_TIMEOUT and not _takes_some(connection):
            connection.drop(reason)
        elif reason not in (None, CloseReason.WRITE_TIMEOUT):
            connection.end(reason)


def _takes_some(connection: BaseConnection) -> bool:
    """Has the peer taken some output after all? The kernel has room as soon as it has, but tells a
    poller only when a third of its buffer, which may be megabytes, is free."""
    connection.ready(WRITE)
    return not connection.write_ticks()
