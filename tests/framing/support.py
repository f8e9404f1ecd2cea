"""Feeds a stream, split in every way, to the decoders of both engines, and compares the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import pytest

from epollo.errors import EncodeError, FrameError, FrameTruncated
from epollo.framing import Announced, Buffer, Framing, Headers, LengthField
from tests.engines import NATIVE_MODULES

HELLO = b"HELLO, WORLD"


class Outcome(NamedTuple):
    """The result of decoding a stream: its messages, and its error with the text."""

    messages: list[bytes]
    error: type[FrameError] | None = None
    text: str = ""


class Cutter(Protocol):
    """The interface of both engines' decoders."""

    def feed(self, data: Buffer) -> list[bytes]: ...
    def eof(self) -> None: ...


def decoders(framing: Framing) -> list[Cutter]:
    """One decoder of each engine."""
    found: list[Cutter] = [framing.decoder()]
    if NATIVE_MODULES:
        from epollo.engine.native.decoder import Decoder

        found.append(Decoder(framing))
    return found


def outcome(framing: Framing, chunks: Iterable[bytes]) -> Outcome:
    """The outcome of a stream in ``chunks``, ended or failed; checks that all decoders agree."""
    chunks = list(chunks)
    first, *others = (outcome_of(decoder, chunks) for decoder in decoders(framing))
    for other in others:
        assert other == first, chunks
    return first


def outcome_of(decoder: Cutter, chunks: Iterable[bytes]) -> Outcome:
    """The outcome of decoding the stream with ``decoder``."""
    messages: list[bytes] = []
    try:
        for chunk in chunks:
            messages += decoder.feed(chunk)
        decoder.eof()
    except FrameError as error:
        return Outcome(messages + error.messages, type(error), str(error))
    return Outcome(messages)


def pieces(stream: bytes, step: int) -> list[bytes]:
    """``stream`` in pieces of ``step`` bytes."""
    return [stream[start : start + step] for start in range(0, len(stream), step)]


def chunkings(stream: bytes) -> Iterator[list[bytes]]:
    """``stream`` whole, byte by byte, and split at every point."""
    yield [stream]
    yield pieces(stream, 1)
    for split in range(len(stream) + 1):
        yield [stream[:split], stream[split:]]


def cut(framing: Framing, stream: bytes, step: int | None = None) -> list[bytes]:
    """The messages in ``stream``, fed ``step`` bytes at a time (None: whole)."""
    messages, error, text = outcome(framing, pieces(stream, step or max(1, len(stream))))
    assert error is None, text
    return messages


def assert_cuts(framing: Framing, stream: bytes, messages: list[bytes]) -> None:
    """Checks that the messages are the same for every split, also with more bytes after them."""
    for chunks in chunkings(stream):
        assert outcome(framing, chunks) == Outcome(messages), chunks
    for decoder in decoders(framing):
        assert decoder.feed(stream + stream[:1])[: len(messages)] == messages
    for kind in (bytearray, memoryview):
        for decoder in decoders(framing):
            assert decoder.feed(kind(stream)) == messages
    buffer = memoryview(stream + b"left from the last read")
    assert framing.decoder().feed_from(buffer, len(stream)) == messages


def assert_fails(
    framing: Framing, bad: bytes, error: FrameError, before: bytes = b"", rest: bytes = b"1,\r\n\0"
) -> None:
    """``bad`` fails at its last byte, with any bytes ``before`` and after it, for every split."""
    messages = cut(framing, before)
    expected = Outcome(messages, type(error), str(error))
    for decoder in decoders(framing):
        assert decoder.feed(before + bad[:-1]) == messages, "not before its last byte"
    for stream in (before + bad, before + bad + rest):
        for chunks in chunkings(stream):
            assert outcome(framing, chunks) == expected, chunks
    assert outcome(framing, [bad]) == expected._replace(messages=[])
    for decoder in decoders(framing):
        _assert_stays_failed(decoder, bad, error)


def _assert_stays_failed(decoder: Cutter, bad: bytes, error: FrameError) -> None:
    for chunk in (bad, bad, b"1", b""):
        with pytest.raises(type(error)) as caught:
            decoder.feed(chunk)
        assert str(caught.value) == str(error)
        assert caught.value.messages == []
        assert vars(caught.value) == vars(error)
    decoder.eof()


def assert_truncated(framing: Framing, stream: bytes, text: str) -> None:
    """Checks that an end after ``stream`` is an error with this text, for every split."""
    for chunks in chunkings(stream):
        assert outcome(framing, chunks) == Outcome([], FrameTruncated, text), chunks


def whole(framing: Framing, message: bytes) -> bytes:
    """``message``, which ``framing`` can send: with a length in it, if that has to be there."""
    if isinstance(framing, Announced | Headers) and framing.in_place:
        return framing.with_length(message)
    return message


def sendable(framing: Framing, messages: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """For each message that can be sent: its frame, and the message to be received."""
    sent = []
    for message in messages:
        try:
            frame = framing.encode(whole(framing, message))
        except EncodeError:
            continue
        if isinstance(framing, Announced | Headers) and framing.in_place:
            message = frame
        if isinstance(framing, LengthField) and framing.in_place:
            message = frame[framing.strip :]
        sent.append((frame, message))
    return sent
