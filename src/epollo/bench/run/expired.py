"""Messages given up, to which a reply may still come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

MOST = 1 << 16


class ExpiredRequests:
    """The messages given up last, on all connections together, ``most`` of them.

    Only a hash of each is kept, so large messages take no more memory. A reply to an older one is
    counted as an extra reply.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[tuple[int, int], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, connection: int, message: Hashable) -> None:
        """Remember one, or its identifier; drops the oldest when there are too many."""
        self._known[connection, hash(message)] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def match(self, connection: int, reply: Hashable) -> bool:
        """Is ``reply`` the answer to one of them? Each matches once."""
        key = connection, hash(reply)
        if key not in self._known:
            return False
        del self._known[key]
        return True
