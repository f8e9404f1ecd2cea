"""Netstrings, as specified by D. J. Bernstein (cr.yp.to/proto/netstrings.txt)."""

from __future__ import annotations

from epollo.errors import FrameCorrupt, FrameTooLarge
from epollo.framing.base import Buffer, over_max_frame, to_bytes
from epollo.framing.sized import Measure, SizedFraming

_ZERO, _NINE, _COLON = b"09:"


class Netstring(SizedFraming):
    """A decimal length without leading zeros, a colon, a message of that length, a comma.

    ``max_frame`` limits the whole frame. A length with more digits than ``max_frame`` is too large
    at the first extra digit; the error's size is then the number in the digits so far.
    """

    trailer = b","

    def __init__(self, name: str, max_frame: int) -> None:
        super().__init__(name, max_frame)
        self._max_digits = len(str(max_frame))

    def measure(self, buffer: Buffer, start: int, stop: int) -> Measure | None:
        length = 0
        for digits, byte in enumerate(buffer[start:stop]):
            if byte == _COLON and digits:
                return self.check_length(digits + 1, length)
            if not _ZERO <= byte <= _NINE:
                raise FrameCorrupt(f"netstring length has {bytes([byte])!r} instead of a digit")
            if digits and not length:
                raise FrameCorrupt("netstring length has a leading zero")
            length = 10 * length + byte - _ZERO
            if digits == self._max_digits:
                raise FrameTooLarge(digits + 1 + len(b":") + length + len(b","), self.max_frame)
        return None

    def encode(self, message: Buffer) -> bytes:
        message = to_bytes(message)
        frame = b"%d:%b," % (len(message), message)
        if len(frame) > self.max_frame:
            raise over_max_frame(len(message), self.max_frame)
        return frame
