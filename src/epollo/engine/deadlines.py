"""The deadlines of a connection. A sweep looks at all of them, once a tick: no timer for each."""

from __future__ import annotations

from epollo.engine.connection import FLUSHING, OPEN, TICKS, BaseConnection
from epollo.engine.interface import Bounds
from epollo.reasons import CloseReason


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
    if connection.frame_started != tick and not connection.in_frame:
        connection.frame_started = tick
    if bounds.write and (tick - connection.write_progress) & TICKS > bounds.write:
        return CloseReason.WRITE_TIMEOUT
    if bounds.frame and (tick - connection.frame_started) & TICKS > bounds.frame:
        return CloseReason.FRAME_TIMEOUT
    if bounds.idle and (tick - connection.last_activity) & TICKS > bounds.idle:
        return CloseReason.IDLE_TIMEOUT
    return None
