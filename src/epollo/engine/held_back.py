"""Messages that were received and are held back while delivery is paused."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from operator import length_hint

FEW = 64  # messages, which are kept as they are


class HeldBack:
    """The messages of one read, in one object: as one each, small ones would take many times their
    bytes."""

    __slots__ = ("_at", "_data", "_next", "_sizes")

    def __init__(self, messages: Iterable[bytes]) -> None:
        kept = list(messages)
        self._data = b"".join(kept)
        longest = max(map(len, kept), default=0)
        code = next(code for code in "BHIQ" if longest < 1 << 8 * array(code).itemsize)
        self._sizes = array(code, map(len, kept))
        self._next = self._at = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._next == len(self._sizes):
            raise StopIteration
        start = self._at
        self._at += self._sizes[self._next]
        self._next += 1
        return self._data[start : self._at]

    def __length_hint__(self) -> int:
        return len(self._sizes) - self._next


def compact(messages: Iterator[bytes]) -> Iterator[bytes]:
    """``messages``, in little memory if they are many."""
    if type(messages) is HeldBack or length_hint(messages) <= FEW:
        return messages
    return HeldBack(messages)
