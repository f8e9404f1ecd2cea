"""Frames of one fixed size."""

from __future__ import annotations

from typing import Final

from epollo.errors import EncodeError
from epollo.framing.base import Buffer, bad_spec, to_bytes
from epollo.framing.measured import Measure, MeasuredFraming


class Fixed(MeasuredFraming):
    """Messages of ``size`` bytes each, with nothing between them.

    Raises FramingSpecError for an impossible size.
    """

    def __init__(self, name: str, max_frame: int, *, size: int) -> None:
        super().__init__(name, max_frame)
        self.size: Final = size
        if size < 1:
            raise bad_spec(name, "the size must be at least 1")
        if size > max_frame:
            raise bad_spec(name, f"{size} bytes are over max_frame ({max_frame})")

    def measure(self, buffer: Buffer, start: int, stop: int) -> Measure:
        return 0, self.size

    def encode(self, message: Buffer) -> bytes:
        message = to_bytes(message)
        if len(message) != self.size:
            raise EncodeError(f"message of {len(message)} bytes; {self.name} takes {self.size}")
        return message
