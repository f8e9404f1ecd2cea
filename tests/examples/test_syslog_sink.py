"""The syslog sink as its protocol is written; logger and rsyslogd are in ``tests/services``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import epollo.testing
from epollo import FrameCorrupt
from examples.syslog_sink import Either, Sink
from tests.examples.support import example
from tests.support import Peer, until


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    sink = Sink(str(tmp_path / "messages.log"))
    yield sink
    sink.file.close()


def written(sink: Sink, tmp_path: Path, *frames: bytes) -> list[str]:
    with epollo.testing.connect(sink, framing=Either, peername="peer") as connection:
        for frame in frames:
            assert connection.receive(frame) == []
    return (tmp_path / "messages.log").read_text("utf-8").splitlines()


def test_frames_of_both_kinds_are_found() -> None:
    frames = [b"<13>one\n", b"7 <13>one", b"two\n", b"12 <34>with\nLF\n", b"<0>\r\n", b"1 2"]
    epollo.testing.check_framing(Either, frames, frames)


@pytest.mark.parametrize("stream", [b"0 ", b"00 x", b"1x", b"7<13>one", b"1234567890", b"9" * 99])
def test_other_bytes_are_corrupt(stream: bytes) -> None:
    with pytest.raises(FrameCorrupt):
        Either("either").decoder().feed(stream)


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (b"<34>1 2026-01-01T00:00:00Z host su - - - text\n", "auth.crit 1 2026-01-01T00:00:00Z "),
        (b"<191>x\n", "local7.debug x"),
        (b"<0>x\n", "kern.emerg x"),
        (b"no priority\n", "user.notice no priority"),
        (b"<192>x\n", "user.notice <192>x"),
        (b"<999999>x\n", "user.notice <999999>x"),
        (b"<01>x\n", "user.notice <01>x"),
        (b"<13>x\r\n", "user.notice x"),
        (b"9 <13>a\nb\0\n", "user.notice a\\x0ab"),
        (b"<13>\x1b[2J\x00\xff\xc2\x85\n", "user.notice \\x1b[2J\\x00\\xff\\x85"),
        ("<13>grüße\u2028x\n".encode(), "user.notice grüße\\x2028x"),
    ],
)
def test_a_message_is_one_line(sink: Sink, tmp_path: Path, frame: bytes, line: str) -> None:
    (found,) = written(sink, tmp_path, frame)
    assert found.startswith(f"peer {line}")


def test_the_program(tmp_path: Path) -> None:
    path = tmp_path / "messages.log"
    with example("syslog_sink", str(path)) as server, Peer(server.address) as peer:
        peer.send(b"<13>one\n7 <13>two")
        until(lambda: path.read_text().count("\n") == 2)
    assert [line.split()[1:] for line in path.read_text().splitlines()] == [
        ["user.notice", "one"],
        ["user.notice", "two"],
    ]
