"""The messages that an AsyncClient has received and that reply to no request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from epollo.client.received import Received

_MAX_SIZE = 1 << 20  # bytes; reading pauses while the queue holds more


class MessageQueue(Received):
    """Keeps messages in order until they are taken, and wakes the tasks that wait for one.

    A woken task checks again for a message. A message stays in the queue until it is taken: if a
    task is cancelled just after it was woken, the next task gets the message (as in asyncio.Queue).
    """

    def __init__(self, on_push: Callable[[bytes], object] | None = None) -> None:
        super().__init__(on_push)
        self._changed = asyncio.Event()

    @property
    def full(self) -> bool:
        return self.size > _MAX_SIZE

    def wake(self) -> None:
        """Wake all waiting tasks."""
        self._changed.set()
        self._changed.clear()

    async def wait(self, deadline: float | None) -> None:
        """Wait for `wake`. Raises TimeoutError."""
        async with asyncio.timeout_at(deadline):
            await self._changed.wait()
