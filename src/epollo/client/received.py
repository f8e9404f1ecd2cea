"""Messages received without a request: given to a callback, or kept for receive()."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MAX_UNRECEIVED = 64 << 20
"""Bytes of messages that a client keeps for `receive` while it has to read on for a reply."""

OVERHEAD = 33
"""Bytes of an empty bytes object, so that many empty messages fill a queue too."""


class Received:
    """Messages in order, until they are taken. ``size`` is in bytes of memory."""

    def __init__(self, on_push: Callable[[bytes], object] | None) -> None:
        self.on_push = on_push
        self.size: int = 0
        self._messages: deque[bytes] = deque()

    def __bool__(self) -> bool:
        return bool(self._messages)

    def __len__(self) -> int:
        return len(self._messages)

    def clear(self) -> None:
        self._messages.clear()
        self.size = 0

    def put(self, message: bytes) -> None:
        self._messages.append(message)
        self.size += len(message) + OVERHEAD

    def put_all(self, messages: list[bytes]) -> None:
        self._messages += messages
        self.size += sum(map(len, messages)) + OVERHEAD * len(messages)

    def get(self) -> bytes:
        message = self._messages.popleft()
        self.size -= len(message) + OVERHEAD
        return message

    def push(self) -> None:
        """Give the messages to the callback, if there is one. Raises what it raises; the messages
        after that one are kept for the next time."""
        if self.on_push is not None:
            while self._messages:
                self.on_push(self.get())
