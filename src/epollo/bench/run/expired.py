"""The messages given up of which a reply may come after all."""

from __future__ import annotations

from collections import OrderedDict

MOST = 1 << 16


class Forgone:
    """The last ones given up, on all connections together: what the peer owes may grow without
    end, and this does not. Each is kept as a hash, and so needs no more room if it is large.

    A reply to one that is forgotten is one too many, for all that is known of it.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[tuple[int, int], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, connection: int, message: bytes) -> None:
        """Keep one, and forget the oldest for it."""
        self._known[connection, hash(message)] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def take(self, connection: int, reply: bytes) -> bool:
        """Is it the reply to one of them? Each has but one."""
        key = connection, hash(reply)
        if key not in self._known:
            return False
        del self._known[key]
        return True
