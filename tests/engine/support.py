"""A protocol, and connections on a loop that the test turns itself."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from epollo import CloseReason, Connection
from epollo.engine import EventLoop, Limits
from epollo.engine.connection import BaseConnection
from epollo.framing import parse
from tests.support import DEADLINE


class Protocol:
    """A protocol whose ``received`` is the test's."""

    framing = parse("u32")

    def __init__(
        self,
        received: Callable[[bytes, Any], Any] = lambda message, _: message,
        limits: Limits | None = None,
    ) -> None:
        self.received = received
        self.limits = limits or Limits()
        self.events: list[str] = []
        self.error: BaseException | None = None

    def connected(self, connection: Connection) -> None:
        self.events.append("connected")

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        self.events.append(str(reason))
        self.error = connection.error


def unwanted(*_: object) -> None:
    """For a call that must not come."""
    raise AssertionError("called")


def turn_until(loop: EventLoop, condition: Callable[[], object]) -> None:
    """Turn the loop until ``condition`` holds; fails when the deadline passes first."""
    late = loop.call_later(DEADLINE, lambda: None)
    while not condition():
        loop.poll()
        assert not late.cancelled, "the deadline passed"
    late.cancel()


@contextmanager
def attached(loop: EventLoop, protocol: Protocol) -> Iterator[tuple[socket.socket, BaseConnection]]:
    """A peer's socket, and the connection that serves it."""
    theirs, ours = socket.socketpair()
    with theirs:
        theirs.settimeout(DEADLINE)
        yield theirs, cast(BaseConnection, loop.attach(ours, protocol))
    turn_until(loop, lambda: len(protocol.events) >= 2)
