"""Another framing for a stream from some message on: where its first byte is.

A decoder cuts all messages of a read at once. If the framing changes at one
of them, the bytes behind that message have to be found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epollo.errors import FrameError, PhaseError
from epollo.framing.base import Continued, Framing
from epollo.framing.own import CheckedFraming, checked
from epollo.framing.raw import Raw
from epollo.framing.spec import parse

PIECE = 4 << 10  # bytes that are cut at a time: the framing may change again in the first of them


def framing_of(given: Any, max_frame: int) -> Framing:
    """The framing that ``given`` is: a spec, a Framing, or a class of one. Raises
    FramingSpecError."""
    return given if isinstance(given, CheckedFraming) else checked(parse(given, max_frame))


def piece_size(framing: Framing, left: int) -> int:
    """How many of the ``left`` bytes to cut at once. All if a message may be what one read gave."""
    return left if isinstance(framing, Raw | CheckedFraming) else min(left, PIECE)


def bytes_of(
    framing: Framing, data: bytes | memoryview, messages: Sequence[bytes], delivered: int
) -> int:
    """How many bytes of ``data``, which held ``messages``, the first ``delivered`` of them took.
    Raises PhaseError if that cannot be told."""
    begin = 0
    expected = list(messages[:delivered])
    if isinstance(messages, Continued):
        begin = messages.begin
        del expected[:1]
        if begin < 0:
            raise unknown(framing)
    return begin + _size_of(framing, memoryview(data)[begin:], expected)


def rest_of(framing: Framing, partial: bytes | None) -> bytes:
    """The bytes of an incomplete frame. Raises PhaseError if they are not known."""
    if partial is None:
        raise unknown(framing)
    return partial


def _size_of(framing: Framing, data: memoryview, messages: list[bytes]) -> int:
    """The size of the frames of ``messages``, with which ``data`` begins: the fewest bytes that are
    decoded to them."""
    if not messages:
        return 0
    few, many = 0, 2 * sum(map(len, messages)) + 16 * len(messages)
    while many < len(data) and not _decodes(framing, data[:many], messages):
        few, many = many, 2 * many
    many = min(many, len(data))
    while many - few > 1:
        middle = (few + many) // 2
        if _decodes(framing, data[:middle], messages):
            many = middle
        else:
            few = middle
    return many


def _decodes(framing: Framing, data: memoryview, messages: list[bytes]) -> bool:
    return decoded(framing, data)[: len(messages)] == messages


def decoded(framing: Framing, data: memoryview) -> list[bytes]:
    """The messages at the begin of ``data``."""
    try:
        return framing.decoder().feed_from(data, len(data))
    except FrameError as error:
        return error.messages


def unknown(framing: Framing) -> PhaseError:
    """The error for a decoder that does not tell which bytes it has used."""
    return PhaseError(
        f"framing: {framing.name!r} does not tell where the next byte is; its decoder has to have "
        "`partial`, and the change to come at the end of a read"
    )
