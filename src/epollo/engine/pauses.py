"""Why no message of a connection is delivered."""

from __future__ import annotations

from enum import IntFlag


class Pause(IntFlag):
    """Why no message is delivered. Kept as an int: operations on an IntFlag take microseconds."""

    USER = 1  # the handler called `pause_reading`
    HIGH_WATER = 2  # too much is unsent
    IN_FLIGHT = 4  # too many messages wait for their replies
    SEALED = 8  # FLUSHING or later
    FAILED = 16  # the handler has raised, or it is closed: no reply is sent any more, either
    RATE = 32  # the peer has sent more messages a second than it may
    REPLYING = 64  # a reply of several messages waits for the peer
    PHASE = 128  # its framing has changed, or TLS begins: what has come is still to be cut anew


(USER, HIGH_WATER, IN_FLIGHT, SEALED, FAILED, RATE, REPLYING, PHASE) = (
    flag.value for flag in Pause
)

RATE_ROUNDING = 1e-6  # seconds by which a message may come too early for its rate
