"""Messages of framings that write their length into the message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeGuard

from epollo.bench.load.payload import Unnumbered
from epollo.errors import EncodeError
from epollo.framing import Announced, Framing, Headers, LengthField

Inside: TypeAlias = LengthField | Announced | Headers
"""The framings that may have the length in the message."""


class LengthInside(Unnumbered):
    """The messages that ``make`` returns, as they are sent: with their length in them, which
    replaces some of their bytes. So a reply can be compared with all that was sent."""

    def __init__(self, make: Callable[[int, int, int], bytes], framing: Inside) -> None:
        self._message = make
        self._framing = framing

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The message ``number`` of ``connection``, due at ``intended`` ns."""
        return with_length(self._framing, self._message(connection, number, intended))


def is_length_inside(framing: Framing) -> TypeGuard[Inside]:
    """Is the length that ``framing`` sends a part of the message?"""
    return isinstance(framing, Inside) and framing.in_place


def with_length(framing: Inside, message: bytes) -> bytes:
    """``message`` with its length in it, if it is not there already. Raises EncodeError."""
    try:
        return framing.encode(message)
    except EncodeError:
        if isinstance(framing, LengthField):  # it writes the length itself
            raise
        return framing.with_length(message)


def length_inside(framing: Framing, size: int) -> range:
    """The bytes of a message of ``size`` bytes that are overwritten with its length; empty if it
    is put before the message, or there is none. Raises EncodeError if no message has that size."""
    if not is_length_inside(framing):
        return range(0)
    if isinstance(framing, LengthField):
        return range(framing.offset, framing.end)
    return framing.length_place(size)
