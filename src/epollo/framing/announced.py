"""Frames that contain their length in a notation such as decimal digits: the base of all of them.

A notation reads a length and writes one. Its place in the frame, what it counts and what is
invalid are the same for all notations, and stand here. A length of fixed width in binary is
`epollo.framing.length`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final, TypeAlias

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing.base import MAX_LENGTH, Buffer, bad_spec, over_max_frame, to_bytes
from epollo.framing.measured import Measure, MeasuredFraming, over_max_length
from epollo.plurals import counted

Number: TypeAlias = tuple[int, int]
"""A length, and the bytes that it takes."""

_LIMIT = 1 << 31


class Announced(MeasuredFraming):
    """A length after ``offset`` bytes, then as many bytes as it says, plus ``adjust``.

    Without an offset, the message is what follows the length, and encoding writes the length. With
    one, the message is the whole frame, and encoding raises EncodeError if the length in it is
    wrong. Raises FramingSpecError for impossible parameters.
    """

    most_width: int
    """The longest length, in bytes."""

    def __init__(self, name: str, max_frame: int, *, offset: int = 0, adjust: int = 0) -> None:
        super().__init__(name, max_frame)
        self.offset: Final = offset
        self.adjust: Final = adjust
        self.header: int = offset + 1
        self.in_place: Final = offset != 0
        if not 0 <= offset < _LIMIT:
            raise bad_spec(name, f"offset={offset} is not from 0 to {_LIMIT - 1}")
        if not -_LIMIT < adjust < _LIMIT:
            raise bad_spec(name, f"adjust={adjust} is not a 32-bit number")
        if offset >= max_frame:
            raise bad_spec(
                name, f"its length begins at byte {offset}, over max_frame ({max_frame})"
            )

    @abstractmethod
    def read(self, buffer: Buffer, start: int, stop: int) -> Number | None:
        """The length that starts at ``start``; None if its bytes up to ``stop`` are not all.

        Raises FrameCorrupt and FrameTooLarge at the first byte that shows it.
        """

    @abstractmethod
    def write(self, length: int, width: int = 0) -> bytes | None:
        """The shortest form of ``length``, or the one of ``width`` bytes; None if it has none."""

    def length_at(self, buffer: Buffer, start: int, stop: int) -> int | None:
        """Where the length of the frame at ``start`` begins; None if that is not known yet."""
        at = start + self.offset
        return at if at < stop else None

    def measure(self, buffer: Buffer, start: int, stop: int) -> Measure | None:
        at = self.length_at(buffer, start, stop)
        number = None if at is None else self.read(buffer, at, stop)
        if at is None or number is None:
            return None
        length, width = number
        end = at - start + width
        size = self.frame_size(end, length)
        if length > MAX_LENGTH:
            raise over_max_length(length)
        if size < end:
            raise FrameCorrupt(
                f"frame of {counted(size, 'byte')} ends before its length does, at {end}"
            )
        if size > self.max_frame:
            raise FrameTooLarge(size, self.max_frame)
        return 0 if self.in_place else end, size

    def frame_size(self, end: int, length: int) -> int:
        """The size of a frame whose ``length`` ends after ``end`` bytes."""
        return end + length + self.adjust + len(self.trailer)

    def encode(self, message: Buffer) -> bytes:
        message = to_bytes(message)
        if self.in_place:
            self._check_whole(message)
            return message
        length = len(message) - self.adjust
        number = self.write(length) if length >= 0 else None
        if number is None:
            raise EncodeError(
                f"message of {counted(len(message), 'byte')} has no length that {self.name} can say"
            )
        frame = number + message + self.trailer
        if len(frame) > self.max_frame:
            raise over_max_frame(len(message), self.max_frame)
        return frame

    def _check_whole(self, message: bytes) -> None:
        if len(message) > self.max_frame:
            raise over_max_frame(len(message), self.max_frame)
        try:
            measured = self.measure(message, 0, len(message)) if message else None
        except FrameTooLarge as error:
            measured = 0, error.size
        except FrameError as error:
            raise EncodeError(f"message is not a frame of {self.name}: {error}") from None
        if measured is None:
            raise EncodeError(
                f"message of {counted(len(message), 'byte')} has no whole {self.name} length"
            )
        if measured[1] != len(message):
            raise EncodeError(
                f"message of {counted(len(message), 'byte')} has a length for {measured[1]} in it"
            )

    def with_length(self, message: bytes) -> bytes:
        """``message``, with the length that makes it a whole frame written over bytes of it.

        Raises EncodeError if no frame has that size.
        """
        place = self.length_place(len(message))
        number = self.write(len(message) - place.stop - self.adjust, len(place)) if place else None
        if number is None:
            raise EncodeError(f"no frame of {self.name} has {counted(len(message), 'byte')}")
        message = message[: place.start] + number + message[place.stop :]
        self._check_whole(message)
        return message

    def length_place(self, size: int) -> range:
        """The bytes of its length in a frame of ``size`` bytes; empty if no frame has that size."""
        for width in range(1, self.most_width + 1):
            end = self.offset + width
            if size >= end and self.write(size - end - self.adjust, width) is not None:
                return range(self.offset, end)
        return range(0)
