"""What a peer may keep the server waiting, and a handler."""

from __future__ import annotations

import threading
import time

import pytest

from epollo import CloseReason
from tests.conftest import Engine, Log
from tests.support import Peer, Recorder, frame

ON = {"idle_timeout": 0.2, "frame_timeout": 0.2, "write_timeout": 0.2}


def test_an_idle_peer_is_closed_and_a_busy_one_kept(engine: Engine) -> None:
    handler = Recorder()
    with (
        engine.server(handler, idle_timeout=0.3) as server,
        Peer(server.addresses[0]) as busy,
        Peer(server.addresses[0]) as idle,
    ):
        idle.socket.setblocking(False)
        assert idle_until_closed(idle, busy) > 3
        assert handler.end() is CloseReason.IDLE_TIMEOUT
        assert busy.ask(b"still here") == b"still here"


def idle_until_closed(idle: Peer, busy: Peer) -> int:
    """How often ``busy`` was answered before ``idle`` was closed."""
    for count in range(1_000_000):
        busy.ask(b"busy")
        try:
            assert idle.socket.recv(1) == b""
        except BlockingIOError:
            continue
        return count
    raise AssertionError("it was never closed")


def test_a_peer_that_is_only_sent_to_is_not_idle(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler, idle_timeout=0.3) as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        start = time.monotonic()
        while time.monotonic() < start + 0.9:  # three times the timeout
            connection.send(b"news")
            assert peer.receive(8) == frame(b"news")
        assert handler.ends.empty()


@pytest.mark.parametrize(
    ("framing", "begin"),
    [
        ("u32", b"\0\0\0\7abc"),
        ("line", b"endless"),
        ("netstring", b"9:nine"),
        ("length(offset=4,size=2)", b"head\0\7abc"),
    ],
)
def test_trickled_bytes_do_not_extend_a_frames_deadline(
    engine: Engine, framing: str, begin: bytes
) -> None:
    handler = Recorder()
    with engine.server(handler, frame_timeout=0.3, framing=framing) as server:
        with Peer(server.addresses[0]) as peer:
            assert trickle(peer, begin) > 1
        assert handler.end() is CloseReason.FRAME_TIMEOUT
        assert handler.messages.empty()


def trickle(peer: Peer, begin: bytes) -> int:
    """Send a frame's begin, a byte at a time, until the server closes."""
    peer.socket.settimeout(0.05)
    for sent in range(1000):
        try:
            peer.send(begin[sent : sent + 1])
            if not peer.socket.recv(1):
                return sent
        except TimeoutError:
            continue
    raise AssertionError("it was never closed")


def test_whole_frames_are_never_late_however_slowly_they_come(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler, frame_timeout=0.2) as server, Peer(server.addresses[0]) as peer:
        start = time.monotonic()
        while time.monotonic() < start + 0.8:  # each read ends within a frame
            peer.send(frame(b"one") + frame(b"two")[:3])
            assert peer.receive(7) == frame(b"one")
            peer.send(frame(b"two")[3:])
            assert peer.receive(7) == frame(b"two")
        assert handler.ends.empty()


def test_a_frame_that_begins_where_another_ends_has_its_own_time(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler, frame_timeout=0.4) as server, Peer(server.addresses[0]) as peer:
        stream = frame(b"one") * 8
        peer.send(stream[:3])
        start = time.monotonic()
        for end in range(7, len(stream), 7):  # each read ends a frame and begins the next
            peer.send(stream[end - 4 : end + 3])
            assert peer.receive(7) == frame(b"one")
            threading.Event().wait(0.15)
        assert time.monotonic() - start > 0.8  # twice the timeout
        assert handler.ends.empty()


@pytest.mark.parametrize("count", [0, 1])
def test_the_first_frames_time_begins_when_it_does(engine: Engine, count: int) -> None:
    handler = Recorder()
    with (
        engine.server(handler, frame_timeout=0.2, proxy_protocol="required") as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(b"PROXY UNKNO")
        threading.Event().wait(0.5)  # a handshake may take longer than a frame
        start = time.monotonic()
        peer.send(b"WN\r\n" + frame(b"one") * count + b"\0")
        assert peer.receive_all() == frame(b"one") * count
        assert handler.end() is CloseReason.FRAME_TIMEOUT
        assert time.monotonic() - start > 0.2


def test_what_came_before_a_late_frame_is_answered(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler, frame_timeout=0.1) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"whole") + frame(b"cut")[:-1])
        assert peer.receive_all() == frame(b"whole")
        assert handler.end() is CloseReason.FRAME_TIMEOUT


def test_a_peer_that_takes_nothing_is_closed(engine: Engine) -> None:
    handler = Recorder()
    size = 8 << 20  # more than the kernel's buffers take
    with (
        engine.server(handler, write_timeout=0.2, max_frame="16MiB") as server,
        Peer(server.addresses[0], receive_buffer=4096),
    ):
        handler.connection().send(bytes(size))
        assert handler.end() is CloseReason.WRITE_TIMEOUT


def test_a_peer_that_takes_a_little_now_and_then_is_kept(engine: Engine) -> None:
    handler = Recorder()
    size = 8 << 20
    with engine.server(handler, write_timeout=0.4, max_frame="16MiB") as server:
        with Peer(server.addresses[0]) as peer:
            handler.connection().send(bytes(size))
            start = time.monotonic()
            taken = 0
            while time.monotonic() < start + 1:  # more than twice the timeout
                taken += len(peer.receive(64 << 10))
                threading.Event().wait(0.01)
            assert peer.receive(size + 4 - taken)[-1:] == b"\0"
            assert peer.ask(b"well") == b"well"
        assert handler.end() is CloseReason.EOF


def test_a_slow_handler_is_named_once_a_second(engine: Engine, log: Log) -> None:
    def sleeps(message: bytes) -> bytes:
        time.sleep(0.15 if message == b"slow" else 0)
        return message

    with engine.server(sleeps) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"quick") == b"quick"
        assert peer.ask(b"slow") == b"slow"
        assert peer.ask(b"slow") == b"slow"
    [line] = log.slow
    assert line.startswith("handler sleeps held the loop for 1")


def test_a_handler_may_be_slow_where_that_is_wanted(engine: Engine, log: Log) -> None:
    def sleeps(_: bytes) -> None:
        time.sleep(0.12)

    with engine.server(sleeps, slow_handler=0) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"slow"))
        peer.end()
        assert peer.receive_all() == b""
    assert log.slow == []


def test_a_peer_held_back_by_the_handler_is_neither_idle_nor_late(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler, **ON) as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        connection.pause_reading()
        peer.send(frame(b"later")[:-1])
        threading.Event().wait(0.6)  # three times the timeouts
        assert handler.ends.empty()
        peer.send(frame(b"later")[-1:])
        connection.resume_reading()
        assert peer.receive(9) == frame(b"later")
