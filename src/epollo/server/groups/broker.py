"""The broker: takes published messages from one server to the others.

A server sends a message to its own connections itself. It also gives the message to its broker,
which passes it to the other servers: in this process (`LocalBroker`), or over a network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias

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
