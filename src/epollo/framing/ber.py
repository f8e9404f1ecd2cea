"""Frames of ASN.1's Basic Encoding Rules: a tag, a length, and as many bytes."""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.announced import Announced, Number
from epollo.framing.base import Buffer, bad_spec
from epollo.plurals import counted

MOST_TAG = 6  # bytes of a tag; numbers of 35 bits
MOST_BYTES = 8  # of a length in its long form, behind the byte with their number
SEQUENCE = b"\x30"
_MANY = 0x1F  # of the first byte of a tag: its number is in the bytes that follow


class Ber(Announced):
    """One ASN.1 value in BER or DER with a definite length, such as a message of LDAP or SNMP.

    X.690, 8.1.2 and 8.1.3. The message is the whole value, with tag and length. The long form may
    be longer than it has to be, as in BER; some LDAP servers send it so. The indefinite form, and a
    length in more than 8 bytes, are corrupt.
    """

    most_width = 1 + MOST_BYTES

    def __init__(self, name: str, max_frame: int) -> None:
        super().__init__(name, max_frame, offset=1)
        if max_frame < 2:
            raise bad_spec(name, f"tag and length are 2 bytes, over max_frame ({max_frame})")

    def length_at(self, buffer: Buffer, start: int, stop: int) -> int | None:
        at = start + 1
        if buffer[start] & _MANY == _MANY:
            while at < stop and buffer[at] & 0x80:
                at += 1
                if at - start == MOST_TAG:
                    raise FrameCorrupt(f"BER tag is longer than {MOST_TAG} bytes")
            at += 1
        return at if at < stop else None

    def read(self, buffer: Buffer, start: int, stop: int) -> Number | None:
        first = buffer[start]
        if first < 0x80:
            return first, 1
        if first == 0x80:
            raise FrameCorrupt("BER length is indefinite")
        width = first & 0x7F
        if width > MOST_BYTES:
            raise FrameCorrupt(f"BER length has {counted(width, 'byte')}, over {MOST_BYTES}")
        end = start + 1 + width
        return (int.from_bytes(buffer[start + 1 : end]), 1 + width) if end <= stop else None

    def write(self, length: int, width: int = 0) -> bytes | None:
        width = width or (1 if length < 0x80 else 1 + (length.bit_length() + 7) // 8)
        if length < 0 or width > self.most_width or length >= 1 << 8 * max(width - 1, 1):
            return None
        if width == 1:
            return bytes([length]) if length < 0x80 else None
        return bytes([0x80 | width - 1]) + length.to_bytes(width - 1)

    def with_length(self, message: bytes) -> bytes:
        return super().with_length(SEQUENCE + message[1:])
