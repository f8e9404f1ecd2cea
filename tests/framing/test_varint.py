"""protobuf's length: seven bits a byte, the lowest first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing import Varint, parse
from tests.framing.support import (
    HELLO,
    assert_cuts,
    assert_fails,
    assert_truncated,
    cut,
)

BODY = bytes(range(256)) + bytes(44)


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"\xac\x02" + BODY, [BODY]),
        (b"\x0c" + HELLO, [HELLO]),
        (b"\x00\x01\xaa\x00", [b"", b"\xaa", b""]),
        (b"\x7f" + bytes(127), [bytes(127)]),
        (b"\x80\x01" + bytes(128), [bytes(128)]),
    ],
)
def test_vectors(stream: bytes, messages: list[bytes]) -> None:
    assert_cuts(parse("varint"), stream, messages)
    assert b"".join(map(parse("varint").encode, messages)) == stream


def test_padding_with_zeros_is_accepted_as_protobuf_does() -> None:
    assert_cuts(parse("varint"), b"\x81\x00a", [b"a"])
    assert_cuts(parse("varint"), b"\x81" + b"\x80" * 8 + b"\x00a", [b"a"])


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b"\x80" * 10, FrameCorrupt("varint length is longer than 10 bytes")),
        (b"\xff" * 10, FrameCorrupt("varint length is longer than 10 bytes")),
        (b"\xff" * 9 + b"\x01", FrameCorrupt(f"frame length {(1 << 64) - 1} is over 2^63-1")),
        (b"\x80" * 9 + b"\x01", FrameCorrupt(f"frame length {1 << 63} is over 2^63-1")),
        (b"\xff" * 8 + b"\x7f", FrameTooLarge((1 << 63) - 1 + 9, 100)),
        (b"\x64", FrameTooLarge(101, 100)),
        (b"\xac\x02", FrameTooLarge(302, 100)),
        (b"\xe3\x00", FrameTooLarge(101, 100)),
    ],
)
def test_errors_come_at_the_byte_that_completes_the_length(bad: bytes, error: FrameError) -> None:
    framing = parse("varint", max_frame=100)
    assert_fails(framing, bad, error)
    assert_fails(framing, bad, error, before=b"\x00\x01a")


def test_max_frame_counts_the_length_too() -> None:
    framing = parse("varint", max_frame=130)
    assert_cuts(framing, b"\x80\x01" + bytes(128), [bytes(128)])
    assert len(framing.encode(bytes(128))) == 130
    with pytest.raises(EncodeError, match=r"129 bytes makes a frame over max_frame \(130 bytes\)"):
        framing.encode(bytes(129))


def test_the_end_inside_a_frame() -> None:
    assert_truncated(
        parse("varint"), b"\xff\xff", "the stream ended 1 byte short of a frame's next part"
    )
    assert_truncated(
        parse("varint"), b"\x05abc", "the stream ended 2 bytes short of a frame's next part"
    )


@given(size=st.integers(0, 1 << 17), step=st.integers(1000, 1 << 18))
def test_every_size(size: int, step: int) -> None:
    framing = Varint("varint", 1 << 20)
    message = bytes(size)
    frame = framing.encode(message)
    assert len(frame) - size == max(1, -(-size.bit_length() // 7))
    assert cut(framing, frame * 2, step) == [message] * 2
