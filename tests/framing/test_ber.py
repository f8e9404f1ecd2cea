"""Values of ASN.1: a tag, a definite length, and as many bytes."""

from __future__ import annotations

import pytest

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing import parse
from tests.framing.support import assert_cuts, assert_fails, assert_truncated


@pytest.mark.parametrize(
    "frames",
    [
        [b"\x30\x05hello", b"\x30\x00", b"\x02\x01\x07"],
        [b"\x30\x7f" + bytes(127), b"\x30\x81\x80" + bytes(128)],
        [b"\x30\x84\x00\x00\x00\x05hello"],  # longer than it has to be, as some servers send it
        [b"\x30\x88" + bytes(7) + b"\x02ab"],
        [b"\x1f\x05\x01a", b"\xbf\x8f\x4f\x02ab"],  # tags of two bytes, and of three
    ],
)
def test_a_message_is_the_whole_value(frames: list[bytes]) -> None:
    assert_cuts(parse("ber"), b"".join(frames), frames)
    assert [*map(parse("ber").encode, frames)] == frames


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b"\x30\x80", FrameCorrupt("BER length is indefinite")),
        (b"\x30\x89", FrameCorrupt("BER length has 9 bytes, over 8")),
        (b"\x30\xff", FrameCorrupt("BER length has 127 bytes, over 8")),
        (b"\x30\x88" + b"\xff" * 8, FrameCorrupt(f"frame length {(1 << 64) - 1} is over 2^63-1")),
        (b"\x1f" + b"\x80" * 5, FrameCorrupt("BER tag is longer than 6 bytes")),
        (b"\x30\x63", FrameTooLarge(101, 100)),
        (b"\x30\x82\x01\x00", FrameTooLarge(260, 100)),
    ],
)
def test_errors_come_at_the_byte_that_shows_them(bad: bytes, error: FrameError) -> None:
    framing = parse("ber", max_frame=100)
    assert_fails(framing, bad, error)
    assert_fails(framing, bad, error, before=b"\x30\x03abc")


def test_the_end_inside_a_frame() -> None:
    text = "the stream ended {} short of a frame's next part"
    assert_truncated(parse("ber"), b"\x30", text.format("1 byte"))
    assert_truncated(parse("ber"), b"\x30\x05he", text.format("3 bytes"))


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "message of 0 bytes has no whole ldap length"),
        (b"\x30", "message of 1 byte has no whole ldap length"),
        (b"\x30\x03ab", "message of 4 bytes has a length for 5 in it"),
        (b"\x30\x01ab", "message of 4 bytes has a length for 3 in it"),
        (b"\x30\x80ab", "message is not a frame of ldap: BER length is indefinite"),
        (b"\x30\x82\xff\xff" + bytes(200), "makes a frame over max_frame"),
    ],
)
def test_a_message_with_another_length_is_not_sent(message: bytes, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        parse("ldap", 100).encode(message)
