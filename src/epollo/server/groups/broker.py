"""The broker: the seam over which servers give each other what is published.

A server reaches its own connections by itself. What it publishes it also hands to its broker,
which takes it to the other servers: in this process (`LocalBroker`), or over a network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias

Deliver: TypeAlias = Callable[[str, bytes], object]
"""A server's way in: ``deliver(group, message)`` sends to its own members. It may be called from
any thread, returns at once and does not raise."""


class Broker(Protocol):
    """Takes messages from the server that publishes them to all others. Called from any thread.

    Each server keeps the order in which its ``deliver`` is called.
    """

    def subscribe(self, deliver: Deliver) -> None:
        """A server starts: give it what others publish from now on."""

    def unsubscribe(self, deliver: Deliver) -> None:
        """A server is closed. No error where it was not subscribed."""

    def publish(self, group: str, message: bytes, publisher: Deliver) -> None:
        """Give ``message`` to every subscriber but ``publisher``, who has sent it already.

        What this raises, whoever publishes gets; it is called in their thread, which may be the
        loop's, so it must not wait for a network.
        """


class LocalBroker:
    """The default: joins the servers of this process that share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: tuple[Deliver, ...] = ()

    def subscribe(self, deliver: Deliver) -> None:
        """Give ``deliver`` what others publish."""
        with self._lock:
            self._subscribers += (deliver,)

    def unsubscribe(self, deliver: Deliver) -> None:
        """Give ``deliver`` nothing more."""
        with self._lock:
            self._subscribers = tuple(each for each in self._subscribers if each != deliver)

    def publish(self, group: str, message: bytes, publisher: Deliver) -> None:
        """Give ``message`` to all but ``publisher``."""
        for deliver in self._subscribers:
            if deliver != publisher:
                deliver(group, message)
