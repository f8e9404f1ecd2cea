"""A length in the frame, as for Netty's LengthFieldBasedFrameDecoder."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epollo.errors import (
    EncodeError,
    FrameCorrupt,
    FrameTooLarge,
    FrameTruncated,
    FramingSpecError,
)
from epollo.framing import LengthField, LengthPrefix, parse
from tests.framing.support import (
    HELLO,
    assert_cuts,
    assert_fails,
    assert_truncated,
    cut,
    outcome,
    pieces,
    sendable,
)

HUGE = (1 << 63) - 1


def field(
    offset: int, size: int, adjust: int, strip: int, order: str = "big", max_frame: int = 1 << 20
) -> LengthField:
    spec = f"length(offset={offset},size={size},adjust={adjust},strip={strip},order={order})"
    framing = parse(spec, max_frame)
    assert isinstance(framing, LengthField)
    return framing


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
    ],
)
def test_prefixes(spec: str, stream: bytes, messages: list[bytes]) -> None:
    assert_cuts(parse(spec), stream, messages)
    assert b"".join(map(parse(spec).encode, messages)) == stream


# (offset, size, adjust, strip): each row was run on Netty.
@pytest.mark.parametrize(
    ("parameters", "stream", "messages"),
    [
        ((0, 2, 0, 0), b"\x00\x0c" + HELLO, [b"\x00\x0c" + HELLO]),
        ((0, 2, 0, 2), b"\x00\x0c" + HELLO, [HELLO]),
        ((0, 2, -2, 0), b"\x00\x0e" + HELLO, [b"\x00\x0e" + HELLO]),
        ((2, 3, 0, 0), b"\xca\xfe\x00\x00\x0c" + HELLO, [b"\xca\xfe\x00\x00\x0c" + HELLO]),
        ((0, 3, 2, 0), b"\x00\x00\x0c\xca\xfe" + HELLO, [b"\x00\x00\x0c\xca\xfe" + HELLO]),
        ((1, 2, 1, 3), b"\xca\x00\x0c\xfe" + HELLO, [b"\xfe" + HELLO]),
        ((1, 2, -3, 3), b"\xca\x00\x10\xfe" + HELLO, [b"\xfe" + HELLO]),
        ((0, 2, 0, 2), b"\x00\x00\x00\x01\xaa", [b"", b"\xaa"]),
    ],
)
def test_rows_of_netty(
    parameters: tuple[int, int, int, int], stream: bytes, messages: list[bytes]
) -> None:
    assert_cuts(field(*parameters), stream, messages)
    assert_cuts(field(*parameters), stream * 3, messages * 3)


@pytest.mark.parametrize(
    ("parameters", "stream", "messages"),
    [
        ((0, 4, 0, 4, "little"), b"\x02\x00\x00\x00\xaa\xbb", [b"\xaa\xbb"]),
        ((0, 3, 1, 4, "little"), b"\x02\x00\x00\x07\xaa\xbb", [b"\xaa\xbb"]),
        ((0, 3, 0, 3), b"\x00\x00\x02\xaa\xbb", [b"\xaa\xbb"]),
        ((0, 2, 0, 14), b"\x00\x0c" + HELLO, [b""]),
        ((3, 1, 0, 0), b"abc\x00", [b"abc\x00"]),
    ],
)
def test_little_endian_and_other_forms(
    parameters: tuple[int, int, int, int], stream: bytes, messages: list[bytes]
) -> None:
    assert_cuts(field(*parameters), stream, messages)


@pytest.mark.parametrize("spec", ["u16", "length(size=2, strip=2)", "length(size=2)"])
def test_too_large_at_the_byte_that_completes_the_length(spec: str) -> None:
    framing = parse(spec, max_frame=5)
    frame = b"\x00\x03\xaa\xbb\xcc"
    assert_cuts(framing, frame, [frame[2:] if spec != "length(size=2)" else frame])
    assert_fails(framing, b"\x00\x04", FrameTooLarge(6, 5), rest=b"\xaa")
    assert_fails(framing, b"\x00\x04", FrameTooLarge(6, 5), before=frame * 2)


def test_a_frame_too_large_says_how_large() -> None:
    with pytest.raises(FrameTooLarge, match=r"4294967299 bytes is over max_frame \(100") as caught:
        parse("u32", max_frame=100).decoder().feed(b"\xff\xff\xff\xff")
    assert (caught.value.size, caught.value.limit) == (0xFFFFFFFF + 4, 100)


def test_a_frame_that_ends_before_its_length_is_corrupt() -> None:
    error = FrameCorrupt("frame of 1 byte ends before its length does, at 2")
    assert_fails(field(0, 2, -2, 0), b"\x00\x01", error, before=b"\x00\x03\xaa")
    error = FrameCorrupt("frame of -3 bytes ends before its length does, at 4")
    assert_fails(parse("length(size=4,adjust=-8)"), b"\x00\x00\x00\x01", error)


def test_a_frame_shorter_than_strip_is_corrupt() -> None:
    framing = field(0, 2, 0, 4)
    assert_cuts(framing, b"\x00\x02ab", [b""])
    error = FrameCorrupt("frame of 3 bytes is shorter than the 4 to strip")
    assert_fails(framing, b"\x00\x01", error, before=b"\x00\x02ab")


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("parameters", [(0, 8, 0, 8), (0, 8, 0, 0), (2, 8, -10, 0)])
def test_a_length_above_2_to_the_63_is_corrupt(
    parameters: tuple[int, int, int, int], order: str
) -> None:
    offset = bytes(parameters[0])
    framing = field(*parameters, order=order, max_frame=100)
    for value in (HUGE + 1, (1 << 64) - 1):
        bad = offset + value.to_bytes(8, "big" if order == "big" else "little")
        assert_fails(framing, bad, FrameCorrupt(f"frame length {value} is over 2^63-1"))
    bad = offset + HUGE.to_bytes(8, "big" if order == "big" else "little")
    size = HUGE + len(bad) + parameters[2]
    assert_fails(framing, bad, FrameTooLarge(size, 100))


@pytest.mark.parametrize("strip", [0, 8])
def test_a_length_above_2_to_the_63_is_corrupt_without_a_frame_limit(strip: int) -> None:
    bad = (HUGE + 1).to_bytes(8, "big")
    framing = field(0, 8, 0, strip, max_frame=1 << 70)
    assert_fails(framing, bad, FrameCorrupt(f"frame length {HUGE + 1} is over 2^63-1"))


def test_corrupt_comes_before_too_large_and_too_large_before_strip() -> None:
    assert outcome(field(0, 8, 0, 9, max_frame=9), [b"\xff" * 8])[1] is FrameCorrupt
    assert outcome(field(0, 1, -5, 9, max_frame=9), [b"\x01"])[1] is FrameCorrupt
    assert outcome(field(0, 1, 0, 200, max_frame=9), [b"\x09"])[1] is FrameTooLarge
    assert outcome(field(0, 1, 0, 200, max_frame=9), [b"\x08"])[1] is FrameCorrupt


def test_the_end_inside_a_frame_says_how_much_is_missing() -> None:
    for spec in ("u32", "length(size=4,strip=1)"):
        assert_truncated(
            parse(spec), b"\0\0\0", "the stream ended 1 byte short of a frame's next part"
        )
        assert_truncated(
            parse(spec), b"\0\0\0\x09abc", "the stream ended 6 bytes short of a frame's next part"
        )
    assert outcome(parse("u8"), [b"\x01a\x01"]).error is FrameTruncated


fields = st.builds(
    field,
    offset=st.integers(0, 3),
    size=st.sampled_from([1, 2, 3, 4, 8]),
    adjust=st.integers(-12, 4),
    strip=st.integers(0, 8),
    order=st.sampled_from(["big", "little"]),
    max_frame=st.integers(11, 20),
)


def by_the_book(framing: LengthField, stream: bytes) -> tuple[list[bytes], type | None]:
    """The definition, step by step, for a complete stream."""
    messages: list[bytes] = []
    while len(stream) >= framing.end:
        value = int.from_bytes(stream[framing.offset : framing.end], framing.order)
        size = value + framing.adjust + framing.end
        if value > HUGE or size < framing.end:
            return messages, FrameCorrupt
        if size > framing.max_frame:
            return messages, FrameTooLarge
        if framing.strip > size:
            return messages, FrameCorrupt
        if len(stream) < size:
            break
        messages.append(stream[framing.strip : size])
        stream = stream[size:]
    return messages, FrameTruncated if stream else None


@settings(max_examples=500)
@given(
    framing=fields,
    stream=st.lists(st.sampled_from(range(20)) | st.sampled_from([0, 128, 255]), max_size=40),
    step=st.integers(1, 50),
)
def test_the_definition(framing: LengthField, stream: list[int], step: int) -> None:
    assert outcome(framing, pieces(bytes(stream), step))[:2] == by_the_book(framing, bytes(stream))


@settings(max_examples=500)
@given(framing=fields, message=st.binary(max_size=20))
def test_sendable_messages_arrive(framing: LengthField, message: bytes) -> None:
    for frame, arrives in sendable(framing, [message]):
        assert outcome(framing, [frame]) == ([arrives], None, "")


@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, 7, 7, 300, 4092, 4093, 5000]), max_size=12),
    step=st.integers(1, 20_000),
)
def test_runs_of_equal_and_unequal_sizes_are_cut_alike(sizes: list[int], step: int) -> None:
    """The decoder guesses sizes; a wrong guess must not change the result."""
    framing = parse("u32")
    messages = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    assert cut(framing, b"".join(map(framing.encode, messages)), step) == messages


@given(messages=st.lists(st.binary(max_size=9), max_size=12), step=st.integers(1, 40))
def test_the_prefix_is_the_general_case_made_fast(messages: list[bytes], step: int) -> None:
    fast = LengthPrefix("fast", 100, size=2)
    general = LengthField("general", 100, size=2, strip=2)
    stream = b"".join(map(fast.encode, messages))
    assert stream == b"".join(map(general.encode, messages))
    assert cut(fast, stream, step) == cut(general, stream, step) == messages


@pytest.mark.parametrize(
    ("parameters", "message", "frame"),
    [
        ((0, 2, 0, 2), HELLO, b"\x00\x0c" + HELLO),
        ((0, 2, -2, 2), HELLO, b"\x00\x0e" + HELLO),
        ((0, 2, 2, 2), HELLO, b"\x00\x0a" + HELLO),
        ((0, 3, 0, 3, "little"), HELLO, b"\x0c\x00\x00" + HELLO),
        ((0, 2, 0, 0), b"??" + HELLO, b"\x00\x0c" + HELLO),
        ((0, 2, -2, 0), b"??" + HELLO, b"\x00\x0e" + HELLO),
        ((2, 3, 0, 0), b"\xca\xfe???" + HELLO, b"\xca\xfe\x00\x00\x0c" + HELLO),
        ((0, 3, 2, 0), b"???\xca\xfe" + HELLO, b"\x00\x00\x0c\xca\xfe" + HELLO),
        ((1, 2, 1, 3), b"\xca??\xfe" + HELLO, b"\xca\x00\x0c\xfe" + HELLO),
        ((1, 2, -3, 3), b"\xca??\xfe" + HELLO, b"\xca\x00\x10\xfe" + HELLO),
        ((0, 3, 1, 4, "little"), b"???\x07\xaa\xbb", b"\x02\x00\x00\x07\xaa\xbb"),
        ((0, 2, 0, 14), b"??" + HELLO, b"\x00\x0c" + HELLO),
        ((0, 1, 0, 0), b"?", b"\x00"),
    ],
)
def test_encoding_puts_the_length_before_the_message_or_in_its_place(
    parameters: tuple[int, int, int, int], message: bytes, frame: bytes
) -> None:
    assert field(*parameters).encode(message) == frame


@pytest.mark.parametrize(
    ("spec", "size", "why"),
    [
        ("u8", 256, "256 bytes is longer than a u8 length can say"),
        ("u16", 65536, "longer than a u16 length can say"),
        ("u32", 1 << 20, "over max_frame"),
        ("length(size=1)", 257, "257 bytes is longer than a length"),
        ("length(size=1,adjust=-1,strip=1)", 255, "longer than a length"),
        ("length(size=3)", (1 << 20) + 1, "over max_frame"),
        ("modbus", 5, "5 bytes is shorter than the 6 that modbus needs"),
        ("mongodb", 3, "3 bytes is shorter than the 4 that mongodb needs"),
        ("length(size=2,adjust=3)", 4, "4 bytes is shorter than the 5 that length"),
        ("length(size=2,adjust=3,strip=2)", 2, "2 bytes is shorter than the 3 that length"),
        ("length(size=2,strip=9)", 8, "8 bytes is shorter than the 9 that length"),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused(spec: str, size: int, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        parse(spec).encode(bytes(size))


def test_the_limits_of_sendable_messages() -> None:
    for spec, size in (("u8", 255), ("u16", 65535), ("u32", (1 << 20) - 4), ("modbus", 65541)):
        assert len(parse(spec).encode(bytes(size))) >= size
    with pytest.raises(EncodeError, match="longer than a modbus length can say"):
        parse("modbus").encode(bytes(65542))


def test_the_attributes_that_another_decoder_needs() -> None:
    framing = LengthField("mine", 99, offset=1, size=3, adjust=-4, strip=2, order="little")
    assert (framing.offset, framing.size, framing.adjust) == (1, 3, -4)
    assert (framing.strip, framing.order, framing.end) == (2, "little", 4)
    assert (framing.name, framing.max_frame, framing.in_place) == ("mine", 99, True)
    prefix = LengthPrefix("u32le", 99, size=4, order="little")
    assert (prefix.offset, prefix.size, prefix.adjust) == (0, 4, 0)
    assert (prefix.strip, prefix.order, prefix.in_place) == (4, "little", False)


def test_a_prefix_of_three_bytes_is_a_field() -> None:
    assert type(parse("length(size=3,strip=3)")) is LengthField
    with pytest.raises(FramingSpecError, match="size=3 is not one of 1, 2, 4 and 8"):
        LengthPrefix("u24", 100, size=3)
