"""Header lines, and a body of as many bytes as one of them says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from epollo.errors import EncodeError, FrameCorrupt, FrameError, FrameTooLarge
from epollo.framing import parse
from epollo.framing.headers import MOST_HEADERS
from tests.framing.support import assert_cuts, assert_fails, assert_truncated, cut, outcome


@pytest.mark.parametrize(
    ("spec", "frames"),
    [
        ("lsp", [b"Content-Length: 2\r\n\r\n{}", b"content-length:0\r\n\r\n"]),
        (
            "headers",
            [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"A: b\r\nCONTENT-LENGTH:\t1 \r\n\r\nx"],
        ),
        ("headers", [b"l: 5\r\n\r\n", b"Content-Lengthy: 5\r\n\r\n", b"\r\n\r\n"]),
        ("sip", [b"OPTIONS sip:a SIP/2.0\r\nL: 5\r\n\r\nhello", b"To: <sip:a>\r\n ;x=y\r\n\r\n"]),
        ("headers", [b"Content-Length: 4\r\n\r\n\r\n\r\n", b"a: b\r\n\r\n"]),
    ],
)
def test_a_message_is_the_whole_frame(spec: str, frames: list[bytes]) -> None:
    assert_cuts(parse(spec), b"".join(frames), frames)
    assert [*map(parse(spec).encode, frames)] == frames


BARE = FrameCorrupt("headers have a CR or LF that is not part of CR LF")
SECOND = FrameCorrupt("headers have a second Content-Length")
ENCODING = FrameCorrupt("headers have a Transfer-Encoding")


def no_number(value: bytes) -> FrameCorrupt:
    return FrameCorrupt(f"Content-Length is {value!r} instead of a number")


def no_colon(line: bytes) -> FrameCorrupt:
    return FrameCorrupt(f"Content-Length is not followed by a colon: {line!r}")


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b"\n", BARE),
        (b"GET / HTTP/1.1\n", BARE),
        (b"A: b\rx", BARE),
        (b"A: b\r\n\n", BARE),
        (b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", SECOND),
        (b"Content-Length: 1\r\nA: b\r\ncontent-length: 2\r\n\r\n", SECOND),
        (b"l: 1\r\nContent-Length: 1\r\n\r\n", SECOND),
        (b"Transfer-Encoding: chunked\r\n\r\n", ENCODING),
        (b"Content-Length: 1\r\ntransfer-encoding : x\r\n\r\n", ENCODING),
        *(
            (b"Content-Length: %b\r\n\r\n" % value, no_number(value))
            for value in (b"", b"+1", b"-1", b"1, 1", b"0x1", b"01", b"1 1", b"\xb2", b"1_0")
        ),
        (b"Content-Length: %b\r\n\r\n" % (b"9" * 19), FrameCorrupt(
            "Content-Length has 19 digits, over 18"
        )),
        (b"Content-Length : 1\r\n\r\n", no_colon(b"Content-Length : 1")),
        (b"Content-Length\x0b: 1\r\n\r\n", no_colon(b"Content-Length\x0b: 1")),
        (b" Content-Length: 1\r\n\r\n", no_colon(b" Content-Length: 1")),
        (b"Content-Length\r\n\r\n", no_colon(b"Content-Length")),
        (b"Content-Length: 1\r\n 2\r\n\r\n", FrameCorrupt(
            "Content-Length has more than one line"
        )),
        (b"Content-Length: 80\r\n\r\n", FrameTooLarge(102, 100)),
        (b"x" * 101, FrameTooLarge(101, 100)),
        (b"x" * 97 + b"\r\n\r\n", FrameTooLarge(101, 100)),
    ],
)  # fmt: skip
def test_what_two_readers_may_understand_differently_is_corrupt(
    bad: bytes, error: FrameError
) -> None:
    framing = parse("headers(alias=l)", max_frame=100)
    assert_fails(framing, bad, error)
    assert_fails(framing, bad, error, before=b"Content-Length: 2\r\n\r\n{}")


def test_headers_are_limited_even_if_frames_are_not() -> None:
    framing = parse("headers", max_frame=1 << 30)
    block = b"x" * (MOST_HEADERS - 4) + b"\r\n\r\n"
    assert cut(framing, block) == [block]
    messages, error, text = outcome(framing, [b"x" + block])
    assert (messages, error) == ([], FrameTooLarge)
    assert text == str(FrameTooLarge(MOST_HEADERS + 1, MOST_HEADERS))


def test_many_header_lines_in_single_bytes_take_linear_time() -> None:
    frame = b"a:\r\n" * 15_000 + b"Content-Length: 1\r\n\r\nx"
    assert cut(parse("headers"), frame, 1) == [frame]


def test_the_end_inside_a_frame() -> None:
    frame = b"Content-Length: 3\r\n\r\nab"
    assert_truncated(parse("headers"), frame, "the stream ended 23 bytes into a frame")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "message of 0 bytes has no empty line after headers"),
        (b"{}", "message of 2 bytes has no empty line after headers"),
        (b"Content-Length: 3\r\n\r\n{}", "message of 23 bytes has a length for 24 in it"),
        (b"Content-Length: x\r\n\r\n{}", "message is not a frame of lsp: Content-Length is b'x'"),
    ],
)
def test_a_message_that_is_not_one_frame_is_not_sent(message: bytes, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        parse("lsp").encode(message)


def test_names_are_the_same_in_every_locale(tmp_path: Path) -> None:
    """In a Turkish one, strncasecmp(3) has no I that is an i: a header that makes the frame
    corrupt would be overlooked by one engine."""
    compiled = tmp_path / "tr_TR.ISO-8859-9"
    try:
        subprocess.run(
            ["localedef", "-i", "tr_TR", "-f", "ISO-8859-9", compiled],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("localedef(1) has no source of this locale")
    environment = {**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": compiled.name}
    found = subprocess.run(
        [sys.executable, "-c", _IN_A_LOCALE], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == "tr_TR.ISO-8859-9\n"


_IN_A_LOCALE = """
import locale
from epollo.errors import FrameCorrupt
from epollo.framing import parse
from tests.framing.support import cut, outcome
print(locale.setlocale(locale.LC_CTYPE))
assert outcome(parse("headers"), [b"TRANSFER-ENCODING: x\\r\\n\\r\\n"]).error is FrameCorrupt
frame = b"ID: 1\\r\\n\\r\\nx"
assert cut(parse("headers(alias=id)"), frame) == [frame]
"""
