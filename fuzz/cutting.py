"""One stream through the decoders of both engines: the same messages and errors, feed by feed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from epollo.engine.native.decoder import Decoder as NativeDecoder
from epollo.errors import EncodeError, FrameError
from epollo.framing import Buffer
from fuzz.difference import Difference, short
from fuzz.streams import Stream, a_message, a_size, a_stream, is_raw, mutated

FEEDS_AFTER_A_FAULT = 3


LONGEST_ENCODED = 20_000  # bytes


class Encoder(Protocol):
    def encode(self, message: bytes) -> bytes: ...


class Decoder(Protocol):
    def feed(self, data: Buffer) -> list[bytes]: ...
    def eof(self) -> None: ...


class FedFrom:
    """A decoder fed as the Python engine does it: out of a buffer with other bytes behind."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self.eof = decoder.eof

    def feed(self, data: Buffer) -> list[bytes]:
        messages: list[bytes] = self._decoder.feed_from(
            memoryview(bytes(data) + b"\n,0:"), len(data)
        )
        return messages


Step = tuple[Any, ...]
"""What came of one call: the messages; or of an error all that can be seen of it."""


def step(call: Callable[..., list[bytes] | None], *arguments: Buffer) -> Step:
    try:
        return ("messages", call(*arguments))
    except FrameError as error:
        return (type(error).__name__, str(error), vars(error))


def steps(decoder: Decoder, chunks: list[Buffer]) -> list[Step]:
    """What comes of each chunk, of a few more after an error, and of the end."""
    taken: list[Step] = []
    faults = 0
    for chunk in chunks:
        taken.append(step(decoder.feed, chunk))
        faults += taken[-1][0] != "messages"
        if faults > FEEDS_AFTER_A_FAULT:
            break
    return [*taken, step(decoder.eof)]


def outcome(taken: list[Step]) -> str:
    """How a stream ended: in the name of its first error, or well."""
    return next((each[0] for each in taken if each[0] != "messages"), "well")


def agree(chance: Random) -> tuple[Stream, str]:
    """A stream that both decoders cut alike, and how it ended. Raises Difference."""
    stream = a_stream(chance)
    chunks: list[Buffer] = list(stream.chunks)
    kind = chance.choice((bytes, bytes, bytearray, memoryview))
    if kind is not bytes:
        chunks = [kind(chunk) for chunk in chunks]
    if chance.random() < 0.1:
        chunks.insert(chance.randrange(len(chunks) + 1), b"")
    ours = stream.framing.decoder()
    python = steps(ours if chance.random() < 0.5 else FedFrom(ours), chunks)
    first = NativeDecoder(stream.framing)
    native = steps(first, chunks)
    again = steps(first.another(), chunks)  # knows what the first has learned
    if native != again:
        raise Difference(_difference(stream, native, again))
    if python != native:
        raise Difference(_difference(stream, python, native))
    if not is_raw(stream.framing):
        _same_when_whole(stream)
    _same_when_encoded(chance, stream, python, first)
    return stream, outcome(python)


def _same_when_whole(stream: Stream) -> None:
    """The pieces in which a stream comes make no difference."""
    whole = _all(stream.framing.decoder(), [b"".join(stream.chunks)])
    split = _all(stream.framing.decoder(), stream.chunks)
    if whole != split:
        raise Difference(
            f"the pieces make a difference\n  stream: {stream}\n  whole: {short(whole)}\n"
            f"  split: {short(split)}"
        )


def _same_when_encoded(chance: Random, stream: Stream, taken: list[Step], native: Encoder) -> None:
    """The messages of the stream, some that are nearly those, and any other, as frames."""
    messages = [each for what, found, *_ in taken if what == "messages" for each in found or ()]
    messages = [each for each in messages if len(each) < LONGEST_ENCODED][:8]
    messages += [mutated(chance, each) for each in messages[:4]]
    messages.append(a_message(chance, a_size(chance, LONGEST_ENCODED)))
    for message in messages:
        ours, theirs = _encoded(stream.framing, message), _encoded(native, message)
        if ours != theirs:
            raise Difference(
                f"encoding differs\n  stream: {stream}\n  message: {message[:200]!r}\n"
                f"  python: {short([ours])}\n  native: {short([theirs])}"
            )


def _encoded(encoder: Encoder, message: bytes) -> tuple[bytes, str]:
    """The frame; or the text of the error."""
    try:
        return encoder.encode(message), ""
    except EncodeError as error:
        return b"", str(error)


def _all(decoder: Decoder, chunks: list[bytes]) -> Step:
    """All messages of a stream, and its error."""
    messages: list[bytes] = []
    try:
        for chunk in chunks:
            messages += decoder.feed(chunk)
        decoder.eof()
    except FrameError as error:
        return messages + error.messages, type(error).__name__, str(error)
    return messages, "", ""


def _difference(stream: Stream, python: list[Step], native: list[Step]) -> str:
    pairs = enumerate(zip(python, native, strict=False))
    at, (one, two) = next((at, pair) for at, pair in pairs if pair[0] != pair[1])
    return (
        f"the decoders differ at call {at} of {len(stream.chunks)} and the end\n"
        f"  stream: {stream}\n  python: {short(one)}\n  native: {short(two)}"
    )
