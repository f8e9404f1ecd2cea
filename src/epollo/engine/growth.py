"""How much connections were given to hold: output that the kernel does not take, and reads that end
inside a frame or whose messages are held back. Bytes that leave again are not subtracted.

The native engine has the same in its `LoopBuffers`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


class Growth:
    """Counts bytes, and calls ``tell`` each time that there are ``limit`` of them more."""

    __slots__ = ("_count", "_limit", "_tell", "limited")

    def __init__(self, limit: int = sys.maxsize, tell: Callable[[], object] | None = None) -> None:
        self._count = 0
        self._limit = limit
        self._tell = tell
        self.limited: bool = tell is not None  # does anybody want to know?

    def add(self, count: int) -> None:
        """A connection was given ``count`` bytes to hold, at most."""
        self._count += count
        if self._count > self._limit and self._tell is not None:
            self._count = 0
            self._tell()
