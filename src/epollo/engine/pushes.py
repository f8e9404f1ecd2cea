"""Frames that other threads send, on their way to the loop."""

from __future__ import annotations

import threading
from typing import Any

from epollo.reasons import CloseReason

SMALL = 512  # bytes; shorter frames are joined: an object takes some forty bytes of its own
MOST_JOINED = 64 << 10  # bytes


class _Waiting:
    """Those of one connection."""

    __slots__ = ("frames", "largest", "over", "size")

    def __init__(self) -> None:
        self.frames: list[bytes | bytearray] = []
        self.size = self.largest = 0
        self.over = False  # more than the connection may hold: it will be closed

    def add(self, frame: bytes) -> None:
        self.size += len(frame)
        self.largest = max(self.largest, len(frame))
        last = self.frames[-1] if self.frames else None
        if len(frame) >= SMALL:
            self.frames.append(frame)
        elif type(last) is bytearray and len(last) < MOST_JOINED:
            last += frame
        else:
            self.frames.append(bytearray(frame))


class Pushes:
    """They count as unsent: a busy loop is no reason to take more of them than ``max_unsent``."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._lock = threading.RLock()  # a signal handler may send while it is held
        self._waiting: dict[Any, _Waiting] = {}

    def add(self, connection: Any, frame: bytes) -> bool:
        """Queue ``frame`` on ``connection`` soon; false if it takes no more. In any thread."""
        if not connection.takes_messages:
            return False
        with self._lock:
            waiting = self._waiting.get(connection)
            if waiting is None:
                waiting = self._waiting[connection] = _Waiting()
                if len(self._waiting) == 1:
                    self._loop.call_threadsafe(self._queue_all)
            if not waiting.over:
                waiting.add(frame)
                larger = max(0, waiting.largest - connection.largest_unsent)
                if connection.over_max_unsent(waiting.size - larger):
                    waiting.over = True
                    waiting.frames.clear()
            return not waiting.over

    def clear(self) -> None:
        """The loop is closed."""
        with self._lock:
            self._waiting.clear()

    def _queue_all(self) -> None:
        """In the loop's thread."""
        with self._lock:
            all_waiting, self._waiting = self._waiting, {}
        for connection, waiting in all_waiting.items():
            try:
                if waiting.over:
                    connection.drop(CloseReason.SLOW_CONSUMER)
                for frame in waiting.frames:
                    connection.push(bytes(frame))
            except BaseException as error:
                self._loop.source_failed(connection, error)
