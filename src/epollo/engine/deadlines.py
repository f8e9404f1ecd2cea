"""The deadlines of a connection. A sweep looks at all of them, once a tick: no timer for each."""

from __future__ import annotations

from epollo.engine.connection import FLUSHING, OPEN, BaseConnection
from epollo.engine.interface import Bounds
from epollo.reasons import CloseReason

_TICKS = 0xFFFFFFFF  # the native engine counts ticks in 32 bits, and starts again at 0


def overdue(connection: BaseConnection, bounds: Bounds) -> CloseReason | None:
    """The deadline that the peer has missed. Only the peer's own delays count: while it
    is not read, or waits for a reply, it is neither idle nor late."""
    tick = connection.loop.tick
    if not OPEN <= connection.stage <= FLUSHING:
        return None
    if connection.paused or connection.reason is not None or connection.held_back:
        connection.last_activity = connection.frame_started = tick
    elif connection.unsent or connection.in_flight:
        connection.last_activity = tick
    if not connection.unsent:
        connection.write_progress = tick
    if connection.frame_started != tick and not _has_partial(connection):
        connection.frame_started = tick
    if bounds.write and (tick - connection.write_progress) & _TICKS > bounds.write:
        return CloseReason.WRITE_TIMEOUT
    if bounds.frame and (tick - connection.frame_started) & _TICKS > bounds.frame:
        return CloseReason.FRAME_TIMEOUT
    if bounds.idle and (tick - connection.last_activity) & _TICKS > bounds.idle:
        return CloseReason.IDLE_TIMEOUT
    return None


def _has_partial(connection: BaseConnection) -> bool:
    """Has a frame begun that is not complete, or a record of the filter, in which one may begin?"""
    filter_io = connection.filter_io
    if filter_io is not None and filter_io.filter.partial:
        return True
    return connection.has_partial_frame()
