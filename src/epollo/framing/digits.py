"""Frames that contain their length in decimal digits of ASCII."""

from __future__ import annotations

from typing import Final

from epollo.errors import FrameCorrupt, FrameTooLarge
from epollo.framing.announced import Announced, Number
from epollo.framing.base import Buffer, bad_spec

MOST_DIGITS = 18  # every number of that many digits is below 2^63
_ZERO, _NINE = b"09"


class Digits(Announced):
    """A length of exactly ``size`` decimal digits (1 to 18), with zeros in front.

    ISO 8583 on many hosts. Anything but a digit is corrupt as soon as it is received.
    """

    def __init__(
        self, name: str, max_frame: int, *, size: int, offset: int = 0, adjust: int = 0
    ) -> None:
        super().__init__(name, max_frame, offset=offset, adjust=adjust)
        self.size: Final = size
        self.most_width: int = size
        if not 1 <= size <= MOST_DIGITS:
            raise bad_spec(name, f"size={size} is not from 1 to {MOST_DIGITS}")

    def read(self, buffer: Buffer, start: int, stop: int) -> Number | None:
        length = 0
        for byte in buffer[start : min(stop, start + self.size)]:
            if not _ZERO <= byte <= _NINE:
                raise no_digit(byte, "length")
            length = 10 * length + byte - _ZERO
        return (length, self.size) if stop - start >= self.size else None

    def write(self, length: int, width: int = 0) -> bytes | None:
        number = b"%0*d" % (self.size, length)
        return number if length >= 0 and len(number) == self.size == (width or self.size) else None


class DigitsUntil(Announced):
    """A decimal length without leading zeros, then the byte ``end``.

    RFC 6587, 3.4.1 (syslog over TCP), with a space as ``end``. A length with more digits than one
    for ``max_frame`` has is too large at the first extra digit; the error's size is then of the
    number in the digits so far. Leading zeros, and anything but digits, are corrupt as soon as they
    are received.
    """

    what: str = "length"  # in errors

    def __init__(
        self, name: str, max_frame: int, *, end: bytes, offset: int = 0, adjust: int = 0
    ) -> None:
        super().__init__(name, max_frame, offset=offset, adjust=adjust)
        self.end: Final = end
        if len(end) != 1 or end.isdigit():
            raise bad_spec(
                name,
                f"end={end.decode(errors='backslashreplace')} is not one byte other than a digit",
            )
        self._end = end[0]
        self.max_digits: Final = len(str(max(0, max_frame - adjust)))
        self.most_width: int = self.max_digits + 1

    def read(self, buffer: Buffer, start: int, stop: int) -> Number | None:
        length = 0
        for digits, byte in enumerate(buffer[start:stop]):
            if byte == self._end and digits:
                return length, digits + 1
            if not _ZERO <= byte <= _NINE:
                raise no_digit(byte, self.what)
            if digits and not length:
                raise FrameCorrupt(f"{self.what} has a leading zero")
            length = 10 * length + byte - _ZERO
            if digits == self.max_digits:
                end = self.offset + digits + 1 + len(self.end)
                raise FrameTooLarge(self.frame_size(end, length), self.max_frame)
        return None

    def write(self, length: int, width: int = 0) -> bytes | None:
        number = b"%d%b" % (length, self.end)
        return number if length >= 0 and len(number) == (width or len(number)) else None


def no_digit(byte: int, what: str) -> FrameCorrupt:
    """The error for a ``byte`` in the place of a digit."""
    return FrameCorrupt(f"{what} has {bytes([byte])!r} instead of a digit")
