"""Lengths in binary-coded decimal."""

from __future__ import annotations

import pytest

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing import parse
from tests.framing.support import assert_cuts, assert_fails, assert_truncated

NO_DIGITS = "BCD length has {} instead of two digits"


@pytest.mark.parametrize(
    ("spec", "stream", "messages"),
    [
        ("bcd(size=2)", b"\x00\x05hello\x00\x00", [b"hello", b""]),
        ("bcd(size=2)", b"\x01\x23" + bytes(123), [bytes(123)]),
        ("bcd(size=1,adjust=-1)", b"\x06hello", [b"hello"]),
        ("bcd(size=1,offset=1)", b"\xff\x02ab", [b"\xff\x02ab"]),
    ],
)
def test_vectors(spec: str, stream: bytes, messages: list[bytes]) -> None:
    assert_cuts(parse(spec), stream, messages)
    assert b"".join(map(parse(spec).encode, messages)) == stream


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b"\xa0", FrameCorrupt(NO_DIGITS.format("0xa0"))),
        (b"\x0a", FrameCorrupt(NO_DIGITS.format("0x0a"))),
        (b"\xff", FrameCorrupt(NO_DIGITS.format("0xff"))),
        (b"\x00\x9a", FrameCorrupt(NO_DIGITS.format("0x9a"))),
        (b"\x00\x99", FrameTooLarge(101, 100)),
        (b"\x99\x99", FrameTooLarge(10001, 100)),
    ],
)
def test_errors_come_at_the_byte_that_shows_them(bad: bytes, error: FrameError) -> None:
    framing = parse("bcd(size=2)", max_frame=100)
    assert_fails(framing, bad, error)
    assert_fails(framing, bad, error, before=b"\x00\x03abc")


def test_the_end_inside_a_frame() -> None:
    text = "the stream ended {} short of a frame's next part"
    assert_truncated(parse("bcd(size=2)"), b"\x00", text.format("1 byte"))
    assert_truncated(parse("bcd(size=2)"), b"\x00\x05he", text.format("3 bytes"))


def test_a_length_of_too_many_digits_is_not_sent() -> None:
    with pytest.raises(EncodeError, match=r"message of 100 bytes has no length that bcd\(size=1\)"):
        parse("bcd(size=1)").encode(bytes(100))
