"""Frames that start with their length as a varint of protobuf.

protobuf.dev, Encoding, "Base 128 Varints"; writeDelimitedTo and serialize_length_prefixed.
"""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.base import Buffer, over_max_frame, to_bytes
from epollo.framing.sized import Measure, SizedFraming

_MAX_BYTES = 10  # of 7 bits each, for a 64-bit number


class Varint(SizedFraming):
    """A base-128 length, its lowest 7 bits first, then a message of that length.

    Padding with zeros is accepted, as in protobuf, but never written. ``max_frame`` limits length
    and message together.
    """

    def measure(self, buffer: Buffer, start: int, stop: int) -> Measure | None:
        length = shift = 0
        for at in range(start, min(stop, start + _MAX_BYTES)):
            byte = buffer[at]
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                return self.check_length(at + 1 - start, length)
            shift += 7
        if stop - start >= _MAX_BYTES:
            raise FrameCorrupt(f"varint length is longer than {_MAX_BYTES} bytes")
        return None

    def encode(self, message: Buffer) -> bytes:
        message = to_bytes(message)
        frame = _varint(len(message)) + message
        if len(frame) > self.max_frame:
            raise over_max_frame(len(message), self.max_frame)
        return frame


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
