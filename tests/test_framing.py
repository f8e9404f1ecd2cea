"""The framings: what they cut, what they refuse, and at which byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epollo.errors import (
    EncodeError,
    FrameCorrupt,
    FrameError,
    FrameTooLarge,
    FrameTruncated,
    FramingSpecError,
)
from epollo.framing import Framing, parse

PREFIXES = ["u8", "u16", "u32", "u64", "u16le", "u32le", "u64le"]
FRAMINGS = [*PREFIXES, "line"]

HELLO = b"HELLO, WORLD"


def cut(framing: Framing, stream: bytes, step: int | None = None) -> list[bytes]:
    """The messages in ``stream``, fed ``step`` bytes at a time (None: whole)."""
    decoder = framing.decoder()
    step = step or max(1, len(stream))
    messages: list[bytes] = []
    for start in range(0, len(stream), step):
        messages += decoder.feed(stream[start : start + step])
    decoder.eof()
    return messages


def failure(framing: Framing, stream: bytes, step: int | None = None) -> tuple[type, int]:
    """The error in ``stream``, and the bytes it took; the messages before it are dropped."""
    decoder = framing.decoder()
    step = step or len(stream)
    for start in range(0, len(stream), step):
        try:
            decoder.feed(stream[start : start + step])
        except FrameError as error:
            with pytest.raises(type(error)):
                decoder.feed(b"")
            return type(error), start + step
    raise AssertionError("no error")


def assert_cuts(framing: Framing, stream: bytes, messages: list[bytes]) -> None:
    """The same messages whole, byte by byte, and with the start of a frame behind them."""
    assert cut(framing, stream) == messages
    assert cut(framing, stream, 1) == messages
    assert framing.decoder().feed(stream + stream[:1]) == messages
    assert framing.decoder().feed(bytearray(stream)) == messages
    assert framing.decoder().feed(memoryview(stream)) == messages


@pytest.mark.parametrize(
    ("spec", "stream", "messages"),
    [
        ("u8", b"\x0c" + HELLO, [HELLO]),
        ("u16", b"\x00\x0c" + HELLO, [HELLO]),
        ("u32", b"\x00\x00\x00\x0c" + HELLO, [HELLO]),
        ("u64", bytes(7) + b"\x0c" + HELLO, [HELLO]),
        ("u16le", b"\x0c\x00" + HELLO, [HELLO]),
        ("u32le", b"\x02\x00\x00\x00\xaa\xbb", [b"\xaa\xbb"]),
        ("u64le", b"\x0c" + bytes(7) + HELLO, [HELLO]),
        ("u16", b"\x00\x00\x00\x01\xaa", [b"", b"\xaa"]),
        ("u32", bytes(4) * 3, [b"", b"", b""]),
        ("line", b"one\n\ntwo\r\n", [b"one", b"", b"two"]),
        ("line", b"lone\rcr\r\r\n", [b"lone\rcr\r"]),
    ],
)
def test_vectors(spec: str, stream: bytes, messages: list[bytes]) -> None:
    assert_cuts(parse(spec), stream, messages)


@pytest.mark.parametrize("spec", FRAMINGS)
@given(messages=st.lists(st.binary(max_size=200), max_size=30), step=st.integers(1, 100))
def test_what_is_encoded_is_decoded_however_it_is_split(
    spec: str, messages: list[bytes], step: int
) -> None:
    framing = parse(spec)
    if spec == "line":
        messages = [message.replace(b"\n", b"").rstrip(b"\r") for message in messages]
    stream = b"".join(map(framing.encode, messages))
    assert cut(framing, stream) == messages
    assert cut(framing, stream, step) == messages


@pytest.mark.parametrize("spec", PREFIXES)
def test_every_split_point_of_three_frames(spec: str) -> None:
    framing = parse(spec)
    messages = [b"first", b"", b"third one"]
    stream = b"".join(map(framing.encode, messages))
    for split in range(len(stream) + 1):
        decoder = framing.decoder()
        assert decoder.feed(stream[:split]) + decoder.feed(stream[split:]) == messages
        decoder.eof()


@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, 7, 7, 300, 4092, 4093, 5000]), max_size=12),
    step=st.integers(1, 20_000),
)
def test_runs_of_equal_and_unequal_sizes_are_cut_alike(sizes: list[int], step: int) -> None:
    """The decoder guesses sizes; a wrong guess must not be seen."""
    framing = parse("u32")
    messages = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    assert cut(framing, b"".join(map(framing.encode, messages)), step) == messages


def test_max_frame_is_inclusive_and_counts_the_header() -> None:
    framing = parse("u16", max_frame=5)
    assert_cuts(framing, b"\x00\x03\xaa\xbb\xcc", [b"\xaa\xbb\xcc"])
    for step in (None, 1):
        error, used = failure(framing, b"\x00\x04\xaa", step)
        assert error is FrameTooLarge
        assert used == (2 if step else 3), "refused when the header is there, at no later byte"


def test_a_frame_too_large_says_how_large() -> None:
    with pytest.raises(FrameTooLarge, match=r"4294967299 bytes is over max_frame \(100") as caught:
        parse("u32", max_frame=100).decoder().feed(b"\xff\xff\xff\xff")
    assert (caught.value.size, caught.value.limit) == (0xFFFFFFFF + 4, 100)


@pytest.mark.parametrize("rest", [b"", b"more"])
def test_messages_before_a_bad_frame_are_delivered_first(rest: bytes) -> None:
    framing = parse("u32", max_frame=100)
    with pytest.raises(FrameTooLarge) as caught:
        framing.decoder().feed(framing.encode(b"one") + framing.encode(b"two") + b"\xff" * 4 + rest)
    assert caught.value.messages == [b"one", b"two"]


def test_after_an_error_the_decoder_stays_failed() -> None:
    framing = parse("u32", max_frame=100)
    decoder = framing.decoder()
    with pytest.raises(FrameTooLarge):
        decoder.feed(framing.encode(b"one") + b"\xff" * 4)
    with pytest.raises(FrameTooLarge) as caught:
        decoder.feed(framing.encode(b"two"))
    assert caught.value.messages == []


@pytest.mark.parametrize("spec", ["u64", "u64le"])
def test_a_length_above_2_to_the_63_is_corrupt(spec: str) -> None:
    for step in (None, 1):
        assert failure(parse(spec), b"\x80" + bytes(6) + b"\x80", step)[0] is FrameCorrupt
    huge = (1 << 63) - 1
    stream = huge.to_bytes(8, "little" if spec.endswith("le") else "big")
    assert failure(parse(spec), stream)[0] is FrameTooLarge


@pytest.mark.parametrize("spec", FRAMINGS)
def test_the_end_of_the_stream_inside_a_frame_is_an_error(spec: str) -> None:
    framing = parse(spec)
    stream = framing.encode(b"message")
    framing.decoder().eof()
    for size in range(1, len(stream)):
        decoder = framing.decoder()
        assert decoder.feed(stream[:size]) == []
        with pytest.raises(FrameTruncated):
            decoder.eof()


def test_a_line_over_max_frame_is_refused_before_its_end() -> None:
    framing = parse("line", max_frame=4)
    assert_cuts(framing, b"four\nfour\r\n", [b"four", b"four"])
    for stream in (b"five5", b"five5\n", b"five5\r\n", b"four\r\r\n"):
        assert failure(framing, stream)[0] is FrameTooLarge
        assert failure(framing, stream, 1)[0] is FrameTooLarge


def test_raw_gives_what_it_is_fed() -> None:
    decoder = parse("raw").decoder()
    assert decoder.feed(b"anything") == [b"anything"]
    assert decoder.feed(b"") == []
    decoder.eof()
    assert parse("raw").encode(b"anything") == b"anything"


@pytest.mark.parametrize(
    ("spec", "message", "why"),
    [
        ("u8", bytes(256), "longer than a u8 length can say"),
        ("u16", bytes(65536), "longer than a u16 length can say"),
        ("u32", bytes(1 << 20), "over max_frame"),
        ("line", b"two\nlines", "with LF"),
        ("line", b"cr at the end\r", "ends in CR"),
        ("line", bytes((1 << 20) + 1), "over max_frame"),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused(spec: str, message: bytes, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        parse(spec).encode(message)


@pytest.mark.parametrize("wrong", [5, "text", [1, 2], None])
@pytest.mark.parametrize("spec", [*FRAMINGS, "raw"])
def test_only_bytes_can_be_encoded(spec: str, wrong: object) -> None:
    with pytest.raises(TypeError):
        parse(spec).encode(wrong)  # type: ignore[arg-type]


def test_a_view_of_wider_items_is_taken_as_its_bytes() -> None:
    view = memoryview(bytes(8)).cast("I")
    assert parse("u32").encode(view) == b"\x00\x00\x00\x08" + bytes(8)
    assert parse("u32").decoder().feed(view) == [b"", b""]


@pytest.mark.parametrize("spec", ["u33", "", "U32", "u32:4", "line "])
def test_an_unknown_framing_is_one_line_with_the_names(spec: str) -> None:
    with pytest.raises(FramingSpecError, match=r"unknown framing .* known are u8, u16") as caught:
        parse(spec)
    assert "\n" not in str(caught.value)


def test_a_near_miss_is_answered_with_a_name() -> None:
    with pytest.raises(FramingSpecError, match="did you mean u32"):
        parse("u-32")


@pytest.mark.parametrize("spec", ["u32", "line"])
def test_a_frame_in_a_million_pieces_arrives_whole(spec: str) -> None:
    """In linear time, that is in a second: copied anew for each piece it would take a minute."""
    framing = parse(spec, 1 << 21)
    message = b"x" * 1_000_000
    assert cut(framing, framing.encode(message), 1) == [message]
