"""The broker: takes published messages from one server to the others.

A server sends a message to its own connections itself. It also gives the message to its broker,
which passes it to the other servers: in this process (`LocalBroker`), or over a network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from epollo.engine import EventLoop
from epollo.server.groups.registry import Groups

Deliver: TypeAlias = Callable[[str, bytes], object]
"""``deliver(group, message)`` sends to a server's own members of the group. It may be called from
any thread, returns at once and does not raise."""


class Broker(Protocol):
    """Passes each message from the server that publishes it to all others. Called from any thread.

    Each server sends messages in the order in which its ``deliver`` is called.
    """

    def subscribe(self, deliver: Deliver) -> None:
        """A server starts: pass it the messages that others publish from now on."""

    def unsubscribe(self, deliver: Deliver) -> None:
        """A server is closed. No error if it is not subscribed."""

    def publish(self, group: str, message: bytes, publisher: Deliver) -> None:
        """Pass ``message`` to every subscriber except ``publisher``, which has sent it already.

        Called in the thread of the caller of `Server.publish`, which may be the loop's: so it must
        not wait for a network. An error that it raises reaches that caller.
        """


@dataclass(frozen=True, slots=True)
class BrokerCounts:
    """What the connection to the setting ``broker`` has counted since the server was created; all
    0 without one."""

    connections: int = 0
    """1 while it is connected."""
    lost: int = 0
    """Connections that were lost."""
    sent: int = 0
    """Messages that were given to the broker."""
    received: int = 0
    """Messages of other nodes that were delivered to this process's members."""
    missed: int = 0
    """Messages of other nodes to groups with members here that did not arrive."""
    dropped: int = 0
    """Messages that were not given to the broker: too many bytes were waiting, or it does not take
    one as large."""
    waiting: int = 0
    """Bytes that wait for the broker."""


@runtime_checkable
class ClusterBroker(Protocol):
    """What a `Broker` of other machines needs besides: the loop that it works in, and the groups
    that have members."""

    def attach(
        self, loop: EventLoop, groups: Groups, on_missed: Callable[[str, int], object]
    ) -> None:
        """Called before ``subscribe``. ``on_missed(group, count)`` is to be called in the loop's
        thread when messages of others did not arrive."""

    @property
    def counts(self) -> BrokerCounts:
        """What it has counted."""


class Brokers:
    """Two brokers as one: each gets every message, and both deliver."""

    def __init__(self, near: Broker, far: Broker) -> None:
        self._both = (near, far)

    def subscribe(self, deliver: Deliver) -> None:
        """Pass ``deliver`` the messages of both."""
        for each in self._both:
            each.subscribe(deliver)

    def unsubscribe(self, deliver: Deliver) -> None:
        """Pass ``deliver`` no more messages of either."""
        near, far = self._both
        try:
            near.unsubscribe(deliver)
        finally:
            far.unsubscribe(deliver)

    def publish(self, group: str, message: bytes, publisher: Deliver) -> None:
        """Pass ``message`` to both."""
        for each in self._both:
            each.publish(group, message, publisher)


class LocalBroker:
    """The default: connects the servers of this process that share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: tuple[Deliver, ...] = ()

    def subscribe(self, deliver: Deliver) -> None:
        """Pass ``deliver`` the messages that others publish."""
        with self._lock:
            self._subscribers += (deliver,)

    def unsubscribe(self, deliver: Deliver) -> None:
        """Pass ``deliver`` no more messages."""
        with self._lock:
            self._subscribers = tuple(each for each in self._subscribers if each != deliver)

    def publish(self, group: str, message: bytes, publisher: Deliver) -> None:
        """Pass ``message`` to all subscribers except ``publisher``."""
        for deliver in self._subscribers:
            if deliver != publisher:
                deliver(group, message)
