"""How closes are logged: one line for each connection, at the level of its reason."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from epollo import CloseReason, Connection
from epollo.filters.proxy import HEAD, V2
from epollo.server.application_protocol import LEVELS
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, Recorder, frame


@pytest.fixture
def lines() -> Iterator[Log]:
    logger, handler = logging.getLogger("epollo.server"), Log(logging.DEBUG)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)


def test_every_reason_has_a_level() -> None:
    assert LEVELS.keys() == set(CloseReason)


def end(peer: Peer) -> None:
    peer.end()
    assert peer.receive_all() == b""


def reset(peer: Peer) -> None:
    peer.reset()


def cut(peer: Peer) -> None:
    peer.send(frame(b"cut")[:-1])
    end(peer)


def overdo(peer: Peer) -> None:
    peer.send(b"\xff" * 4)
    assert peer.receive_all() == b""


@pytest.mark.parametrize(
    ("leave", "level", "why"),
    [
        (end, logging.DEBUG, "eof"),
        (reset, logging.DEBUG, "reset: [Errno 104] Connection reset by peer"),
        (cut, logging.INFO, "truncated: "),
        (overdo, logging.INFO, "frame_too_large: frame of 4294967299 bytes is over max_frame"),
    ],
)
def test_a_close_is_one_line(
    engine: Engine, lines: Log, leave: Callable[[Peer], None], level: int, why: str
) -> None:
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        name = handler.connection().peername
        leave(peer)
        handler.end()
    ((found, line),) = lines.take_with_levels()
    assert found == level
    assert line.startswith(f"closed {name}: {why}")
    assert lines.tracebacks == 0


def test_a_reset_while_replies_are_sent_is_one_debug_line(engine: Engine, lines: Log) -> None:
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0], 4096) as peer:
        peer.send(frame(bytes(1 << 19)) * 4)
        connection = handler.connection()
        handler.message()
        peer.reset()
        assert handler.end() is CloseReason.RESET
        name = connection.peername
    ((level, line),) = lines.take_with_levels()
    assert level == logging.DEBUG
    assert line.startswith(f"closed {name}: reset: ")
    assert lines.tracebacks == 0


def test_a_handlers_error_is_one_line_with_its_traceback(
    engine: Engine, lines: Log, log: Log
) -> None:
    def broken(message: bytes) -> bytes:
        raise ZeroDivisionError(message)

    with engine.server(broken) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"1") + frame(b"2"))
        assert peer.receive_all() == b""
    ((level, line),) = lines.take_with_levels()
    assert level == logging.ERROR
    assert line.startswith("handler broken raised, closed 127.0.0.1:")
    assert lines.tracebacks == 1
    assert log.take() == [line]


def test_what_this_side_closes_is_a_debug_line(engine: Engine, lines: Log) -> None:
    def leaving(message: bytes, connection: Connection) -> bytes:
        connection.close()
        return message

    with engine.server(leaving) as server:
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"bye") == b"bye"
            assert peer.receive_all() == b""
        with Peer(server.addresses[0]) as peer:
            server.stop()
            assert peer.receive_all() == b""
    levels, texts = zip(*lines.take_with_levels(), strict=True)
    assert set(levels) == {logging.DEBUG}
    assert [text.rpartition(": ")[2] for text in texts] == ["local", "shutdown"]


def broken(message: bytes) -> bytes:
    raise ZeroDivisionError(message)


NAMES = {
    "a line break": "\nERROR all is lost",
    "an escape sequence": "\x1b[31mred",
    "a carriage return": "\rERROR all is lost",
    "a line separator": "\N{LINE SEPARATOR}ERROR all is lost",
    "a byte that is no text": os.fsdecode(b"\xff"),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("message", [b"\xff" * 4, frame(b"broken")], ids=["peer", "handler"])
@pytest.mark.parametrize("way", ["bound", "told by a proxy"])
def test_a_line_shows_no_control_character_of_a_name(
    engine: Engine, lines: Log, log: Log, way: str, message: bytes, name: str
) -> None:
    ours = f"epollo-test-{os.getpid()}"
    proxied = "off" if way == "bound" else "required"
    with (
        engine.server(broken, bind=f"unix:@{ours}", proxy_protocol=proxied),
        socket.socket(socket.AF_UNIX) as peer,
    ):
        peer.settimeout(DEADLINE)
        if way == "bound":
            peer.bind(b"\0" + os.fsencode(name))
        peer.connect(f"\0{ours}")
        if way != "bound":
            path = b"/" + os.fsencode(name)
            peer.sendall(HEAD.pack(V2, 0x21, 0x31, 216) + path.ljust(108, b"\0") + bytes(108))
        peer.sendall(message)
        assert peer.recv(1) == b""
    log.take()
    (line,) = lines.take()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("stream", "proxied"),
    [
        (b"\xff" * 4, "off"),
        (frame(b"cut")[:-1], "off"),
        (b"GET / HTTP/1.1\r\n", "required"),
        (frame(b"broken"), "off"),
    ],
    ids=["frame_too_large", "truncated", "proxy_error", "handler_error"],
)
def test_peers_cannot_fill_the_log(
    engine: Engine, lines: Log, log: Log, stream: bytes, proxied: str
) -> None:
    with engine.server(broken, proxy_protocol=proxied) as server:
        for _ in range(200):
            with Peer(server.addresses[0]) as peer:
                peer.send(stream)
                peer.end()
                assert peer.receive_all() == b""
    log.take()
    assert len(lines.take()) < 100
