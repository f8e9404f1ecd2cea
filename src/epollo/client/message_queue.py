"""The messages that an AsyncClient has received and that reply to no request."""

from __future__ import annotations

import asyncio
from collections import deque

_MAX_SIZE = 1 << 20  # bytes; reading pauses while the queue holds more
_OVERHEAD = 33  # bytes of an empty bytes object, so that many empty messages fill the queue too


class MessageQueue:
    """Keeps messages in order until they are taken, and wakes the tasks that wait for one.

    A woken task checks again for a message. A message stays in the queue until it is taken: if a
    task is cancelled just after it was woken, the next task gets the message (as in asyncio.Queue).
    """

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._size = 0
        self._changed = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._messages)

    @property
    def full(self) -> bool:
        return self._size > _MAX_SIZE

    def put(self, messages: list[bytes]) -> None:
        self._messages += messages
        self._size += sum(map(len, messages)) + _OVERHEAD * len(messages)
        self.wake()

    def get(self) -> bytes:
        message = self._messages.popleft()
        self._size -= len(message) + _OVERHEAD
        return message

    def wake(self) -> None:
        """Wake all waiting tasks."""
        self._changed.set()
        self._changed.clear()

    async def wait(self, deadline: float | None) -> None:
        """Wait for `wake`. Raises TimeoutError."""
        async with asyncio.timeout_at(deadline):
            await self._changed.wait()
