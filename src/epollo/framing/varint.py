"""Frames that contain their length as a varint of protobuf.

protobuf.dev, Encoding, "Base 128 Varints"; writeDelimitedTo and serialize_length_prefixed. MQTT has
such a length behind its first byte.
"""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.announced import Announced, Number
from epollo.framing.base import Buffer, bad_spec
from epollo.plurals import counted

MOST_BYTES = 10  # of 7 bits each, for a 64-bit number


class Varint(Announced):
    """A base-128 length of at most ``size`` bytes (1 to 10), its lowest 7 bits first.

    Padding with zeros is accepted, as in protobuf, but never written. ``max_frame`` limits length
    and message together.
    """

    def __init__(
        self,
        name: str,
        max_frame: int,
        *,
        size: int = MOST_BYTES,
        offset: int = 0,
        adjust: int = 0,
    ) -> None:
        super().__init__(name, max_frame, offset=offset, adjust=adjust)
        self.most_width: int = size
        if not 1 <= size <= MOST_BYTES:
            raise bad_spec(name, f"size={size} is not from 1 to {MOST_BYTES}")

    def read(self, buffer: Buffer, start: int, stop: int) -> Number | None:
        length = shift = 0
        for at in range(start, min(stop, start + self.most_width)):
            byte = buffer[at]
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                return length, at + 1 - start
            shift += 7
        if stop - start >= self.most_width:
            raise FrameCorrupt(f"varint length is longer than {counted(self.most_width, 'byte')}")
        return None

    def write(self, length: int, width: int = 0) -> bytes | None:
        digits = bytearray()
        while length > 0x7F or len(digits) + 1 < width:
            digits.append(length & 0x7F | 0x80)
            length >>= 7
        digits.append(length & 0x7F)
        fits = length >= 0 and len(digits) <= self.most_width
        return bytes(digits) if fits and len(digits) == (width or len(digits)) else None
