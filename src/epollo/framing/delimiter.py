"""Frames that end with certain bytes: a delimiter, or the end of a line."""

from __future__ import annotations

from typing import Final

from epollo.errors import EncodeError, FrameError, FrameTooLarge, FrameTruncated
from epollo.framing.base import (
    Buffer,
    Continued,
    Decoder,
    Fault,
    Framing,
    bad_spec,
    fault_of,
    over_max_frame,
    to_bytes,
)
from epollo.plurals import counted


class Delimiter(Framing):
    """Messages that each end with the bytes ``delimiter``.

    The delimiter is not part of the message and does not count towards ``max_frame``. Raises
    FramingSpecError if it is empty.
    """

    def __init__(self, name: str, max_frame: int, *, delimiter: bytes) -> None:
        super().__init__(name, max_frame)
        self.delimiter: Final = delimiter
        if not delimiter:
            raise bad_spec(name, r"the delimiter is empty; write one such as delimiter:\0")

    def encode(self, message: Buffer) -> bytes:
        message = to_bytes(message)
        if len(message) > self.max_frame:
            raise over_max_frame(len(message), self.max_frame)
        frame = message + self.delimiter
        # Search in the whole frame: "x-" with the delimiter "--" would be received as "x" and "-".
        if frame.find(self.delimiter) != len(message):
            raise EncodeError(
                f"a message with its delimiter {self.delimiter!r} in it cannot be sent"
            )
        return frame

    def decoder(self) -> Decoder:
        return DelimiterDecoder(self.delimiter, self.max_frame)


class Line(Framing):
    """Lines ended by LF; a CR before the LF is dropped, a CR elsewhere belongs to the line.

    The end of the line is not part of the message and does not count towards ``max_frame``. Lines
    are sent with ``ending``: LF, or CR LF. Raises FramingSpecError for any other.
    """

    def __init__(self, name: str, max_frame: int, *, ending: bytes = b"\n") -> None:
        super().__init__(name, max_frame)
        self.ending: Final = ending
        if ending not in (b"\n", b"\r\n"):
            raise bad_spec(name, "a line ends with LF or CR LF")

    def encode(self, message: Buffer) -> bytes:
        message = to_bytes(message)
        if b"\n" in message:
            raise EncodeError("a message with LF in it cannot be sent as one line")
        if message.endswith(b"\r") and self.ending == b"\n":
            raise EncodeError("a message that ends in CR would lose it as a line")
        if len(message) > self.max_frame:
            raise over_max_frame(len(message), self.max_frame)
        return message + self.ending

    def decoder(self) -> Decoder:
        return DelimiterDecoder(b"\n", self.max_frame, dropped=b"\r", unit="line")


class DelimiterDecoder(Decoder):
    """Splits at each delimiter; holds bytes only while a message is incomplete.

    ``dropped`` is removed from the message if it precedes the delimiter.
    """

    __slots__ = ("_delimiter", "_dropped", "_fault", "_max_frame", "_partial", "_unit")

    def __init__(
        self, delimiter: bytes, max_frame: int, *, dropped: bytes = b"", unit: str = "message"
    ) -> None:
        self._delimiter = delimiter
        self._dropped = dropped
        self._max_frame = max_frame
        self._unit = unit
        self._partial = bytearray()
        self._fault: Fault | None = None

    def feed(self, data: Buffer) -> list[bytes]:
        if self._fault is not None:
            raise self._fault()
        data = to_bytes(data)
        before = len(self._partial)
        messages = self._split_partial(data) if before else data.split(self._delimiter)
        if rest := messages.pop():
            self._partial += rest
        begin = len(messages[0]) + len(self._delimiter) - before if before and messages else 0
        if self._dropped:
            messages = [message.removesuffix(self._dropped) for message in messages]
        if begin:
            messages = Continued(messages, begin)
        if before + len(data) > self._max_frame:
            self._check(messages, begin)
        return messages

    @property
    def partial(self) -> bool:
        return bool(self._partial) and self._fault is None

    @property
    def partial_size(self) -> int:
        return len(self._partial)

    def eof(self) -> None:
        if self.partial:
            size = len(self._partial)
            raise FrameTruncated(f"the stream ended {counted(size, 'byte')} into a {self._unit}")

    def _split_partial(self, data: bytes) -> list[bytes]:
        """The messages completed by ``data``, and as the last element the bytes to keep."""
        partial = self._partial
        # Search again only the bytes that may be the start of a delimiter.
        start = max(0, len(partial) - len(self._delimiter) + 1)
        partial += data
        stop = partial.find(self._delimiter, start)
        if stop < 0:
            return [b""]
        self._partial = bytearray()
        first = memoryview(partial)[:stop].tobytes()
        return [first, *bytes(partial[stop + len(self._delimiter) :]).split(self._delimiter)]

    @property
    def partial_bytes(self) -> bytes:
        return bytes(self._partial)

    def _check(self, messages: list[bytes], begin: int) -> None:
        for number, message in enumerate(messages):
            if len(message) > self._max_frame:
                raise self._fail(
                    Continued(messages[:number], begin) if begin else messages[:number]
                )
        if len(self._partial) > self._max_frame and not self._may_end_in_time():
            raise self._fail(messages)

    def _may_end_in_time(self) -> bool:
        """Can the bytes over ``max_frame`` still be the start of the message's end?"""
        ending = self._dropped + self._delimiter
        over = len(self._partial) - self._max_frame
        return any(self._partial.endswith(ending[:size]) for size in range(over, len(ending)))

    def _fail(self, messages: list[bytes]) -> FrameError:
        # The size of the message is unknown: its end has not been received.
        error = FrameTooLarge(self._max_frame + 1, self._max_frame)
        error.messages = messages
        self._fault = fault_of(error)
        self._partial = bytearray()
        return error
