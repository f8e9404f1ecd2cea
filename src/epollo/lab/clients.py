"""Clients that all connect at the same moment, and the replies they get."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from epollo import address, framing
from epollo.address import Address
from epollo.engine import CloseReason, Connection, EventLoop, Limits


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of one client; times in seconds from the common start."""

    connected: float | None  # connect() succeeded; None: never
    replied: float | None  # the echo of its message was received; None: never
    closed: str | None  # why the connection ended before a reply (reset, refused); None: open


class Client:
    """The protocol of one client's connection: sends one frame, waits for its echo."""

    framing: framing.Framing = framing.parse("u32")
    limits: Limits = Limits()

    def __init__(self, number: int, start: float) -> None:
        self._message = b"client %d" % number
        self._start = start
        self.connected_after: float | None = None
        self.replied_after: float | None = None
        self.reason: CloseReason | None = None

    @property
    def attempt(self) -> Attempt:
        """The result so far."""
        return Attempt(self.connected_after, self.replied_after, self.reason)

    @property
    def done(self) -> bool:
        """Nothing more will happen to this client."""
        return self.replied_after is not None or self.reason is not None

    def connected(self, connection: Connection) -> None:
        self.connected_after = self._now()
        connection.send(self._message)

    def received(self, message: bytes, connection: Connection) -> None:
        if message == self._message and self.replied_after is None:
            self.replied_after = self._now()

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        if self.replied_after is None:
            self.reason = reason

    def _now(self) -> float:
        return time.monotonic() - self._start


def connect_at_once(loop: EventLoop, server: Address, count: int) -> list[Client]:
    """Start ``count`` clients. Raises ConnectError if the kernel refuses at once."""
    start = time.monotonic()
    sockets = []
    try:
        for _ in range(count):
            sockets.append(address.start_connect(server))
        clients = [Client(number, start) for number in range(count)]
        for client in clients:
            loop.attach(sockets.pop(), client)
    finally:
        for sock in sockets:  # left over after an error: the loop does not own them
            sock.close()
    return clients


def wait_for_replies(loop: EventLoop, clients: Sequence[Client], deadline: float) -> None:
    """Run the loop until all clients are done, at most until ``deadline`` (time.monotonic)."""
    while not all(client.done for client in clients):
        left = deadline - time.monotonic()
        if left <= 0:
            return
        loop.poll(left)
