"""Lengths in decimal digits, of a fixed number or up to a certain byte."""

from __future__ import annotations

import pytest

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing import parse
from tests.framing.support import assert_cuts, assert_fails, assert_truncated

NO_DIGIT = "length has {!r} instead of a digit"


@pytest.mark.parametrize(
    ("spec", "stream", "messages"),
    [
        ("digits(size=4)", b"0005hello0000", [b"hello", b""]),
        ("digits(size=4,adjust=-4)", b"0009hello0004", [b"hello", b""]),
        ('digits(end=" ")', b"5 hello0 12 hello, world", [b"hello", b"", b"hello, world"]),
        (r"digits(end=\x20)", b"5 hello", [b"hello"]),
        ("digits(size=2,offset=1)", b"x02abx00", [b"x02ab", b"x00"]),
        ("digits(end=:,offset=1)", b"x2:ab", [b"x2:ab"]),
    ],
)
def test_vectors(spec: str, stream: bytes, messages: list[bytes]) -> None:
    assert_cuts(parse(spec), stream, messages)
    assert b"".join(map(parse(spec).encode, messages)) == stream


@pytest.mark.parametrize(
    ("spec", "bad", "error"),
    [
        *(
            ("digits(size=4)", b"00" + byte, FrameCorrupt(NO_DIGIT.format(byte)))
            for byte in (b"+", b"-", b" ", b"x", b"\xb2", b":")
        ),
        *(
            ('digits(end=" ")', byte, FrameCorrupt(NO_DIGIT.format(byte)))
            for byte in (b"+", b"-", b" ", b"<", b"\xb2", b"\n")
        ),
        ("digits(size=4)", b"0095", FrameTooLarge(99, 98)),
        ("digits(size=4)", b"9999", FrameTooLarge(10003, 98)),
        ("digits(size=4,adjust=-4)", b"0003", FrameCorrupt(
            "frame of 3 bytes ends before its length does, at 4"
        )),
        ('digits(end=" ")', b"1x", FrameCorrupt(NO_DIGIT.format(b"x"))),
        ('digits(end=" ")', b"01", FrameCorrupt("length has a leading zero")),
        ('digits(end=" ")', b"96 ", FrameTooLarge(99, 98)),
        ('digits(end=" ")', b"100", FrameTooLarge(104, 98)),
    ],
)  # fmt: skip
def test_errors_come_at_the_byte_that_shows_them(spec: str, bad: bytes, error: FrameError) -> None:
    framing = parse(spec, max_frame=98)
    assert_fails(framing, bad, error)
    assert_fails(framing, bad, error, before=framing.encode(b"before") * 2)


def test_the_end_inside_a_frame() -> None:
    text = "the stream ended {} short of a frame's next part"
    assert_truncated(parse("digits(size=4)"), b"00", text.format("1 byte"))
    assert_truncated(parse("digits(size=4)"), b"0005he", text.format("3 bytes"))
    assert_truncated(parse('digits(end=" ")'), b"12", text.format("1 byte"))


def test_what_cannot_be_sent() -> None:
    with pytest.raises(EncodeError, match=r"message of 100 bytes has no length that digits"):
        parse("digits(size=2)").encode(bytes(100))
    with pytest.raises(EncodeError, match=r"has no length that"):
        parse("digits(size=2,adjust=3)").encode(b"ab")
    with pytest.raises(EncodeError, match=r"over max_frame \(10 bytes\)"):
        parse("digits(size=4)", 10).encode(bytes(7))
    with pytest.raises(EncodeError, match=r"message of 5 bytes has a length for 4 in it"):
        parse("digits(size=2,offset=1)").encode(b"x01ab")
