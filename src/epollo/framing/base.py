"""The base classes of framings and decoders, and helpers for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from epollo.errors import EncodeError, FrameError, FrameTooLarge, FramingSpecError
from epollo.plurals import counted

Buffer: TypeAlias = bytes | bytearray | memoryview
"""The types of a message to send, and of bytes to decode."""

DEFAULT_MAX_FRAME = 1 << 20
"""The default for the largest frame, in bytes."""

MAX_LENGTH = (1 << 63) - 1  # of a signed 64-bit number


class Decoder(ABC):
    """Decodes one stream into messages. Made by ``Framing.decoder``."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def partial(self) -> object:
            """Has a frame begun that is not complete? ``frame_timeout`` limits its time. Anything
            but a bool: not known; then bytes that complete no message have begun one."""

        @property
        def partial_size(self) -> int:
            """Bytes of it that are in memory; 0 if not known."""

        @property
        def partial_bytes(self) -> bytes | None:
            """The bytes of it, as they came; None if they are not known."""

    else:
        partial_size = 0
        partial_bytes = None
        partial = None  # not a property: a subclass may have an attribute of this name

    @abstractmethod
    def feed(self, data: Buffer) -> list[bytes]:
        """The messages that ``data``, the next bytes of the stream, completes.

        Raises FrameTooLarge or FrameCorrupt; later calls raise it again.
        """

    def feed_from(self, buffer: memoryview, count: int) -> list[bytes]:
        """As ``feed``, with the first ``count`` bytes of ``buffer``. Keeps no reference to it."""
        return self.feed(buffer[:count].tobytes())

    @abstractmethod
    def eof(self) -> None:
        """The stream has ended. Raises FrameTruncated if that is inside a frame. Called at most
        once, as the last call."""


class Continued(list[bytes]):
    """Messages of one ``feed`` of which the first began in an earlier one: its frame ended with the
    first ``begin`` bytes of this feed. -1 if that is not known."""

    __slots__ = ("begin",)

    def __init__(self, messages: list[bytes], begin: int) -> None:
        super().__init__(messages)
        self.begin: int = begin


class Framing(ABC):
    """One way to frame messages; immutable, shared by any number of connections.

    ``name`` is the spec as the user wrote it, ``max_frame`` the largest frame in bytes.
    """

    def __init__(self, name: str, max_frame: int) -> None:
        self.name: Final = name
        self.max_frame: Final = max_frame

    @abstractmethod
    def encode(self, message: Buffer) -> bytes:
        """The frame that carries ``message``. Raises EncodeError if no frame can."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """A decoder for the start of a stream."""


AnyFraming: TypeAlias = str | Framing | type[Framing]
"""A spec such as ``"u32"``; a framing; or a class, of which one is made by (name, max_frame)."""

Fault: TypeAlias = Callable[[], FrameError]


def fault_of(error: FrameError) -> Fault:
    """Makes a new error like ``error`` at each call: keeping ``error`` would keep its traceback."""
    if isinstance(error, FrameTooLarge):
        return partial(FrameTooLarge, error.size, error.limit)
    return partial(type(error), str(error))


def to_bytes(data: Buffer) -> bytes:
    """``data`` as bytes; unlike ``bytes(data)``, a TypeError for an int or a list of ints."""
    if type(data) is bytes:
        return data
    try:
        return memoryview(data).tobytes()
    except TypeError:
        hint = "; encode the text" if isinstance(data, str) else ""
        raise TypeError(f"bytes are needed, not {type(data).__name__}{hint}") from None


def over_max_frame(size: int, limit: int) -> EncodeError:
    """The error for a message of ``size`` bytes whose frame would be over ``limit``."""
    return EncodeError(
        f"message of {counted(size, 'byte')} makes a frame over max_frame "
        f"({counted(limit, 'byte')})"
    )


def bad_spec(name: str, why: str) -> FramingSpecError:
    """The error for the framing ``name``, which is invalid for the reason ``why``."""
    return FramingSpecError(f"bad framing {name!r}: {why}")
