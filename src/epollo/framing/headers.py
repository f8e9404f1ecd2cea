"""Frames of header lines, one of which has the length of the body in it.

RFC 9112 (HTTP/1.1), sections 5 and 6; RFC 3261 (SIP), 7.3 and 18.3; the base protocol of the
Language Server Protocol. What two readers may take for two different lengths is corrupt.
"""

from __future__ import annotations

import re
from typing import Final

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing.base import Buffer, bad_spec, over_max_frame, to_bytes
from epollo.framing.digits import MOST_DIGITS
from epollo.framing.sought import Extent, SoughtFraming
from epollo.plurals import counted

MOST_HEADERS = 1 << 16
"""The largest block of headers, in bytes, if ``max_frame`` is not less."""

_END = b"\r\n\r\n"
_LENGTH = b"content-length"
_ENCODING = b"transfer-encoding"
_NUMBER = re.compile(rb"0|[1-9][0-9]*")
_BARE = re.compile(rb"\r[^\n]|[^\r]\n")
_LF = 0x0A
_INVISIBLE = bytes(range(0x21)) + b"\x7f"  # other readers may overlook them


class Headers(SoughtFraming):
    """Lines that end with CR LF, an empty line, then as many bytes as ``Content-Length`` says.

    The message is the whole frame. Without a Content-Length, it is the headers alone. ``alias`` is
    another name for that header, as ``l`` is in SIP. Two lengths, even equal ones, anything but a
    plain number, Transfer-Encoding, and a CR or LF that is not part of CR LF are corrupt. Names are
    compared without regard to case. Encoding raises EncodeError for a message that is not one
    frame.
    """

    in_place: Final = True

    def __init__(self, name: str, max_frame: int, *, alias: str = "") -> None:
        super().__init__(name, max_frame)
        self.most_headers: Final = min(max_frame, MOST_HEADERS)
        if not re.fullmatch(r"[A-Za-z0-9-]*", alias):
            raise bad_spec(name, f"alias={alias} is not the name of a header")
        self.alias: Final = alias.lower().encode()

    def encode(self, message: Buffer) -> bytes:
        message = to_bytes(message)
        if len(message) > self.max_frame:
            raise over_max_frame(len(message), self.max_frame)
        try:
            extent = self.seek(bytearray(message), 0, 0) if message else None
        except FrameError as error:
            raise EncodeError(f"message is not a frame of {self.name}: {error}") from None
        if extent is None:
            raise EncodeError(
                f"message of {counted(len(message), 'byte')} has no empty line after headers"
            )
        if extent.size != len(message):
            raise EncodeError(
                f"message of {counted(len(message), 'byte')} has a length for {extent.size} in it"
            )
        return message

    def seek(self, received: bytearray, start: int, seen: int) -> Extent | None:
        end = received.find(_END, max(start, start + seen - len(_END) + 1))
        size = (len(received) if end < 0 else end + len(_END)) - start
        stop = start + min(size, self.most_headers)
        if received[start] == _LF or _BARE.search(received, start + max(0, seen - 1), stop):
            raise FrameCorrupt("headers have a CR or LF that is not part of CR LF")
        if size > self.most_headers:
            raise FrameTooLarge(self.most_headers + 1, self.most_headers)
        if end < 0:
            return None
        size += self._length(bytes(received[start:end]))
        if size > self.max_frame:
            raise FrameTooLarge(size, self.max_frame)
        return Extent(0, size, size)

    def _length(self, block: bytes) -> int:
        """The length of the body that follows this block of headers."""
        length, is_length = None, False
        for line in block.split(b"\r\n"):
            if is_length and line[:1] in (b" ", b"\t"):
                raise FrameCorrupt("Content-Length has more than one line")
            name, colon, value = line.partition(b":")
            known = name.strip(_INVISIBLE).lower()
            if known == _ENCODING:
                raise FrameCorrupt("headers have a Transfer-Encoding")
            is_length = known == _LENGTH or (known == self.alias and known != b"")
            if not is_length:
                continue
            if length is not None:
                raise FrameCorrupt("headers have a second Content-Length")
            if not colon or len(name) != len(known):
                raise FrameCorrupt(f"Content-Length is not followed by a colon: {line[:80]!r}")
            length = _number(value)
        return length or 0

    def with_length(self, message: bytes) -> bytes:
        """``message``, with a header that makes it a whole frame written over its first bytes.

        Raises EncodeError if it is too short for that.
        """
        header = self._header_for(len(message))
        if not header:
            raise EncodeError(f"no frame of {self.name} has {counted(len(message), 'byte')}")
        return self.encode(header + message[len(header) :])

    def length_place(self, size: int) -> range:
        """The bytes that ``with_length`` overwrites in a message of ``size`` bytes."""
        return range(len(self._header_for(size)))

    def _header_for(self, size: int) -> bytes:
        """A header that says how long the rest of ``size`` bytes is; empty if there is none."""
        for padding in (b"", b" "):  # a frame of 31 bytes needs it
            for digits in range(1, MOST_DIGITS + 1):
                length = b"%d" % max(0, size - (len(_HEADER) - 2) - len(padding) - digits)
                if len(length) == digits:
                    header = _HEADER % (padding + length)
                    if len(header) + int(length) == size:
                        return header
        return b""


_HEADER = b"Content-Length: %b\r\n\r\n"


def _number(value: bytes) -> int:
    digits = value.strip(b" \t")
    if not _NUMBER.fullmatch(digits):
        raise FrameCorrupt(f"Content-Length is {digits[:80]!r} instead of a number")
    if len(digits) > MOST_DIGITS:
        raise FrameCorrupt(
            f"Content-Length has {counted(len(digits), 'digit')}, over {MOST_DIGITS}"
        )
    return int(digits)
