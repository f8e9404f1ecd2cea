"""Frames that contain their length in binary-coded decimal: two digits a byte."""

from __future__ import annotations

from typing import Final

from epollo.errors import FrameCorrupt
from epollo.framing.announced import Announced, Number
from epollo.framing.base import Buffer, bad_spec

MOST_BYTES = 9  # of two digits each: every such number is below 2^63


class Bcd(Announced):
    """A length of ``size`` bytes (1 to 9), each with two decimal digits, the higher one first.

    ISO 8583 on some hosts. A byte with a half over 9 is corrupt as soon as it is received.
    """

    def __init__(
        self, name: str, max_frame: int, *, size: int, offset: int = 0, adjust: int = 0
    ) -> None:
        super().__init__(name, max_frame, offset=offset, adjust=adjust)
        self.size: Final = size
        self.most_width: int = size
        if not 1 <= size <= MOST_BYTES:
            raise bad_spec(name, f"size={size} is not from 1 to {MOST_BYTES}")

    def read(self, buffer: Buffer, start: int, stop: int) -> Number | None:
        length = 0
        for byte in buffer[start : min(stop, start + self.size)]:
            high, low = byte >> 4, byte & 15
            if high > 9 or low > 9:
                raise FrameCorrupt(f"BCD length has {byte:#04x} instead of two digits")
            length = 100 * length + 10 * high + low
        return (length, self.size) if stop - start >= self.size else None

    def write(self, length: int, width: int = 0) -> bytes | None:
        if not 0 <= length < 100**self.size or width not in (0, self.size):
            return None
        return bytes.fromhex(f"{length:0{2 * self.size}d}")
