"""D. J. Bernstein's netstrings."""

from __future__ import annotations

import pytest

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing import parse
from tests.framing.support import HELLO, assert_cuts, assert_fails, assert_truncated


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"12:hello world!,", [b"hello world!"]),  # the example in the text
        (b"0:,", [b""]),
        (b"0:,0:,1:,,", [b"", b"", b","]),
        (b"12:" + HELLO + b",3:1:,,", [HELLO, b"1:,"]),
        (b"100:" + bytes(100) + b",", [bytes(100)]),
    ],
)
def test_vectors(stream: bytes, messages: list[bytes]) -> None:
    assert_cuts(parse("netstring"), stream, messages)
    assert b"".join(map(parse("netstring").encode, messages)) == stream


NO_DIGIT = "netstring length has {!r} instead of a digit"
NO_COMMA = "frame ends with {!r} instead of b','"


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b":", FrameCorrupt(NO_DIGIT.format(b":"))),
        (b",", FrameCorrupt(NO_DIGIT.format(b","))),
        (b"-", FrameCorrupt(NO_DIGIT.format(b"-"))),
        (b"+", FrameCorrupt(NO_DIGIT.format(b"+"))),
        (b" ", FrameCorrupt(NO_DIGIT.format(b" "))),
        (b"\n", FrameCorrupt(NO_DIGIT.format(b"\n"))),
        (b"\xb2", FrameCorrupt(NO_DIGIT.format(b"\xb2"))),
        (b"1x", FrameCorrupt(NO_DIGIT.format(b"x"))),
        (b"1 ", FrameCorrupt(NO_DIGIT.format(b" "))),
        (b"00", FrameCorrupt("netstring length has a leading zero")),
        (b"01", FrameCorrupt("netstring length has a leading zero")),
        (b"0:x", FrameCorrupt(NO_COMMA.format(b"x"))),
        (b"3:abc:", FrameCorrupt(NO_COMMA.format(b":"))),
        (b"3:abcd", FrameCorrupt(NO_COMMA.format(b"d"))),
        (b"95:", FrameTooLarge(99, 98)),
        (b"99:", FrameTooLarge(103, 98)),
        (b"100", FrameTooLarge(105, 98)),
        (b"999", FrameTooLarge(1004, 98)),
    ],
)
def test_errors_come_at_the_byte_that_shows_them(bad: bytes, error: FrameError) -> None:
    framing = parse("netstring", max_frame=98)
    assert_fails(framing, bad, error)
    assert_fails(framing, bad, error, before=b"0:,3:abc,")


def test_a_length_of_too_many_digits_is_too_large_whatever_follows() -> None:
    framing = parse("netstring", max_frame=100)
    assert_fails(framing, b"1000", FrameTooLarge(1006, 100), rest=b"000000000000000000000:")
    assert_fails(framing, b"1000", FrameTooLarge(1006, 100), rest=b"x")


def test_max_frame_counts_digits_colon_and_comma() -> None:
    framing = parse("netstring", max_frame=14)
    assert_cuts(framing, b"10:0123456789,", [b"0123456789"])
    with pytest.raises(EncodeError, match=r"11 bytes makes a frame over max_frame \(14 bytes\)"):
        framing.encode(bytes(11))
    assert_fails(framing, b"11:", FrameTooLarge(15, 14))
    assert_fails(parse("netstring", max_frame=2), b"0:", FrameTooLarge(3, 2))


def test_the_end_inside_a_frame() -> None:
    framing = parse("netstring")
    assert_truncated(framing, b"12", "the stream ended 1 byte short of a frame's next part")
    assert_truncated(framing, b"3:", "the stream ended 4 bytes short of a frame's next part")
    assert_truncated(framing, b"3:abc", "the stream ended 1 byte short of a frame's next part")
