"""Messages that end at a delimiter, and lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epollo.errors import EncodeError, FrameTooLarge, FramingSpecError
from epollo.framing import Delimiter, parse
from tests.framing.support import (
    assert_cuts,
    assert_fails,
    assert_truncated,
    cut,
    outcome,
    pieces,
)


@pytest.mark.parametrize(
    ("spec", "stream", "messages"),
    [
        ("line", b"one\n\ntwo\r\n", [b"one", b"", b"two"]),
        ("line", b"lone\rcr\r\r\n", [b"lone\rcr\r"]),
        ("line", b"\r\n\n", [b"", b""]),
        ("delimiter:\\0", b"one\0\0two\0", [b"one", b"", b"two"]),
        ("delimiter:\\r\\n", b"one\r\n\r\ntwo\rthree\nfour\r\r\n", [
            b"one", b"", b"two\rthree\nfour\r",
        ]),
        ("delimiter:--", b"one----a-b--", [b"one", b"", b"a-b"]),
        ("delimiter:--", b"---a--", [b"", b"-a"]),
        ("delimiter:aab", b"aaab", [b"a"]),
        ("delimiter:aba", b"ababaaba", [b"", b"ba"]),
        ("delimiter:END", b"ENEND" + b"END", [b"EN", b""]),
    ],
)  # fmt: skip
def test_vectors(spec: str, stream: bytes, messages: list[bytes]) -> None:
    assert_cuts(parse(spec), stream, messages)


def test_encoding() -> None:
    assert parse("line").encode(b"lone\rcr") == b"lone\rcr\n"
    assert parse("delimiter:--").encode(b"a-b") == b"a-b--"
    assert parse("delimiter:--").encode(b"") == b"--"


@pytest.mark.parametrize(
    ("spec", "message", "why"),
    [
        ("line", b"two\nlines", "with LF"),
        ("line", b"cr at the end\r", "ends in CR"),
        ("line", bytes((1 << 20) + 1), "over max_frame"),
        ("delimiter:\\0", b"a\0b", r"with its delimiter b'\\x00' in it"),
        ("delimiter:--", b"a--b", "with its delimiter b'--' in it"),
        ("delimiter:--", b"a-", "with its delimiter"),
        ("delimiter:aba", b"ab", "with its delimiter"),
        ("delimiter:abab", b"xab", "with its delimiter"),
        ("delimiter:x", bytes((1 << 20) + 1), "over max_frame"),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused(spec: str, message: bytes, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        parse(spec).encode(message)


@given(message=st.text("ab", max_size=8), delimiter=st.text("ab", min_size=1, max_size=4))
def test_a_refused_message_would_have_arrived_changed(message: str, delimiter: str) -> None:
    framing = Delimiter("mine", 100, delimiter=delimiter.encode())
    sent = message.encode()
    arrives = outcome(framing, [sent + framing.delimiter]) == ([sent], None, "")
    try:
        assert framing.encode(sent) == sent + framing.delimiter
    except EncodeError:
        assert not arrives
    else:
        assert arrives


@given(
    stream=st.text("ab", max_size=30),
    delimiter=st.text("ab", min_size=1, max_size=4),
    step=st.integers(1, 30),
)
def test_streams_are_split_as_bytes_split_does(stream: str, delimiter: str, step: int) -> None:
    framing = Delimiter("mine", 100, delimiter=delimiter.encode())
    *messages, _ = stream.encode().split(framing.delimiter)
    assert outcome(framing, pieces(stream.encode(), step)).messages == messages


def test_a_line_over_max_frame_is_refused_before_its_end() -> None:
    framing = parse("line", max_frame=4)
    assert_cuts(framing, b"four\nfour\r\n", [b"four", b"four"])
    for bad in (b"five5", b"four\rx", b"four\r\r", b"\r\r\r\r\r\r"):
        assert_fails(framing, bad, FrameTooLarge(5, 4), before=b"four\r\n")


def test_a_message_over_max_frame_is_refused_before_its_delimiter() -> None:
    """At the first byte over the limit that cannot belong to a delimiter that starts in time."""
    framing = parse("delimiter:ab", max_frame=4)
    assert_cuts(framing, b"fourabaaaaab", [b"four", b"aaaa"])
    for bad in (b"fivex", b"fouraa", b"fourax", b"fourb", b"aaaaaa"):
        assert_fails(framing, bad, FrameTooLarge(5, 4), before=b"fourab")
    longer = parse("delimiter:aabaac", max_frame=3)
    assert_cuts(longer, b"aabaabaac", [b"aab"])
    for bad in (b"aabaabaab", b"xxxaabaax", b"xxxx", b"xxxaaa"):
        assert_fails(longer, bad, FrameTooLarge(4, 3))


def test_the_delimiter_is_not_counted_in_max_frame() -> None:
    framing = parse("delimiter:" + "x" * 50, max_frame=3)
    assert cut(framing, framing.encode(b"abc") * 2, 1) == [b"abc", b"abc"]
    with pytest.raises(EncodeError, match="4 bytes makes a frame over max_frame"):
        framing.encode(b"abcd")


def test_the_end_inside_a_message() -> None:
    assert_truncated(parse("line"), b"abc\r", "the stream ended 4 bytes into a line")
    assert_truncated(parse("delimiter:--"), b"a-", "the stream ended 2 bytes into a message")


def test_the_attributes_that_another_decoder_needs() -> None:
    framing = Delimiter("mine", 99, delimiter=b"\r\n")
    assert (framing.name, framing.max_frame, framing.delimiter) == ("mine", 99, b"\r\n")
    with pytest.raises(FramingSpecError, match="the delimiter is empty"):
        Delimiter("mine", 99, delimiter=b"")
