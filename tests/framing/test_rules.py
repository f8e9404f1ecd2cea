"""The rules of every framing, as stated in ``epollo.framing``."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epollo.errors import (
    EncodeError,
    FrameCorrupt,
    FrameError,
    FrameTooLarge,
    FrameTruncated,
)
from epollo.framing import Framing, Line, parse
from tests.framing.framings import FRAMINGS, PREFIXES, streams
from tests.framing.support import chunkings, cut, outcome, pieces, sendable, whole

every_framing = pytest.mark.parametrize("spec", FRAMINGS)

MESSAGES = {"fixed:7": b"message"}


def a_message(framing: Framing) -> bytes:
    """A message that ``framing`` can send."""
    return whole(framing, MESSAGES.get(framing.name, b"a message longer than any header"))


@every_framing
@settings(max_examples=40)
@given(
    messages=st.lists(st.binary(max_size=200) | streams | st.just(b"7 bytes"), max_size=20),
    step=st.integers(1, 100),
)
def test_encoded_messages_are_decoded_for_every_split(
    spec: str, messages: list[bytes], step: int
) -> None:
    framing = parse(spec)
    sent = sendable(framing, messages)
    stream = b"".join(frame for frame, _ in sent)
    assert cut(framing, stream) == [message for _, message in sent]
    assert cut(framing, stream, step) == [message for _, message in sent]


@every_framing
@settings(max_examples=40)
@given(
    stream=streams | st.binary(max_size=100),
    max_frame=st.integers(12, 40),
    sizes=st.lists(st.integers(1, 9), min_size=100, max_size=100),
)
def test_any_bytes_come_to_the_same_however_they_are_split(
    spec: str, stream: bytes, max_frame: int, sizes: list[int]
) -> None:
    framing = parse(spec, max_frame)
    chunks = []
    for size in sizes:
        chunks.append(stream[:size])
        stream = stream[size:]
    chunks.append(stream)
    whole = outcome(framing, [b"".join(chunks)])
    assert outcome(framing, chunks) == whole
    assert outcome(framing, pieces(b"".join(chunks), 1)) == whole


@every_framing
@settings(max_examples=40)
@given(stream=streams | st.binary(max_size=100), max_frame=st.integers(12, 40))
def test_an_error_says_nothing_of_the_frames_before(
    spec: str, stream: bytes, max_frame: int
) -> None:
    """The error depends on the bad frame alone, so that another decoder may continue there."""
    framing = parse(spec, max_frame)
    decoder = framing.decoder()
    begin = 0
    for stop in range(1, len(stream) + 1):
        try:
            if decoder.feed(stream[stop - 1 : stop]):
                begin = stop
        except FrameError:
            break
    messages, error, text = outcome(framing, [stream])
    if error is not None:
        assert outcome(framing, [stream[begin:]]) == ([], error, text)
    assert outcome(framing, [stream[:begin]]) == (messages, None, "")


@pytest.mark.parametrize("spec", [*PREFIXES, "varint", "netstring", "line", "delimiter:--"])
def test_every_split_point_of_three_frames(spec: str) -> None:
    framing = parse(spec)
    messages = [b"first", b"", b"third one"]
    stream = b"".join(map(framing.encode, messages))
    for split in range(len(stream) + 1):
        decoder = framing.decoder()
        assert decoder.feed(stream[:split]) + decoder.feed(stream[split:]) == messages
        decoder.eof()


@every_framing
def test_the_end_of_the_stream_inside_a_frame_is_an_error(spec: str) -> None:
    framing = parse(spec)
    stream = framing.encode(a_message(framing))
    framing.decoder().eof()
    for size in range(1, len(stream)):
        ends = {outcome(framing, chunks)[1:] for chunks in chunkings(stream[:size])}
        assert {error for error, _ in ends} == {FrameTruncated}
        assert len(ends) == 1, "the same text, however it came"


@every_framing
def test_empty_input_is_not_a_message(spec: str) -> None:
    decoder = parse(spec).decoder()
    assert decoder.feed(b"") == []
    assert decoder.feed_from(memoryview(b"left from the last read"), 0) == []
    decoder.eof()


@pytest.mark.parametrize("spec", [*PREFIXES, "varint", "netstring", "mongodb"])
def test_max_frame_is_inclusive_and_counts_the_header(spec: str) -> None:
    message = bytes(20)
    size = len(parse(spec).encode(message))
    frame = parse(spec, size).encode(message)
    cut(parse(spec, size), frame)
    strict = parse(spec, size - 1)
    assert outcome(strict, [frame])[1] is FrameTooLarge
    with pytest.raises(EncodeError, match=rf"20 bytes .* over max_frame \({size - 1} bytes\)"):
        strict.encode(message)


@pytest.mark.parametrize("rest", [b"", b"more"])
def test_messages_before_a_bad_frame_are_delivered_first(rest: bytes) -> None:
    framing = parse("u32", max_frame=100)
    with pytest.raises(FrameTooLarge) as caught:
        framing.decoder().feed(framing.encode(b"one") + framing.encode(b"two") + b"\xff" * 4 + rest)
    assert caught.value.messages == [b"one", b"two"]


@pytest.mark.parametrize(
    ("spec", "bad"),
    [
        ("u32", b"\xff" * 4),
        ("length(size=2,strip=1)", b"\xff" * 2),
        ("varint", b"\xff\x7f"),
        ("netstring", b"200:"),
        ("line", b"x" * 101),
        ("delimiter:--", b"x" * 101),
    ],
)
def test_after_an_error_the_decoder_stays_failed(spec: str, bad: bytes) -> None:
    framing = parse(spec, max_frame=100)
    decoder = framing.decoder()
    with pytest.raises(FrameTooLarge):
        decoder.feed(framing.encode(b"one") + bad)
    for again in (framing.encode(b"two"), b""):
        with pytest.raises(FrameTooLarge) as caught:
            decoder.feed(again)
        assert caught.value.messages == []
    decoder.eof()


def test_an_error_does_not_hand_out_its_messages_twice() -> None:
    decoder = parse("netstring").decoder()
    with pytest.raises(FrameCorrupt) as first:
        decoder.feed(b"1:a,x")
    with pytest.raises(FrameCorrupt) as second:
        decoder.feed(b"1:a,")
    assert (first.value.messages, second.value.messages) == ([b"a"], [])


@pytest.mark.parametrize("wrong", [5, "text", [1, 2], None])
@pytest.mark.parametrize("spec", [*FRAMINGS, "raw"])
def test_only_bytes_can_be_encoded(spec: str, wrong: object) -> None:
    with pytest.raises(TypeError, match=f"bytes are needed, not {type(wrong).__name__}"):
        parse(spec).encode(wrong)  # type: ignore[arg-type]


@every_framing
def test_a_message_may_be_any_buffer(spec: str) -> None:
    framing = parse(spec)
    message = a_message(framing)
    frame = framing.encode(message)
    for kind in (bytearray, memoryview):
        sent = kind(message)
        assert framing.encode(sent) == frame
        assert type(framing.encode(sent)) is bytes
        assert bytes(sent) == message, "the caller's own is not written to"


def test_a_view_of_wider_items_is_taken_as_its_bytes() -> None:
    view = memoryview(bytes(8)).cast("I")
    assert parse("u32").encode(view) == b"\x00\x00\x00\x08" + bytes(8)
    assert parse("u32").decoder().feed(view) == [b"", b""]


@every_framing
def test_decoding_does_not_change_a_framing(spec: str) -> None:
    """Two decoders of one framing share no state."""
    framing = parse(spec)
    frame = framing.encode(a_message(framing))
    one, other = framing.decoder(), framing.decoder()
    assert one.feed(frame[:3]) == []
    assert len(other.feed(frame)) == 1
    assert len(one.feed(frame[3:])) == 1


@pytest.mark.parametrize(
    "spec", ["u32", "netstring", "delimiter:--"]
)  # one framing for each decoder
def test_a_frame_in_very_many_pieces_arrives_whole(spec: str) -> None:
    """Linear time takes under a second; copying again for each piece would take many."""
    framing = parse(spec, 1 << 21)
    message = b"x" * 300_000
    assert cut(framing, framing.encode(message), 1) == [message]


def test_a_header_in_a_hundred_thousand_pieces_arrives_whole() -> None:
    framing = parse("length(offset=100000,size=4)")
    frame = framing.encode(b"x" * 100_010)
    assert cut(framing, frame, 1) == [frame]


def test_a_framing_can_be_made_without_a_spec() -> None:
    framing: Framing = Line("mine", 100)
    assert (framing.name, framing.max_frame) == ("mine", 100)
    assert cut(framing, b"one\n") == [b"one"]
