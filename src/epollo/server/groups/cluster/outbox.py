"""What this process publishes, until NATS has taken it: bounded, in order, from any thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

from epollo.server.groups.cluster.envelope import ASK, HEADER_SIZE, MESSAGE, TOLD, Origin, pack
from epollo.server.groups.cluster.published import Published

_ONE_ITEM = 100  # bytes that an item takes besides its data, roughly

DUE_AT_ONCE = 256
"""Groups whose last number is told in one go."""


class Item(NamedTuple):
    """One message for NATS."""

    group: str
    data: bytes
    is_message: bool


class Outbox:
    """Up to ``most`` bytes of messages wait; further ones are dropped, and counted. One message may
    always wait.

    A message has its number before it may be dropped, so that others see that it is missing.
    """

    def __init__(self, origin: Origin, most: int) -> None:
        self._origin = origin
        self._most = most
        self._lock = threading.RLock()  # a signal handler may publish while it is held
        self._queue: deque[Item] = deque()
        self._published = Published()
        self.waiting: int = 0  # bytes
        self.dropped: int = 0  # messages

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, group: str, message: bytes) -> bool:
        """Number a message and queue it; false if it was dropped."""
        size = len(message) + HEADER_SIZE + _ONE_ITEM
        with self._lock:
            stream, number = self._published.next(group, time.monotonic())
            if self.waiting and self.waiting + size > self._most:
                self.dropped += 1
                return False
            self.waiting += size
            data = pack(MESSAGE, self._origin, stream, number, message)
            self._queue.append(Item(group, data, True))
            return True

    def tell(self, group: str) -> None:
        """Queue the number of the last message to ``group``, if there is one. Behind the messages
        that wait: a later one has a higher number."""
        with self._lock:
            last = self._published.last(group)
            if last is not None:
                self._queue.append(Item(group, pack(TOLD, self._origin, *last), False))

    def tell_due(self) -> None:
        """The same for groups that have been silent."""
        with self._lock:
            for group in list(self._published.due(time.monotonic(), DUE_AT_ONCE)):
                self.tell(group)

    def tell_all(self) -> None:
        """The connection was lost: all groups are due."""
        with self._lock:
            self._published.tell_all(time.monotonic())

    def ask(self, group: str) -> None:
        """Queue the question for everybody's last number."""
        with self._lock:
            self._queue.append(Item(group, pack(ASK, self._origin, 0, 0), False))

    def take(self) -> Item | None:
        """The next one; None if there is none."""
        with self._lock:
            if not self._queue:
                return None
            item = self._queue.popleft()
            if item.is_message:
                self.waiting -= len(item.data) + _ONE_ITEM
            return item
