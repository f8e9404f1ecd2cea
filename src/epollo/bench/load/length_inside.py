"""Messages of framings that write their length into the message."""

from __future__ import annotations

from collections.abc import Callable

from epollo.bench.load.payload import Unnumbered
from epollo.framing import Framing, LengthField


class LengthInside(Unnumbered):
    """The messages that ``make`` returns, as they are sent: with their length in them, which
    replaces some of their bytes. So a reply can be compared with all that was sent."""

    def __init__(self, make: Callable[[int, int, int], bytes], framing: Framing) -> None:
        self._message = make
        self._encode = framing.encode

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The message ``number`` of ``connection``, due at ``intended`` ns."""
        return self._encode(self._message(connection, number, intended))


def length_inside(framing: Framing) -> range:
    """The bytes of each message that ``framing`` overwrites with the length; empty if it puts the
    length before the message, or has none."""
    if isinstance(framing, LengthField) and framing.in_place:
        return range(framing.offset, framing.end)
    return range(0)
