"""The Python engine's loop over a kernel in memory."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

from epollo.engine.connection import BaseConnection
from epollo.engine.events import READ
from epollo.engine.python.loop import Loop
from epollo.testing.protocol import outside_tasks


class MemoryKernel:
    """One socket, and the poller that watches it. The peer takes everything at once."""

    name = "memory"
    family = socket.AF_UNIX

    def __init__(self) -> None:
        self.unread: bytearray = bytearray()
        self.ended: bool = False  # the peer sends nothing more
        self.sent: list[bytes] = []  # one item per call of `send`
        self._events = 0

    # ---- The socket

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.unread and not self.ended:
            raise BlockingIOError
        data = bytes(self.unread[:size])
        if not flags & socket.MSG_PEEK:
            del self.unread[:size]
        return data

    def recv_into(self, buffer: memoryview) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: bytes | memoryview) -> int:
        self.sent.append(bytes(data))
        return len(data)

    def shutdown(self, how: int) -> None:
        """The peer sees the end of this side's stream, and ends its own."""
        self.ended = True

    def getsockopt(self, level: int, option: int) -> int:
        return 0  # SO_ERROR: no error

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        """There is no descriptor to give back."""

    # ---- The poller

    def register(self, fd: int, events: int) -> None:
        self._events = events

    modify = register

    def unregister(self, fd: int) -> None:
        self._events = 0

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        ready = self._events & READ and (self.unread or self.ended)
        return [(self.fileno(), READ)] if ready else []


class MemoryLoop(Loop):
    """A loop that never waits, and keeps the errors of the handlers."""

    def __init__(self, kernel: MemoryKernel) -> None:
        self._kernel = kernel
        self._errors: deque[BaseException] = deque()
        super().__init__(kernel)
        self.on_error: Callable[[BaseException, str], object] = lambda *_: None  # `pass_on` has it

    def turn(self) -> bool:
        """Poll until nothing is left to do. Was there anything?"""
        busy = False
        while self._to_close or self.to_flush or self._call_queue or self._kernel.poll():
            with outside_tasks():
                self.poll(0)
            busy = True
        return busy

    def raise_errors(self) -> None:
        """Raise what handlers have raised; each of several errors is the context of the next."""
        if self._errors:
            try:
                raise self._errors.popleft()
            finally:
                self.raise_errors()

    def pass_on(self, error: BaseException) -> None:
        """Keep it for `raise_errors`."""
        self._errors.append(error)

    def call_threadsafe(self, callback: Callable[[], object]) -> None:
        """Make the call in the next turn."""
        self._call_queue.append(callback)

    def _watch_wakeup(self) -> None:
        """It never waits."""

    def _tell_closed(self, connection: BaseConnection) -> None:
        error = connection.error
        super()._tell_closed(connection)
        connection.error = error  # the test may ask for it
