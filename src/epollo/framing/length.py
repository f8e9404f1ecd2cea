"""Frames that contain an unsigned length of fixed width.

The parameters have the meaning that they have in Netty's LengthFieldBasedFrameDecoder; there
``adjust`` is lengthAdjustment and ``strip`` is initialBytesToStrip.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing.base import MAX_LENGTH, Buffer, Decoder, bad_spec, over_max_frame, to_bytes
from epollo.framing.measured import Measure, MeasuredDecoder, MeasuredFraming, over_max_length
from epollo.plurals import counted

Order: TypeAlias = Literal["big", "little"]
WholeFrame: TypeAlias = Callable[[memoryview], tuple[int, bytes]]

SIZES = (1, 2, 3, 4, 8)
FORMS = {1: "B", 2: "H", 4: "I", 8: "Q"}  # of the struct module
_LIMIT = 1 << 31
_CACHE_SIZE = 1024  # structs, and headers, cached by size


class LengthField(MeasuredFraming):
    """A frame that contains its length, as for Netty's LengthFieldBasedFrameDecoder.

    The length starts ``offset`` bytes into the frame and has ``size`` bytes (1, 2, 3, 4 or 8) in
    byte ``order``. After it the frame has as many bytes as the length says, plus ``adjust`` (which
    may be negative). The first ``strip`` bytes of the frame are not part of the message. All are
    32-bit numbers, as in Netty.

    If exactly the length is stripped, encoding puts it before the message. Otherwise the message
    to send is the whole frame, and encoding overwrites its length field. Raises FramingSpecError
    for impossible parameters.
    """

    def __init__(
        self,
        name: str,
        max_frame: int,
        *,
        size: int,
        offset: int = 0,
        adjust: int = 0,
        strip: int = 0,
        order: Order = "big",
    ) -> None:
        super().__init__(name, max_frame)
        self.offset: Final = offset
        self.size: Final = size  # of the length field
        self.adjust: Final = adjust
        self.strip: Final = strip
        self.order: Final[Order] = order
        self.end: Final = offset + size  # of the length field
        self._check()
        self.header: int = self.end
        self.in_place: Final = offset != 0 or strip != self.end
        self._least = max(self.end, strip)
        self.most: Final = min(max_frame, MAX_LENGTH + adjust + self.end)  # bytes of a frame
        self._max_value = (1 << 8 * size) - 1

    def measure(self, buffer: Buffer, start: int, stop: int) -> Measure | None:
        end = start + self.end
        if end > stop:
            return None
        value = int.from_bytes(buffer[start + self.offset : end], self.order)
        size = value + self.adjust + self.end
        if not self._least <= size <= self.most:
            raise self.refusal(value)
        return self.strip, size

    def refusal(self, value: int) -> FrameError:
        """The error for a frame with the invalid length ``value``."""
        size = value + self.adjust + self.end
        if value > MAX_LENGTH:
            return over_max_length(value)
        if size < self.end:
            return FrameCorrupt(
                f"frame of {counted(size, 'byte')} ends before its length does, at {self.end}"
            )
        if size > self.max_frame:
            return FrameTooLarge(size, self.max_frame)
        return FrameCorrupt(
            f"frame of {counted(size, 'byte')} is shorter than the {self.strip} to strip"
        )

    def encode(self, message: Buffer) -> bytes:
        message = to_bytes(message)
        if self.in_place:
            length = self.length_of(len(message))
            return message[: self.offset] + length + message[self.end :]
        return self.length_of(len(message) + self.end) + message

    def length_of(self, size: int) -> bytes:
        """The length field of a frame of ``size`` bytes. Raises EncodeError if that fails."""
        value = size - self.adjust - self.end
        if not (self._least <= size <= self.max_frame and 0 <= value <= self._max_value):
            raise self._unsendable(size, value)
        return value.to_bytes(self.size, self.order)

    def _unsendable(self, size: int, value: int) -> EncodeError:
        what = size if self.in_place else size - self.end
        if size > self.max_frame:
            return over_max_frame(what, self.max_frame)
        if value > self._max_value:
            return EncodeError(
                f"message of {counted(what, 'byte')} is longer than a {self.name} length can say"
            )
        least = max(self._least, self.adjust + self.end) - size + what
        return EncodeError(
            f"message of {counted(what, 'byte')} is shorter than the {least} that {self.name} needs"
        )

    def _check(self) -> None:
        if self.size not in SIZES:
            raise bad_spec(self.name, f"size={self.size} is not one of 1, 2, 3, 4 and 8")
        if self.order not in ("big", "little"):
            raise bad_spec(self.name, f"order={self.order} is neither big nor little")
        for key, value in (("offset", self.offset), ("adjust", self.adjust), ("strip", self.strip)):
            if value < 0 and key != "adjust":
                raise bad_spec(self.name, f"{key}={value} is below 0")
            if not -_LIMIT < value < _LIMIT:
                raise bad_spec(self.name, f"{key}={value} is not a 32-bit number")
        if self.end > self.max_frame:
            raise bad_spec(
                self.name, f"its length ends at byte {self.end}, over max_frame ({self.max_frame})"
            )


class LengthPrefix(LengthField):
    """An unsigned length of ``size`` (1, 2, 4 or 8) bytes, then a message of that length."""

    def __init__(self, name: str, max_frame: int, *, size: int, order: Order = "big") -> None:
        super().__init__(name, max_frame, size=size, strip=size, order=order)
        if size not in FORMS:
            raise bad_spec(name, f"size={size} is not one of 1, 2, 4 and 8")
        self.form: Final = (">" if order == "big" else "<") + FORMS[size]
        self.length_at: Callable[..., tuple[Any, ...]] = struct.Struct(self.form).unpack_from
        self._headers: dict[int, bytes] = {}  # by the size of the message
        self._whole_frames: dict[int, WholeFrame] = {}  # by the size of the frame

    def encode(self, message: Buffer) -> bytes:
        if type(message) is not bytes:
            message = to_bytes(message)
        try:
            return self._headers[len(message)] + message
        except KeyError:
            return self._header(len(message)) + message

    def decoder(self) -> Decoder:
        return LengthPrefixDecoder(self, self._whole_frames)

    def whole_frame(self, size: int) -> WholeFrame | None:
        """A struct that reads a frame of ``size`` bytes; None if no frame has that size."""
        if not self.size <= size <= self.most:
            return None
        whole = struct.Struct(f"{self.form}{size - self.size}s").unpack_from
        if len(self._whole_frames) < _CACHE_SIZE:
            self._whole_frames[size] = whole
        return whole

    def _header(self, size: int) -> bytes:
        header = self.length_of(size + self.size)
        if len(self._headers) < _CACHE_SIZE:
            self._headers[size] = header
        return header


class LengthPrefixDecoder(MeasuredDecoder):
    """Decodes length-prefixed frames like ``MeasuredDecoder``, but faster.

    A struct for a known message size reads the length and copies the message in one call, at a
    third of the cost of slicing. So the decoder guesses the size, and the length it reads shows
    whether the guess was right. First guess: the buffer is exactly one frame, as when the peer
    waits for a reply. Second guess: all frames are as long as the first, as often in a pipeline.
    """

    __slots__ = ("_whole_frames",)

    _framing: LengthPrefix

    def __init__(self, framing: LengthPrefix, whole_frames: dict[int, WholeFrame]) -> None:
        super().__init__(framing)
        self._whole_frames = whole_frames

    def feed_from(self, buffer: memoryview, count: int) -> list[bytes]:
        if self._partial is None:
            whole = self._whole_frames.get(count) or self._framing.whole_frame(count)
            if whole is not None:
                length, message = whole(buffer)
                if length == len(message):
                    return [message]
        return self._feed_any(buffer, count)

    def _decode(self, buffer: memoryview, start: int, count: int, messages: list[bytes]) -> int:
        framing = self._framing
        header, most, length_at = framing.size, framing.most, framing.length_at
        while (body := start + header) <= count:
            length = length_at(buffer, start)[0]
            stop = body + length
            if stop - start > most:
                raise framing.refusal(length)
            if stop > count:
                self._skip, self._size = header, stop - start
                break
            messages.append(buffer[body:stop].tobytes())
            start = stop
            if stop + header + length <= count:
                start = self._decode_alike(buffer, start, count, length, messages)
        return start

    def _decode_alike(
        self, buffer: memoryview, start: int, count: int, length: int, messages: list[bytes]
    ) -> int:
        """Decode frames from ``start`` while each carries ``length`` bytes; returns their end."""
        frame = self._framing.size + length
        end = count - (count - start) % frame
        for found, message in struct.iter_unpack(
            f"{self._framing.form}{length}s", buffer[start:end]
        ):
            if found != length:
                break
            messages.append(message)
            start += frame
        return start
