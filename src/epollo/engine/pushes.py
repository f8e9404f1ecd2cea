"""Frames that other threads send, on their way to the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from epollo.reasons import CloseReason

SMALL = 512  # bytes; shorter frames are joined: an object takes some forty bytes of its own
MOST_JOINED = 64 << 10  # bytes


class Reframed(Exception):
    """The framing has changed since the frame was made."""


class _Waiting:
    """How much waits for one connection, in all batches."""

    __slots__ = ("batches", "largest", "over", "size")

    def __init__(self) -> None:
        self.batches: list[_Batch] = []  # that have some of it, the oldest first
        self.size = self.largest = 0
        self.over = False  # more than the connection may hold: it will be closed


class _Batch:
    """A call of the loop that queues what was sent since the call before it."""

    __slots__ = ("joined", "parts", "queue_all")

    def __init__(self, queue_all: Callable[[_Batch], object]) -> None:
        self.parts: dict[Any, list[bytes | bytearray]] = {}
        self.joined: dict[Any, int] = {}  # frames behind another one in the same object
        self.queue_all = queue_all

    def __call__(self) -> None:
        self.queue_all(self)


class Pushes:
    """They count as unsent: a busy loop is no reason to take more of them than ``max_unsent``.

    A frame joins the batch before it only if the loop has no later call: what a thread has asked
    of the loop in between, such as to send a reply, comes first.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._lock = threading.RLock()  # a signal handler may send while it is held
        self._batch = _Batch(self._queue_all)  # the last one; empty if the loop has called it
        self._waiting: dict[Any, _Waiting] = {}

    def add(self, connection: Any, frame: bytes, context: object = None) -> bool:
        """Queue ``frame`` on ``connection`` soon; false if it takes no more. In any thread. Raises
        Reframed if it was made for a ``context`` that is not the connection's any more."""
        if not connection.takes_messages:
            return False
        with self._lock:
            if context is not None and connection.context is not context:
                raise Reframed
            waiting = self._waiting.setdefault(connection, _Waiting())
            if waiting.over:
                return False
            batch = self._last_batch()
            if connection not in batch.parts:
                batch.parts[connection] = []
                waiting.batches.append(batch)
            waiting.size += len(frame)
            waiting.largest = max(waiting.largest, len(frame))
            larger = max(0, waiting.largest - connection.largest_unsent)
            if connection.over_max_unsent(waiting.size - larger):
                waiting.over = True
                batch.parts[connection].clear()
            else:
                joined = _append(batch.parts[connection], frame)
                if joined:
                    batch.joined[connection] = batch.joined.get(connection, 0) + 1
            return not waiting.over

    def settle(self, connection: Any, change: Callable[[], object]) -> None:
        """Queue now what waits for ``connection``, then make the ``change`` to its framing: frames
        that were made before it come before it. In the loop's thread."""
        with self._lock:
            waiting = self._waiting.get(connection)
            for batch in () if waiting is None else tuple(waiting.batches):
                self._queue(batch, (connection,))
            change()

    def clear(self) -> None:
        """The loop is closed."""
        with self._lock:
            self._waiting.clear()
            self._batch.parts.clear()
            self._batch.joined.clear()

    def _last_batch(self) -> _Batch:
        batch = self._batch
        if not self._loop.calls_last(batch):
            batch = self._batch = _Batch(self._queue_all)
            self._loop.call_threadsafe(batch)
        return batch

    def _queue_all(self, batch: _Batch) -> None:
        """In the loop's thread."""
        self._queue(batch, batch.parts)

    def _queue(self, batch: _Batch, connections: Iterable[Any]) -> None:
        with self._lock:
            parts = {each: batch.parts.pop(each) for each in tuple(connections)}
            joined = {each: batch.joined.pop(each, 0) for each in parts}
            over = {each for each in parts if self._take(each, parts[each], batch)}
        for connection, frames in parts.items():
            try:
                if connection in over:
                    connection.drop(CloseReason.SLOW_CONSUMER)
                for frame in frames:
                    connection.push(bytes(frame))
                if joined[connection] and connection not in over:
                    connection.count_out(joined[connection])
            except BaseException as error:
                self._loop.source_failed(connection, error)

    def _take(self, connection: Any, frames: list[bytes | bytearray], batch: _Batch) -> bool:
        """They wait no more. Is it more than the connection may hold?"""
        waiting = self._waiting.get(connection)
        if waiting is None:  # `clear` was called
            return False
        waiting.size -= sum(map(len, frames))
        waiting.batches.remove(batch)
        if not waiting.batches:
            del self._waiting[connection]
        return waiting.over


def _append(frames: list[bytes | bytearray], frame: bytes) -> bool:
    """True if it was joined to the one before."""
    last = frames[-1] if frames else None
    if len(frame) >= SMALL:
        frames.append(frame)
    elif type(last) is bytearray and len(last) < MOST_JOINED:
        last += frame
        return True
    else:
        frames.append(bytearray(frame))
    return False
