"""A user's own framing, held to the contract: what it returns is checked, the same everywhere."""

from __future__ import annotations

from typing import Any

from epollo.errors import FrameError
from epollo.framing.base import Buffer, Continued, Decoder, Framing, to_bytes
from epollo.framing.sized import Sized

OURS = __name__.rpartition(".")[0] + "."  # the modules whose framings need no check


def checked(framing: Framing) -> Framing:
    """``framing``, whose results are checked unless they come from a class of this package."""
    kind = type(framing)
    if kind.__module__.startswith(OURS):
        return framing
    if isinstance(framing, Sized) and kind.decoder is Sized.decoder:
        return framing if kind.encode is Sized.encode else CheckedSized(framing)
    return CheckedFraming(framing)


class CheckedFraming(Framing):
    """Gives what ``own`` returns, as the types of the contract. Raises TypeError if it cannot."""

    def __init__(self, own: Framing) -> None:
        super().__init__(own.name, own.max_frame)
        self._own = own

    def encode(self, message: Buffer) -> bytes:
        return _as_bytes(self._own.encode(message), "encode returned")

    def decoder(self) -> Decoder:
        return CheckedDecoder(self._own)


class CheckedSized(CheckedFraming):
    """Gives the frames of ``own``, a `Sized` with an ``encode`` of its own, as bytes."""

    def __init__(self, own: Sized) -> None:
        super().__init__(own)
        self.sized: Sized = own

    def decoder(self) -> Decoder:
        return self.sized.decoder()


class CheckedDecoder(Decoder):
    """Gives what the decoder of ``own`` returns, as a list of bytes. Raises TypeError if it cannot;
    and what the decoder raises. The decoder is made for the first bytes, or for the end."""

    __slots__ = ("_decoder", "_ended", "_own", "_partial", "_size")

    def __init__(self, own: Framing) -> None:
        self._own = own
        self._decoder: Decoder | None = None
        self._ended = False
        self._partial = False
        self._size = 0  # bytes since the last read that left none

    @property
    def partial(self) -> bool:
        return self._partial

    @property
    def partial_size(self) -> int:
        return self._size

    @property
    def partial_bytes(self) -> bytes | None:
        return None if self._partial else b""

    def feed(self, data: Buffer) -> list[bytes]:
        view = memoryview(data).cast("B")
        return self.feed_from(view, len(view))

    def feed_from(self, buffer: memoryview, count: int) -> list[bytes]:
        decoder = self._started()
        try:
            messages = self._messages(decoder.feed_from(buffer, count))
        except FrameError as error:
            error.messages = self._messages(getattr(error, "messages", []))
            raise
        told = decoder.partial
        self._partial = told if isinstance(told, bool) else not messages
        self._size = (0 if messages else self._size) + count if self._partial else 0
        return messages

    def eof(self) -> None:
        """The stream has ended; the decoder is told of it once."""
        if not self._ended:
            self._ended = True
            self._started().eof()

    def _messages(self, returned: Any) -> list[bytes]:
        messages = _as_messages(returned)
        return Continued(messages, -1) if self._partial and messages else messages

    def _started(self) -> Decoder:
        if self._decoder is None:
            decoder = self._own.decoder()
            if not isinstance(decoder, Decoder):
                raise TypeError(f"the framing's decoder returned {_kind(decoder)}, not a Decoder")
            self._decoder = decoder
        return self._decoder


def _as_messages(returned: Any) -> list[bytes]:
    if not isinstance(returned, list | tuple):
        raise TypeError(f"the decoder's feed returned {_kind(returned)}, not a list of bytes")
    return [_as_bytes(message, "decoder's feed returned a message that is") for message in returned]


def _as_bytes(returned: Any, what: str) -> bytes:
    if not isinstance(returned, bytes | bytearray | memoryview):
        raise TypeError(f"the framing's {what} {_kind(returned)}, not bytes")
    return to_bytes(returned)


def _kind(value: object) -> str:
    return type(value).__name__
