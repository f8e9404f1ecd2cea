"""Messages between two delimiters."""

from __future__ import annotations

import pytest

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing import parse
from tests.framing.support import assert_cuts, assert_fails, assert_truncated

MLLP = b"\x0bMSH|^~\\&|A\r\x1c\r"


@pytest.mark.parametrize(
    ("spec", "stream", "messages"),
    [
        ("mllp", MLLP * 2, [MLLP[1:-2]] * 2),
        ("mllp", b"\x0b\x1c\r\x0ba\x1cb\x1c\r", [b"", b"a\x1cb"]),
        ("delimiter(end=~,start=~)", b"~ab~~~~c~", [b"ab", b"", b"c"]),
        ("delimiter(end=--,start=-)", b"----a-b--", [b"", b"a-b"]),
        ('delimiter(end=")",start="(")', b"(a)()", [b"a", b""]),
    ],
)
def test_vectors(spec: str, stream: bytes, messages: list[bytes]) -> None:
    assert_cuts(parse(spec), stream, messages)
    assert b"".join(map(parse(spec).encode, messages)) == stream


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b"M", FrameCorrupt(r"frame begins with b'M' instead of b'<<'")),
        (b"<x", FrameCorrupt(r"frame begins with b'<x' instead of b'<<'")),
        (b"<<" + b"x" * 11, FrameTooLarge(11, 10)),
        (b"<<" + b"x" * 10 + b">x", FrameTooLarge(11, 10)),
    ],
)
def test_errors_come_at_the_byte_that_shows_them(bad: bytes, error: FrameError) -> None:
    framing = parse("delimiter(end=>>,start=<<)", max_frame=10)
    assert_fails(framing, bad, error)
    assert_fails(framing, bad, error, before=b"<<>><<abc>>")


def test_delimiters_do_not_count_towards_max_frame() -> None:
    assert_cuts(parse("delimiter(end=>>,start=<<)", 3), b"<<abc>>", [b"abc"])


def test_the_end_inside_a_frame() -> None:
    assert_truncated(parse("mllp"), b"\x0bab", "the stream ended 3 bytes into a frame")


@pytest.mark.parametrize("message", [b"a>>b", b"a>"])
def test_a_message_with_its_end_in_it_is_not_sent(message: bytes) -> None:
    with pytest.raises(EncodeError, match="with its delimiter b'>>' in it"):
        parse("delimiter(end=>>,start=<<)").encode(message)
