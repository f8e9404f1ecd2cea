"""Messages of one fixed size."""

from __future__ import annotations

import pytest

from epollo.errors import EncodeError, FramingSpecError
from epollo.framing import Fixed, parse
from tests.framing.support import assert_cuts, assert_truncated


@pytest.mark.parametrize(
    ("spec", "stream", "messages"),
    [
        ("fixed:4", b"oneltwol", [b"onel", b"twol"]),
        ("fixed:1", b"ab\0", [b"a", b"b", b"\0"]),
        ("fixed:4", b"", []),
        ("fixed:1KiB", bytes(2048), [bytes(1024)] * 2),
    ],
)
def test_vectors(spec: str, stream: bytes, messages: list[bytes]) -> None:
    assert_cuts(parse(spec), stream, messages)
    assert b"".join(map(parse(spec).encode, messages)) == stream


@pytest.mark.parametrize("size", [0, 3, 5])
def test_any_other_length_is_refused(size: int) -> None:
    with pytest.raises(EncodeError, match=f"message of {size} bytes; fixed:4 takes 4"):
        parse("fixed:4").encode(bytes(size))


def test_the_end_inside_a_frame() -> None:
    assert_truncated(
        parse("fixed:4"), b"abc", "the stream ended 1 byte short of a frame's next part"
    )


def test_a_size_that_no_frame_can_have() -> None:
    assert Fixed("mine", 10, size=10).size == 10
    with pytest.raises(FramingSpecError, match=r"bad framing 'mine': 11 bytes are over max_frame"):
        Fixed("mine", 10, size=11)
    with pytest.raises(FramingSpecError, match="the size must be at least 1"):
        Fixed("mine", 10, size=0)
