"""What a message is on the wire, sans-I/O: bytes in, messages out, and back.

    framing = epollo.framing.parse("u32")
    framing.encode(b"hello")                            # b"\\x00\\x00\\x00\\x05hello"
    framing.decoder().feed(b"\\x00\\x00\\x00\\x05hello")     # [b"hello"]

The rules for all of them:

- Bytes may come split anywhere; the messages, and the byte at which an error is raised, are
  the same.
- ``max_frame`` bounds a whole frame on the wire, inclusive, and is checked as soon as the header
  is there: no body is waited for, and none allocated.
- Messages complete before a bad frame are delivered first (``FrameError.messages``); after an
  error the decoder stays failed.
- The end of the stream inside a frame is ``FrameTruncated``, never silence.
- An empty message is a message.
- Encoding what the framing cannot hold raises ``EncodeError`` before a byte is sent.
- Time is linear in the bytes, however small the pieces.
"""

from __future__ import annotations

import difflib
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from epollo.errors import (
    EncodeError,
    FrameCorrupt,
    FrameError,
    FrameTooLarge,
    FrameTruncated,
    FramingSpecError,
)

Buffer: TypeAlias = bytes | bytearray | memoryview

DEFAULT_MAX_FRAME = 1 << 20


class Decoder(ABC):
    """Cuts the messages out of one stream. Made by ``Framing.decoder``."""

    __slots__ = ()

    @abstractmethod
    def feed(self, data: Buffer) -> list[bytes]:
        """The messages that ``data``, the next bytes of the stream, completes.

        Raises FrameTooLarge or FrameCorrupt, now and at every later call.
        """

    def feed_from(self, buffer: memoryview, count: int) -> list[bytes]:
        """As ``feed``, for the first ``count`` bytes of ``buffer``, which is not kept."""
        return self.feed(buffer[:count].tobytes())

    @abstractmethod
    def eof(self) -> None:
        """The stream has ended. Raises FrameTruncated where that cuts a frame."""


