"""A connection's data: what all that happens to it knows of it. And who it is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from epollo import address
from epollo.engine.stage import Stage

if TYPE_CHECKING:
    from epollo.engine import CloseReason, Connection, ConnectionProtocol
    from epollo.engine.filtering import FilterIO
    from epollo.engine.source import Watcher
    from epollo.filters.base import Filter
    from epollo.framing import Buffer

# An engine keeps a connection's data in its own way (a compiled one, in a struct), so none here.
_SLOTS_ARE_THE_ENGINES: tuple[str, ...] = ()


class Plan(Protocol):
    """What the connections of one protocol on one loop have in common."""

    @property
    def loop(self) -> Watcher: ...
    @property
    def protocol(self) -> ConnectionProtocol: ...
    @property
    def encode(self) -> Callable[[Buffer], bytes]: ...
    @property
    def filters(self) -> Callable[[Connection], Sequence[Filter]] | None: ...


class ConnectionBase:
    """What every part of a connection finds there."""

    __slots__ = _SLOTS_ARE_THE_ENGINES

    # What the engine adds:
    ready: Callable[[int], None]
    serve: Callable[[Iterable[bytes]], None]
    queue: Callable[[bytes], None]
    feed: Callable[[bytes], None]  # plain bytes, to be cut and served; or cut and held back
    transmit: Callable[[bytes], None]  # sends bytes as they are, behind what was sent before
    queue_raw: Callable[[bytes], None]  # the same, but may leave it to the end of the turn
    discard: Callable[[], None]
    find_peer: Callable[[], None]  # sets ``peer``; raises OSError where not connected
    check_eof: Callable[[], None]  # raises FrameTruncated where the end would cut a frame
    midway: Callable[[], bool]  # is a frame begun, and not complete?
    release: Callable[[], None]  # closes the descriptor

    plan: Plan
    socket: socket.socket
    fd: int
    state: Any
    reason: CloseReason | None  # why no more is read
    error: BaseException | None
    stage: Stage
    unsent: int
    filter_io: FilterIO | None  # between socket and framing, once established
    unsettled: bool  # what it waits for may have changed: to be decided when the turn ends

    established: bool  # `connected` was called
    peer: str | None  # its address; None before the connection is established
    heard: int  # the tick at which bytes came last, or were queued by others
    begun: int  # at which the frame that is coming was begun, or any later one where none is
    stuck: int  # at which the peer took bytes last, or owed to take none
    in_flight: int  # messages that were handed to the handler, and whose replies come later
    _events: int  # what the poller watches for; 0 before `open`
    _inbox: Iterable[bytes]  # received, and held back from the handler; () for nothing
    _holding: bool  # deliver no message now
    _paused: bool  # held by the handler's own wish
    _flooded: bool  # held since more than high_water is unsent
    _sealed: bool  # takes no more messages to send
    _failed: bool  # its handler has raised
    _draining: bool  # what has arrived is still to be read, when the handler can take it

    @property
    def loop(self) -> Watcher:
        return self.plan.loop

    @property
    def protocol(self) -> ConnectionProtocol:
        return self.plan.protocol

    @property
    def closed(self) -> bool:
        return self.stage is Stage.CLOSED

    @property
    def peername(self) -> str:
        """The peer's address, as it was when the connection was established."""
        return self.peer or "(not connected)"

    @property
    def sockname(self) -> str:
        """This side's address. Raises OSError once closed."""
        return str(address.of(self.socket.getsockname()))

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"<Connection {self.peername} {self.stage.name.lower()}{why}>"

    def unsettle(self) -> None:
        """What the connection waits for may have changed: `decide` when the turn ends.

        Not at once: a handler that closes its connection and then returns a reply means the
        reply to be sent, and a reply sent alone would be a system call of its own.
        """
        if not self.unsettled:
            self.unsettled = True
            self.loop.soil(self)

    def _leave_to_loop(self, call: Callable[[], object]) -> bool:
        """Another thread than the loop's has this done by the loop, in order."""
        if self.loop.thread in (None, threading.get_ident()):
            return False
        self.loop.call_threadsafe(call)
        return True
