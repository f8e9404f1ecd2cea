"""Messages that were received and are held back while delivery is paused."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import Any, NamedTuple

from epollo.framing import Framing
from epollo.framing.reframing import bytes_of, decoded, unknown

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

    @property
    def size(self) -> int:
        """Bytes in memory: all of the read, until the last message is taken."""
        return len(self._data)


class HeldRead(NamedTuple):
    """The read that such messages are of: to be cut anew, if one of them changes the framing."""

    framing: Framing
    data: bytes | None  # from the begin of a frame on; None if that is not known
    fault: BaseException | None  # that was found behind them

    def behind(self, left: int) -> bytes:
        """The bytes behind the message before the last ``left``. Raises PhaseError if that is not
        known."""
        if self.data is None:
            raise unknown(self.framing)
        messages = decoded(self.framing, memoryview(self.data))
        return self.data[bytes_of(self.framing, self.data, messages, len(messages) - left) :]


def compact(messages: Iterator[bytes]) -> Iterator[bytes]:
    """``messages``, in little memory if they are many."""
    if type(messages) is HeldBack or length_hint(messages) <= FEW:
        return messages
    return HeldBack(messages)


def held_bytes(held_back: Iterable[bytes], read: HeldRead | None = None) -> int:
    """Bytes of the messages that are still to come from ``held_back``, without taking any, and of
    their ``read``."""
    if not held_back:
        return 0
    size = 0 if read is None or read.data is None else len(read.data)
    if isinstance(held_back, HeldBack):
        return size + held_back.size
    # The iterator of a list, or of a tuple: what it would be made of again (pickle's protocol).
    made_of: Any = held_back.__reduce__()
    first: int = made_of[2] if len(made_of) > 2 else 0
    return size + sum(map(len, made_of[1][0][first:]))
