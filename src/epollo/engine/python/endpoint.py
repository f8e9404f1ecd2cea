"""What a connection remembers; and its socket."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from epollo import address
from epollo.engine import CloseReason
from epollo.engine.filtering import FilterIO
from epollo.engine.lifecycle import Lifecycle
from epollo.engine.python.context import Plan
from epollo.engine.stage import Stage


class Endpoint(Lifecycle):
    """The data of a connection, and this end of it."""

    __slots__ = (
        "_draining",
        "_events",
        "_failed",
        "_flooded",
        "_holding",
        "_inbox",
        "_paused",
        "_sealed",
        "begun",
        "error",
        "established",
        "fd",
        "filter_io",
        "heard",
        "in_flight",
        "peer",
        "plan",
        "reason",
        "socket",
        "stage",
        "state",
        "stuck",
        "unsettled",
    )

    plan: Plan

    def __init__(self, plan: Plan, sock: socket.socket) -> None:
        self.plan = plan
        self.socket = sock
        self.fd = sock.fileno()
        self.state: Any = None
        self.reason: CloseReason | None = None
        self.error: BaseException | None = None
        self.stage = Stage.CONNECTING
        self.peer: str | None = None
        self.filter_io: FilterIO | None = None
        self._events = 0
        self._inbox: Iterable[bytes] = ()
        self.in_flight = 0
        self.heard = self.begun = self.stuck = plan.loop.tick
        self.unsettled = self.established = False
        self._holding = self._paused = self._flooded = self._sealed = False
        self._failed = self._draining = False

    def find_peer(self) -> None:
        """Remember who the peer is. Raises OSError where not connected."""
        self.peer = str(address.of(self.socket.getpeername()))

    def release(self) -> None:
        """Give the descriptor back to the kernel."""
        self.socket.close()
