"""The base class of a framing that only says how large each frame is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge, FrameTruncated
from epollo.framing.base import (
    DEFAULT_MAX_FRAME,
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

FIRST_LOOK = 64
"""Bytes of a frame that ``measure`` is given first. Then it is given twice as many, and so on."""


class Header(bytearray):
    """The first bytes of a frame, for `Sized.measure`, which must not change them.

    ``state`` is None for a new frame. What ``measure`` sets there it finds again when it is called
    with more bytes of the same frame: so it need not search them from the start each time.
    """

    __slots__ = ("state",)

    state: Any

    def __init__(self, data: Buffer = b"") -> None:
        super().__init__(data)
        self.state = None


class Sized(Framing):
    """A framing whose subclasses say how large a frame is, and nothing else.

    The message is the whole frame without its first ``strip`` bytes and without its ``trailer``.
    Encoding adds the trailer, and raises EncodeError for what is not a frame then; a class that
    strips bytes needs an ``encode`` of its own.
    """

    strip: ClassVar[int] = 0
    """The bytes at the start of a frame that are not part of the message."""

    trailer: ClassVar[bytes] = b""
    """The bytes that end every frame; not part of the message. Other bytes there are corrupt."""

    filler: ClassVar[bytes] = b""
    """Bytes that are skipped between frames. They start no frame, and no timeout."""

    def __init__(self, name: str, max_frame: int = DEFAULT_MAX_FRAME) -> None:
        super().__init__(name, max_frame)
        if type(self.strip) is not int or self.strip < 0:
            raise bad_spec(name, f"strip={self.strip!r} is not a number of bytes")
        for what, value in (("trailer", self.trailer), ("filler", self.filler)):
            if type(value) is not bytes:
                raise bad_spec(name, f"{what}={value!r} is not bytes")

    @abstractmethod
    def measure(self, header: Header) -> int | None:
        """The size of the whole frame in bytes, from its first byte; None if ``header`` has too few
        of them to tell.

        ``header`` has at least one byte. Bytes of the next frames may follow. The same bytes must
        give the same size, and more bytes the same again. Raise FrameCorrupt for what can never be
        a frame, at the first byte that shows it.
        """

    def size_of(self, header: Header) -> int:
        """What `measure` says, checked; 0 if it cannot tell yet. Raises FrameError, and TypeError
        for what is no size."""
        have = len(header)
        size = self.measure(header)
        if len(header) != have:
            raise TypeError("the framing's measure changed its header")
        if size is None:
            if have > self.max_frame:
                raise FrameTooLarge(self.max_frame + 1, self.max_frame)
            return 0
        if not isinstance(size, int):
            raise TypeError(
                f"the framing's measure returned {type(size).__name__}, not an int or None"
            )
        least = max(1, self.strip + len(self.trailer))
        if size < least:
            raise FrameCorrupt(
                f"frame of {counted(size, 'byte')} is shorter than the least of {least}"
            )
        if size > self.max_frame:
            raise FrameTooLarge(size, self.max_frame)
        return size

    def encode(self, message: Buffer) -> bytes:
        if self.strip:
            raise EncodeError(
                f"{self.name} strips {counted(self.strip, 'byte')} of each frame; give its class "
                "an encode"
            )
        frame = to_bytes(message) + self.trailer
        if len(frame) > self.max_frame:
            raise over_max_frame(len(frame) - len(self.trailer), self.max_frame)
        if frame[:1] and frame[0] in self.filler:
            raise EncodeError(f"message begins with {frame[:1]!r}, which stands between frames")
        try:
            size = self.size_of(Header(frame)) if frame else 0
        except FrameTooLarge as error:
            size = error.size
        except FrameError as error:
            raise EncodeError(f"message is not a frame of {self.name}: {error}") from None
        if not size or size != len(frame):
            what = f"a size of {size} in it" if size else "no size in it"
            raise EncodeError(
                f"message makes a frame of {counted(len(frame), 'byte')} that has {what}"
            )
        return frame

    def decoder(self) -> Decoder:
        return SizedDecoder(self)


class SizedDecoder(Decoder):
    """Decodes frames whose size ``measure`` says; holds bytes only while a frame is incomplete."""

    __slots__ = ("_fault", "_framing", "_partial", "_size")

    def __init__(self, framing: Sized) -> None:
        self._framing = framing
        self._partial: Header | None = None
        self._size = 0  # of the partial frame; 0 while it is unknown
        self._fault: Fault | None = None

    @property
    def partial(self) -> bool:
        return self._partial is not None

    @property
    def partial_size(self) -> int:
        return 0 if self._partial is None else len(self._partial)

    @property
    def partial_bytes(self) -> bytes:
        return b"" if self._partial is None else bytes(self._partial)

    def feed(self, data: Buffer) -> list[bytes]:
        view = memoryview(data).cast("B")
        return self.feed_from(view, len(view))

    def feed_from(self, buffer: memoryview, count: int) -> list[bytes]:
        if self._fault is not None:
            raise self._fault()
        before = self.partial_size
        messages: list[bytes] = Continued([], -before) if before else []
        try:
            self._decode(buffer, 0, count, messages)
        except BaseException as error:
            if isinstance(error, FrameError):
                self._fault = fault_of(error)
            self._partial = None
            error.messages = messages  # type: ignore[attr-defined]
            raise
        return messages

    def eof(self) -> None:
        if self._partial is not None:
            have = len(self._partial)
            missing = (self._size or have + 1) - have
            raise FrameTruncated(
                f"the stream ended {counted(missing, 'byte')} short of a frame's next part"
            )

    def _decode(self, buffer: memoryview, start: int, count: int, messages: list[bytes]) -> None:
        filler = self._framing.filler
        while start < count:
            if self._partial is not None:
                start = self._complete(self._partial, buffer, start, count, messages)
            elif buffer[start] in filler:
                start += 1
            else:
                start = self._begin(buffer, start, count, messages)

    def _begin(self, buffer: memoryview, start: int, count: int, messages: list[bytes]) -> int:
        """Decode the frame at ``start``, or keep it as the partial one; returns its end."""
        header, size = self._look(Header(), buffer, start, count)
        stop = start + size
        if size and stop <= count:
            messages.append(self._message(buffer, start, stop))
            return stop
        self._partial = _extended(header, buffer[start + len(header) : count])
        self._size = size
        return count

    def _complete(
        self, partial: Header, buffer: memoryview, start: int, count: int, messages: list[bytes]
    ) -> int:
        """Add bytes to the partial frame; returns the end of them."""
        if not self._size:
            before = len(partial)
            partial, self._size = self._look(partial, buffer, start, count)
            start += len(partial) - before
        missing = max(0, self._size - len(partial))
        stop = min(start + missing, count)
        partial = self._partial = _extended(partial, buffer[start:stop])
        if not self._size or len(partial) < self._size:
            return stop
        messages.append(self._message(memoryview(partial), 0, self._size))
        if isinstance(messages, Continued) and len(messages) == 1:
            messages.begin += self._size
        extra = len(partial) - self._size  # bytes of the next frames
        self._partial, self._size = None, 0
        return self._give_back(partial, extra, buffer, stop, count, messages)

    def _give_back(
        self,
        partial: Header,
        extra: int,
        buffer: memoryview,
        start: int,
        count: int,
        messages: list[bytes],
    ) -> int:
        """Decode ``extra`` bytes again; returns the start in ``buffer`` of what is still to do."""
        if extra <= start:
            return start - extra
        rest = bytes(partial[-extra:]) + bytes(buffer[start:count])
        self._decode(memoryview(rest), 0, len(rest), messages)
        return count

    def _look(
        self, header: Header, buffer: memoryview, start: int, count: int
    ) -> tuple[Header, int]:
        """Add bytes from ``start`` to the header until ``measure`` tells the size; 0 if not."""
        framing, size = self._framing, 0
        while not size and start < count:
            step = max(FIRST_LOOK, len(header))
            stop = min(count, start + step, start + framing.max_frame + 1 - len(header))
            header = _extended(header, buffer[start:stop])
            start = stop
            size = framing.size_of(header)
        return header, size

    def _message(self, buffer: memoryview, start: int, stop: int) -> bytes:
        trailer = self._framing.trailer
        end = stop - len(trailer)
        if trailer and buffer[end:stop] != trailer:
            found = buffer[end:stop].tobytes()
            raise FrameCorrupt(f"frame ends with {found!r} instead of {trailer!r}")
        return buffer[start + self._framing.strip : end].tobytes()


def _extended(header: Header, data: memoryview) -> Header:
    """``header`` with ``data`` behind it: the same object, unless a view of it still exists."""
    try:
        header += data
    except BufferError:
        longer = Header(header + data)
        longer.state = header.state
        return longer
    return header
