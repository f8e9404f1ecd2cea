"""The base of framings whose frames start with their size."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeAlias

from epollo.errors import FrameCorrupt, FrameError, FrameTruncated
from epollo.framing.base import Buffer, Continued, Decoder, Fault, Framing, fault_of
from epollo.plurals import counted

Measure: TypeAlias = tuple[int, int]
"""Two sizes in bytes: the part of a frame before its message, and the whole frame."""


class MeasuredFraming(Framing):
    """A framing whose header gives the size of the frame."""

    header: int = 1
    """The smallest size of a header, in bytes."""

    trailer: bytes = b""
    """The bytes that end every frame; not part of the message."""

    @abstractmethod
    def measure(self, buffer: Buffer, start: int, stop: int) -> Measure | None:
        """The measure of the frame that starts at ``start``; the bytes received end at ``stop``.

        None if they are too few; there is at least one. Raises FrameCorrupt and FrameTooLarge at
        the first byte that shows it.
        """

    def decoder(self) -> Decoder:
        return MeasuredDecoder(self)


class MeasuredDecoder(Decoder):
    """Decodes frames that start with their size; holds bytes only while a frame is incomplete."""

    __slots__ = ("_fault", "_framing", "_partial", "_size", "_skip")

    def __init__(self, framing: MeasuredFraming) -> None:
        self._framing = framing
        self._partial: bytearray | None = None
        self._skip = self._size = 0  # the measure of the partial frame; 0 while it is unknown
        self._fault: Fault | None = None

    def feed(self, data: Buffer) -> list[bytes]:
        view = memoryview(data).cast("B")
        return self.feed_from(view, len(view))

    def feed_from(self, buffer: memoryview, count: int) -> list[bytes]:
        return self._feed_any(buffer, count)

    @property
    def partial(self) -> bool:
        return self._partial is not None and self._fault is None

    @property
    def partial_size(self) -> int:
        return 0 if self._partial is None else len(self._partial)

    @property
    def partial_bytes(self) -> bytes:
        return b"" if self._partial is None else bytes(self._partial)

    def eof(self) -> None:
        if self._partial is not None and self._fault is None:
            have = len(self._partial)
            missing = (self._size or max(self._framing.header, have + 1)) - have
            raise FrameTruncated(
                f"the stream ended {counted(missing, 'byte')} short of a frame's next part"
            )

    def _feed_any(self, buffer: memoryview, count: int) -> list[bytes]:
        """Decode the rest of a partial frame, then whole frames, and keep a new partial frame."""
        if self._fault is not None:
            raise self._fault()
        messages: list[bytes] = []
        start = 0
        try:
            if self._partial is not None:
                start = self._complete(buffer, count, messages)
                if messages:
                    messages = Continued(messages, start)
            if start < count:
                start = self._decode(buffer, start, count, messages)
        except FrameError as error:
            self._fault = fault_of(error)
            self._partial = bytearray()  # so that a later feed does not start a new frame
            error.messages = messages
            raise
        if start < count:
            self._partial = bytearray(buffer[start:count])
        return messages

    def _decode(self, buffer: memoryview, start: int, count: int, messages: list[bytes]) -> int:
        """Decode the whole frames; returns their end."""
        measure = self._framing.measure
        while start < count and (measured := measure(buffer, start, count)):
            skip, size = measured
            if start + size > count:
                self._skip, self._size = measured
                break
            messages.append(self._message(buffer, start + skip, start + size))
            start += size
        return start

    def _complete(self, buffer: memoryview, count: int, messages: list[bytes]) -> int:
        """Add bytes to the partial frame; returns how many."""
        partial = self._partial
        assert partial is not None
        used = 0
        while not self._size:
            if used == count:
                return count
            # Never past the header: the bytes after it may belong to the next frame.
            stop = min(used + max(1, self._framing.header - len(partial)), count)
            partial += buffer[used:stop]
            used = stop
            self._skip, self._size = self._framing.measure(partial, 0, len(partial)) or (0, 0)
        stop = min(used + self._size - len(partial), count)
        partial += buffer[used:stop]
        if len(partial) == self._size:
            messages.append(self._message(memoryview(partial), self._skip, self._size))
            self._partial = None
            self._size = 0
        return stop

    def _message(self, buffer: memoryview, start: int, stop: int) -> bytes:
        trailer = self._framing.trailer
        end = stop - len(trailer)
        if end < stop and buffer[end:stop] != trailer:
            found = buffer[end:stop].tobytes()
            raise FrameCorrupt(f"frame ends with {found!r} instead of {trailer!r}")
        return buffer[start:end].tobytes()


def over_max_length(length: int) -> FrameCorrupt:
    """The error for a ``length`` that no signed 64-bit number holds."""
    return FrameCorrupt(f"frame length {length} is over 2^63-1")
