"""Frames between two delimiters."""

from __future__ import annotations

from typing import Final

from epollo.errors import EncodeError, FrameCorrupt, FrameTooLarge
from epollo.framing.base import Buffer, bad_spec, over_max_frame, to_bytes
from epollo.framing.sought import Extent, SoughtFraming


class Enclosed(SoughtFraming):
    """Messages that each begin after the bytes ``start``, and end before the bytes ``delimiter``.

    HL7's Minimal Lower Layer Protocol, with VT, and FS CR. Both delimiters are not part of the
    message and do not count towards ``max_frame``. A frame that does not begin with ``start`` is
    corrupt at the first byte that differs. Raises FramingSpecError if one of them is empty.
    """

    def __init__(self, name: str, max_frame: int, *, start: bytes, delimiter: bytes) -> None:
        super().__init__(name, max_frame)
        self.start: Final = start
        self.delimiter: Final = delimiter
        if not start or not delimiter:
            raise bad_spec(name, "start and end are at least one byte")

    def encode(self, message: Buffer) -> bytes:
        message = to_bytes(message)
        if len(message) > self.max_frame:
            raise over_max_frame(len(message), self.max_frame)
        frame = message + self.delimiter
        if frame.find(self.delimiter) != len(message):
            raise EncodeError(
                f"a message with its delimiter {self.delimiter!r} in it cannot be sent"
            )
        return self.start + frame

    def seek(self, received: bytearray, start: int, seen: int) -> Extent | None:
        begin = start + len(self.start)
        if seen < len(self.start):
            self._check_start(received[start:begin])
        end = received.find(self.delimiter, max(begin, start + seen - len(self.delimiter) + 1))
        size = (
            len(received) - self._partial_delimiter(received, begin) if end < 0 else end
        ) - begin
        if size > self.max_frame:
            # The size of the message is unknown: its end has not been received.
            raise FrameTooLarge(self.max_frame + 1, self.max_frame)
        if end < 0:
            return None
        return Extent(begin - start, end - start, end - start + len(self.delimiter))

    def _check_start(self, found: bytearray) -> None:
        for at, (byte, wanted) in enumerate(zip(found, self.start, strict=False)):
            if byte != wanted:
                wrong = bytes(found[: at + 1])
                raise FrameCorrupt(f"frame begins with {wrong!r} instead of {self.start!r}")

    def _partial_delimiter(self, received: bytearray, begin: int) -> int:
        """How many of the last bytes may be the first ones of the delimiter."""
        most = min(len(self.delimiter) - 1, len(received) - begin)
        return next((n for n in range(most, 0, -1) if received.endswith(self.delimiter[:n])), 0)