class Framing(ABC):
    """One way to put messages on the wire; immutable, shared by any number of connections."""

    name: str
    max_frame: int

    @abstractmethod
    def encode(self, message: Buffer) -> bytes:
        """The frame that carries ``message``. Raises EncodeError where none can."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """A decoder for the start of a stream."""


def parse(spec: str, max_frame: int = DEFAULT_MAX_FRAME) -> Framing:
    """The framing that ``spec`` names. Raises FramingSpecError with the names there are."""
    try:
        factory = _FRAMINGS[spec]
    except KeyError:
        near = difflib.get_close_matches(spec, _FRAMINGS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        names = ", ".join(_FRAMINGS)
        raise FramingSpecError(f"unknown framing {spec!r}: {hint}known are {names}") from None
    return factory(max_frame)


class LengthPrefix(Framing):
    """An unsigned length, in ``form`` of the struct module, and so many bytes of message."""

    def __init__(self, name: str, form: str, max_frame: int) -> None:
        self.name = name
        self.max_frame = max_frame
        self.form = form
        self.size = struct.calcsize(form)  # of the length itself
        self.length_at = struct.Struct(form).unpack_from
        self._max_message = min((1 << 8 * self.size) - 1, max_frame - self.size)
        self._headers: dict[int, bytes] = {}  # by the size of the message
        self._whole_frames: dict[int, WholeFrame] = {}  # by the size of the frame

    def encode(self, message: Buffer) -> bytes:
        if type(message) is not bytes:
            message = _to_bytes(message)
        try:
            return self._headers[len(message)] + message
        except KeyError:
            return self._header(len(message)) + message

    def decoder(self) -> Decoder:
        return LengthPrefixDecoder(self, self._whole_frames)

    def whole_frame(self, size: int) -> WholeFrame | None:
        """A struct that reads a frame of ``size`` bytes, where such a frame can be."""
        if not self.size <= size <= self.max_frame:
            return None
        whole = struct.Struct(f"{self.form}{size - self.size}s").unpack_from
        if len(self._whole_frames) < _KEPT:
            self._whole_frames[size] = whole
        return whole

    def _header(self, size: int) -> bytes:
        if size > self._max_message:
            raise self._cannot_hold(size)
        header = struct.pack(self.form, size)
        if len(self._headers) < _KEPT:
            self._headers[size] = header
        return header

    def _cannot_hold(self, size: int) -> EncodeError:
        if size + self.size > self.max_frame:
            return _over_max_frame(size, self.max_frame)
        return EncodeError(f"message of {size} bytes is longer than a {self.name} length can say")


class LengthPrefixDecoder(Decoder):
    """Cuts length-prefixed frames; holds bytes only while a frame is incomplete.

    A struct that knows the size of a message reads its length and makes its bytes in one call, at
    a third of the cost of slicing. So a size is guessed, and the length read tells if it was
    right: that all the bytes at hand are one frame, as they are when a peer waits for its reply;
    then, that the frames at hand are as long as the first, as they are in many a pipeline.
    """

    __slots__ = ("_fault", "_framing", "_partial", "_size", "_whole", "_whole_frames")

    def __init__(self, framing: LengthPrefix, whole_frames: dict[int, WholeFrame]) -> None:
        self._framing = framing
        self._size = framing.size
        self._whole_frames = whole_frames
        self._partial: bytearray | None = None
        self._whole = 0  # bytes of the partial frame once complete; 0 while its header is not
        self._fault: Fault | None = None

    def feed(self, data: Buffer) -> list[bytes]:
        view = memoryview(data).cast("B")
        return self.feed_from(view, len(view))

    def feed_from(self, buffer: memoryview, count: int) -> list[bytes]:
        if self._partial is None:
            whole = self._whole_frames.get(count) or self._framing.whole_frame(count)
            if whole is not None:
                length, message = whole(buffer)
                if length == count - self._size:
                    return [message]
        return self._cut(buffer, count)

    def eof(self) -> None:
        if self._partial is not None and self._fault is None:
            missing = (self._whole or self._size) - len(self._partial)
            raise FrameTruncated(f"the stream ended {missing} bytes short of a frame's next part")

    def _cut(self, buffer: memoryview, count: int) -> list[bytes]:
        """The general case: a rest of the last feed, many frames, a rest for the next."""
        messages: list[bytes] = []
        start = 0
        if self._partial is not None:
            start = self._complete(buffer, count, messages)
        size, max_frame, length_at = self._size, self._framing.max_frame, self._framing.length_at
        while (body := start + size) <= count:
            length = length_at(buffer, start)[0]
            stop = body + length
            if stop - start > max_frame:
                raise self._fail(stop - start, messages)
            if stop > count:
                self._whole = stop - start
                break
            messages.append(buffer[body:stop].tobytes())
            start = stop
            if stop + size + length <= count:
                start = self._cut_alike(buffer, start, count, length, messages)
        if start < count:
            self._partial = bytearray(buffer[start:count])
        return messages

    def _cut_alike(
        self, buffer: memoryview, start: int, count: int, length: int, messages: list[bytes]
    ) -> int:
        """Cut frames from ``start`` on while each carries ``length`` bytes; returns their end."""
        frame = self._size + length
        end = count - (count - start) % frame
        for found, message in struct.iter_unpack(
            f"{self._framing.form}{length}s", buffer[start:end]
        ):
            if found != length:
                break
            messages.append(message)
            start += frame
        return start

    def _complete(self, buffer: memoryview, count: int, messages: list[bytes]) -> int:
        """Add what is here of the partial frame to it; returns how many bytes that was."""
        partial = self._partial
        if self._fault is not None or partial is None:
            raise self._fault() if self._fault else AssertionError("no partial frame")
        used = 0
        if not self._whole:
            used = min(self._size - len(partial), count)
            partial += buffer[:used]
            if len(partial) < self._size:
                return count
            self._whole = self._size + self._framing.length_at(partial)[0]
            if self._whole > self._framing.max_frame:
                raise self._fail(self._whole, messages)
        stop = min(used + self._whole - len(partial), count)
        partial += buffer[used:stop]
        if len(partial) < self._whole:
            return count
        messages.append(memoryview(partial)[self._size :].tobytes())
        self._partial = None
        self._whole = 0
        return stop

    def _fail(self, frame: int, messages: list[bytes]) -> FrameError:
        if frame - self._size > _MAX_LENGTH:
            self._fault = partial(FrameCorrupt, f"frame length {frame - self._size} is over 2^63-1")
        else:
            self._fault = partial(FrameTooLarge, frame, self._framing.max_frame)
        self._partial = bytearray()  # so that every later feed comes by the fault
        return _with_messages(self._fault, messages)


class Line(Framing):
    """Lines ended by LF; a CR before the LF is dropped, a CR elsewhere belongs to the line.

    The line's end is not part of the message and not counted in ``max_frame``.
    """

    def __init__(self, name: str, max_frame: int) -> None:
        self.name = name
        self.max_frame = max_frame

    def encode(self, message: Buffer) -> bytes:
        message = _to_bytes(message)
        if b"\n" in message:
            raise EncodeError("a message with LF in it cannot be sent as one line")
        if message.endswith(b"\r"):
            raise EncodeError("a message that ends in CR would lose it as a line")
        if len(message) > self.max_frame:
            raise _over_max_frame(len(message), self.max_frame)
        return message + b"\n"

    def decoder(self) -> Decoder:
        return LineDecoder(self.max_frame)


class LineDecoder(Decoder):
    """Cuts lines; holds bytes only while a line is incomplete."""

    __slots__ = ("_fault", "_max_frame", "_partial")

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._partial = bytearray()
        self._fault: Fault | None = None

    def feed(self, data: Buffer) -> list[bytes]:
        if self._fault is not None:
            raise self._fault()
        lines = _to_bytes(data).split(b"\n")
        rest = lines.pop()
        messages: list[bytes] = []
        for line in lines:
            if self._partial:
                line = bytes(self._partial + line)
                self._partial = bytearray()
            line = line.removesuffix(b"\r")
            if len(line) > self._max_frame:
                raise self._fail(messages)
            messages.append(line)
        self._partial += rest
        if len(self._partial) - self._partial.endswith(b"\r") > self._max_frame:
            raise self._fail(messages)
        return messages

    def eof(self) -> None:
        if self._partial and self._fault is None:
            raise FrameTruncated(f"the stream ended {len(self._partial)} bytes into a line")

    def _fail(self, messages: list[bytes]) -> FrameError:
        self._partial = bytearray()
        # How long the line would have been is unknown: the stream was not read to its end.
        self._fault = partial(FrameTooLarge, self._max_frame + 1, self._max_frame)
        return _with_messages(self._fault, messages)


class Raw(Framing):
    """No framing: a message is whatever one read brought. For echo and for proxies."""

    def __init__(self, name: str, max_frame: int) -> None:
        self.name = name
        self.max_frame = max_frame

    def encode(self, message: Buffer) -> bytes:
        return _to_bytes(message)

    def decoder(self) -> Decoder:
        return RawDecoder()


class RawDecoder(Decoder):
    """Passes on what it is fed."""

    __slots__ = ()

    def feed(self, data: Buffer) -> list[bytes]:
        return [_to_bytes(data)] if data else []

    def eof(self) -> None:
        """A raw stream may end anywhere."""


Fault: TypeAlias = Callable[[], FrameError]
WholeFrame: TypeAlias = Callable[[memoryview], tuple[int, bytes]]

_MAX_LENGTH = (1 << 63) - 1
_KEPT = 1024  # structs, and headers, kept for sizes met before

_FRAMINGS: dict[str, Callable[[int], Framing]] = {
    "u8": partial(LengthPrefix, "u8", ">B"),
    "u16": partial(LengthPrefix, "u16", ">H"),
    "u32": partial(LengthPrefix, "u32", ">I"),
    "u64": partial(LengthPrefix, "u64", ">Q"),
    "u16le": partial(LengthPrefix, "u16le", "<H"),
    "u32le": partial(LengthPrefix, "u32le", "<I"),
    "u64le": partial(LengthPrefix, "u64le", "<Q"),
    "line": partial(Line, "line"),
    "raw": partial(Raw, "raw"),
}


def _to_bytes(data: Buffer) -> bytes:
    """``data`` as bytes; unlike ``bytes(data)``, a TypeError for an int or a list of ints."""
    return data if type(data) is bytes else memoryview(data).tobytes()


def _over_max_frame(size: int, limit: int) -> EncodeError:
    return EncodeError(f"message of {size} bytes makes a frame over max_frame ({limit} bytes)")


def _with_messages(fault: Fault, messages: list[bytes]) -> FrameError:
    error = fault()
    error.messages = messages
    return error
