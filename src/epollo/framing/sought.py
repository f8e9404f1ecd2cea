"""The base of framings whose frames are found by a search in what was received."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from epollo.errors import FrameError, FrameTruncated
from epollo.framing.base import Buffer, Continued, Decoder, Fault, Framing, fault_of
from epollo.plurals import counted


class Extent(NamedTuple):
    """The begin and end of a frame's message, and the frame's size, in bytes from its start."""

    begin: int
    end: int
    size: int


class SoughtFraming(Framing):
    """A framing whose frames have no size at a known place."""

    @abstractmethod
    def seek(self, received: bytearray, start: int, seen: int) -> Extent | None:
        """The extent of the frame at ``start``, as soon as what was received shows it; else None.

        ``seen`` of its bytes were searched before; there is at least one. Raises FrameCorrupt and
        FrameTooLarge at the first byte that shows it.
        """

    def decoder(self) -> Decoder:
        return SoughtDecoder(self)


class SoughtDecoder(Decoder):
    """Decodes such frames; holds the bytes of an incomplete frame, and searches each once."""

    __slots__ = ("_extent", "_fault", "_framing", "_received", "_seen")

    def __init__(self, framing: SoughtFraming) -> None:
        self._framing = framing
        self._received = bytearray()
        self._seen = 0  # bytes of the incomplete frame
        self._extent: Extent | None = None  # of it, if it is known
        self._fault: Fault | None = None

    @property
    def partial(self) -> bool:
        return bool(self._received) and self._fault is None

    @property
    def partial_size(self) -> int:
        return len(self._received)

    @property
    def partial_bytes(self) -> bytes:
        return bytes(self._received)

    def feed(self, data: Buffer) -> list[bytes]:
        if self._fault is not None:
            raise self._fault()
        messages: list[bytes] = Continued([], -len(self._received)) if self._received else []
        self._received += memoryview(data).cast("B")
        try:
            used = self._decode(messages)
        except FrameError as error:
            self._fault = fault_of(error)
            self._received = bytearray()
            error.messages = messages
            raise
        del self._received[:used]
        return messages

    def eof(self) -> None:
        if self.partial:
            size = len(self._received)
            raise FrameTruncated(f"the stream ended {counted(size, 'byte')} into a frame")

    def _decode(self, messages: list[bytes]) -> int:
        """Decode the whole frames; returns their end."""
        received, start = self._received, 0
        while start < len(received):
            extent = self._extent or self._framing.seek(received, start, self._seen)
            if extent is None or start + extent.size > len(received):
                self._extent, self._seen = extent, len(received) - start
                break
            messages.append(bytes(received[start + extent.begin : start + extent.end]))
            start += extent.size
            if isinstance(messages, Continued) and len(messages) == 1:
                messages.begin += extent.size
            self._extent, self._seen = None, 0
        return start
