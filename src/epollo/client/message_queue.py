"""The messages that have come to an AsyncClient and belong to no request."""

from __future__ import annotations

import asyncio
from collections import deque

_MAX_SIZE = 1 << 20  # bytes over which no more is read
_OVERHEAD = 33  # bytes that an empty bytes object takes: many empty messages weigh something too


class MessageQueue:
    """Keeps them in order until somebody takes them, and wakes those who wait for one.

    Those who wake look again whether there is one: a message stays here until it is taken, so one
    whose taker is cancelled in that moment goes to the next, as in asyncio.Queue.
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
        """Let all who wait look again."""
        self._changed.set()
        self._changed.clear()

    async def wait(self, deadline: float | None) -> None:
        """Wait for `wake`. Raises TimeoutError."""
        async with asyncio.timeout_at(deadline):
            await self._changed.wait()
