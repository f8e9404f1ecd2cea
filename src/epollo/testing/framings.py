"""A check of a framing: the same messages however the bytes come, on both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple, Protocol

from epollo.engine import available
from epollo.errors import EncodeError, FrameError, FrameTooLarge
from epollo.framing import AnyFraming, Buffer, Framing, Raw, Sized, parse
from epollo.framing.own import checked
from epollo.plurals import counted

_WHOLE_STREAM = 4096  # bytes of a stream that is split at every place
_EDGE = 256  # bytes at each end of a longer one, which is split there only
_CHANGED = 32  # bytes of each frame that are changed
_RANDOM = 100  # streams of random bytes


class Outcome(NamedTuple):
    """The messages of a stream, and the type of the error that ended it, if any."""

    messages: list[bytes]
    error: type[FrameError] | None = None


class StreamDecoder(Protocol):
    """What the decoders of both engines have in common."""

    def feed(self, data: Buffer, /) -> list[bytes]: ...
    def eof(self) -> None: ...


Make = Callable[[], StreamDecoder]
Chunks = Sequence[bytes]


def check_framing(framing: AnyFraming, frames: Sequence[bytes], messages: Sequence[bytes]) -> None:
    """Check that ``framing`` finds ``messages`` in ``frames``, one in each, on both engines.

    The bytes come whole, one by one, and split at every place; incomplete, changed and random;
    and the messages are encoded and decoded again. Raises AssertionError that says what differs,
    and what the framing raises other than a FrameError.
    """
    framing = parse(framing)
    if not frames or len(frames) != len(messages):
        raise AssertionError(
            f"{counted(len(frames), 'frame')}, {counted(len(messages), 'message')}"
        )
    makers = _makers(framing)
    for name, make in makers.items():
        _check_splits(f"{framing.name}, {name} engine", make, frames, list(messages))
    for stream in _hostile(frames):
        _check_hostile(framing.name, makers, stream)
    _check_limit(framing, frames)
    _check_encoding(framing, makers, messages)


def _makers(framing: Framing) -> dict[str, Make]:
    """The makers of a decoder, by engine."""
    inspected = checked(framing)
    makers: dict[str, Make] = {"python": inspected.decoder}
    if "native" in available():
        from epollo.engine.native.decoder import Decoder as NativeDecoder

        makers["native"] = NativeDecoder(inspected).another
    return makers


def _check_splits(where: str, make: Make, frames: Sequence[bytes], messages: list[bytes]) -> None:
    for frame, message in zip(frames, messages, strict=True):
        _expect(where, make, [frame], Outcome([message]))
    stream = b"".join(frames)
    _expect(where, make, [stream * 3], Outcome(messages * 3))
    for chunks in _chunkings(stream):
        _expect(where, make, chunks, Outcome(messages))


def _expect(where: str, make: Make, chunks: Chunks, expected: Outcome) -> None:
    found = _outcome(make(), chunks)
    if found != expected:
        raise AssertionError(
            f"{where}: {_text(chunks)} gives {_shown(found)} instead of {_shown(expected)}"
        )


def _outcome(decoder: StreamDecoder, chunks: Chunks) -> Outcome:
    messages: list[bytes] = []
    try:
        for chunk in chunks:
            messages += decoder.feed(chunk)
        decoder.eof()
    except FrameError as error:
        return Outcome(messages + error.messages, type(error))
    return Outcome(messages)


def _chunkings(stream: bytes) -> Iterator[Chunks]:
    """``stream`` byte by byte, and split at every place, or at many."""
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(len(stream) + 1):
        if len(stream) <= _WHOLE_STREAM or not _EDGE < at < len(stream) - _EDGE:
            yield [stream[:at], stream[at:]]


def _hostile(frames: Sequence[bytes]) -> Iterator[bytes]:
    """Streams that are no frames, or begin with some."""
    chance = Random(0)  # noqa: S311 (the same streams each time)
    for frame in dict.fromkeys(frames):
        sizes = range(1, min(len(frame), _EDGE))
        yield from (frame[:size] for size in sizes)
        for at in range(min(len(frame), _CHANGED)):
            for byte in {chance.choice((0, 0xFF)), frame[at] ^ 0x80, (frame[at] + 1) % 256}:
                yield frame[:at] + bytes([byte]) + frame[at + 1 :] + frame[:_EDGE]
    for _ in range(_RANDOM):
        yield frames[0] + chance.randbytes(chance.randrange(1, 80))
        yield chance.randbytes(chance.randrange(1, 80))


def _check_hostile(name: str, makers: dict[str, Make], stream: bytes) -> None:
    """However ``stream`` comes, and on each engine, the same must come of it."""
    bytewise = [stream[at : at + 1] for at in range(len(stream))]
    halves = [stream[: len(stream) // 2], stream[len(stream) // 2 :]]
    first = None
    for engine, make in makers.items():
        for chunks in ([stream], bytewise, halves):
            found = _outcome(make(), chunks)
            first = first or found
            if found != first:
                raise AssertionError(
                    f"{name}, {engine} engine: {_text(chunks)} gives {_shown(found)}, but "
                    f"whole, {next(iter(makers))} engine, {_shown(first)}"
                )


def _check_limit(framing: Framing, frames: Sequence[bytes]) -> None:
    """A frame over ``max_frame`` must be refused. Only of a `Sized`: others may not count all."""
    longest = max(frames, key=len)
    if not isinstance(framing, Sized) or len(longest) < 2:
        return
    for limit, error in ((len(longest), None), (len(longest) - 1, FrameTooLarge)):
        for engine, make in _makers(type(framing)(framing.name, max_frame=limit)).items():
            if _outcome(make(), [longest]).error is not error:
                raise AssertionError(
                    f"{framing.name}, {engine} engine: a frame of {counted(len(longest), 'byte')} "
                    f"is {'refused' if error is None else 'taken'} with max_frame={limit}"
                )


def _check_encoding(framing: Framing, makers: dict[str, Make], messages: Sequence[bytes]) -> None:
    """Each message must come back out of the frame that carries it."""
    if isinstance(framing, Raw):
        return
    if isinstance(framing, Sized) and framing.strip and type(framing).encode is Sized.encode:
        return  # it cannot send
    for message in messages:
        try:
            frame = framing.encode(message)
        except EncodeError as error:
            raise AssertionError(f"{framing.name}: {_text([message])}: {error}") from error
        for engine, make in makers.items():
            _expect(f"{framing.name}, {engine} engine", make, [frame], Outcome([message]))


def _shown(outcome: Outcome) -> str:
    error = f" and {outcome.error.__name__}" if outcome.error else ""
    return f"{counted(len(outcome.messages), 'message')}{error}: {_text(outcome.messages)}"


def _text(parts: Sequence[bytes]) -> str:
    text = " + ".join(repr(part) for part in parts[:40])
    return text if len(text) <= 300 else f"{text[:300]}..."
