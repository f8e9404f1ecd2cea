"""What every framing is, and what all of them need to be one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from epollo.errors import EncodeError, FrameError, FrameTooLarge, FramingSpecError

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What can be sent as a message, and fed to a decoder."""

DEFAULT_MAX_FRAME = 1 << 20
"""The largest frame, in bytes, where nothing else is said."""

MAX_LENGTH = (1 << 63) - 1  # a signed 64-bit length, the most that any peer can mean


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
    """One way to put messages on the wire; immutable, shared by any number of connections.

    ``name`` is the spec as the user wrote it, ``max_frame`` the largest frame in bytes.
    """

    def __init__(self, name: str, max_frame: int) -> None:
        self.name: Final = name
        self.max_frame: Final = max_frame

    @abstractmethod
    def encode(self, message: Buffer) -> bytes:
        """The frame that carries ``message``. Raises EncodeError where none can."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """A decoder for the start of a stream."""


Fault: TypeAlias = Callable[[], FrameError]


def fault_of(error: FrameError) -> Fault:
    """Makes errors like ``error`` anew: one kept would keep the frames of its traceback."""
    if isinstance(error, FrameTooLarge):
        return partial(FrameTooLarge, error.size, error.limit)
    return partial(type(error), str(error))


def to_bytes(data: Buffer) -> bytes:
    """``data`` as bytes; unlike ``bytes(data)``, a TypeError for an int or a list of ints."""
    return data if type(data) is bytes else memoryview(data).tobytes()


def over_max_frame(size: int, limit: int) -> EncodeError:
    """The error for a message of ``size`` bytes whose frame would be over ``limit``."""
    return EncodeError(f"message of {size} bytes makes a frame over max_frame ({limit} bytes)")


def bad_spec(name: str, why: str) -> FramingSpecError:
    """The error for the framing ``name``, which cannot be for the reason ``why``."""
    return FramingSpecError(f"bad framing {name!r}: {why}")
