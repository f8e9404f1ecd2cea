"""The WebSocket server as its protocol is written; websockets is in ``tests/services``."""

from __future__ import annotations

import pytest

from examples.websocket_echo import (
    BINARY,
    CLOSE,
    MAX_MESSAGE,
    PING,
    PONG,
    TEXT,
    Echo,
    close_frame,
    encoded,
)
from tests.engines import Engine
from tests.examples.support import both_ways
from tests.support import Peer, ServerProcess

# The handshake of RFC 6455, 1.2 and 1.3.
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Origin: http://example.com\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
MASK = bytes.fromhex("37fa213d")


def masked(frame: bytes) -> bytes:
    """A frame of a client, made of one of a server."""
    start = {126: 4, 127: 10}.get(frame[1], 2)
    data = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(frame[start:]))
    return frame[:1] + bytes([frame[1] | 0x80]) + frame[2:start] + MASK + data


def final(frame: bytes, value: bool) -> bytes:
    return bytes([frame[0] & 0x7F | 0x80 * value]) + frame[1:]


def exchange(engine: Engine, *sent: bytes) -> bytes:
    """All that the server sends for these bytes, behind its handshake, until the end."""
    with (
        engine.server(Echo(), framing="headers", max_frame=2 * MAX_MESSAGE) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(REQUEST)
        assert peer.receive(len(RESPONSE)) == RESPONSE
        for data in sent:
            peer.send(data)
        peer.end()
        return peer.receive_until_gone()


def test_the_examples_of_the_standard(engine: Engine) -> None:
    """5.7; frames of servers are not masked."""
    assert masked(encoded(TEXT, b"Hello")) == bytes.fromhex("818537fa213d7f9f4d5158")
    for frame in (
        encoded(TEXT, b"Hello"),
        encoded(BINARY, bytes(range(256))),
        encoded(BINARY, bytes(65536)),
        encoded(TEXT, b""),
    ):
        assert exchange(engine, masked(frame)) == frame
    first, second = final(encoded(TEXT, b"Hel"), False), encoded(0, b"lo")
    ping, pong = encoded(PING, b"Hello"), encoded(PONG, b"Hello")
    found = exchange(engine, masked(first) + masked(ping) + masked(pong) + masked(second))
    assert found == pong + encoded(TEXT, b"Hello")


def test_frames_may_follow_the_request_at_once(engine: Engine) -> None:
    with (
        engine.server(Echo(), framing="headers") as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(REQUEST + masked(encoded(TEXT, b"early")) + masked(encoded(CLOSE, b"")))
        assert peer.receive_all() == RESPONSE + encoded(TEXT, b"early") + encoded(CLOSE, b"")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (encoded(TEXT, b"not masked"), 1002),
        (masked(b"\xc1\x01x"), 1002),
        (masked(encoded(3, b"")), 1002),
        (masked(encoded(11, b"")), 1002),
        (masked(encoded(0, b"rest of nothing")), 1002),
        (masked(final(encoded(TEXT, b"a"), False)) + masked(encoded(TEXT, b"b")), 1002),
        (masked(final(encoded(PING, b""), False)), 1002),
        (masked(encoded(PING, bytes(126))), 1002),
        (masked(encoded(CLOSE, b"\x03")), 1002),
        (masked(encoded(CLOSE, b"\x03\xe7")), 1002),  # 999
        (masked(encoded(CLOSE, b"\x03\xe8\xff")), 1007),
        (masked(final(encoded(TEXT, b"\xc3"), False)) + masked(encoded(0, b"(")), 1007),
        (
            masked(final(encoded(BINARY, bytes(MAX_MESSAGE)), False)) + masked(encoded(0, b"x")),
            1009,
        ),
    ],
)
def test_a_frame_against_the_rules_is_told_of(engine: Engine, sent: bytes, code: int) -> None:
    behind = masked(encoded(TEXT, b"not answered"))
    found = exchange(engine, sent + behind)
    assert found[:4] == close_frame(code, found[4:].decode())[:4]
    assert found[0] == 0x80 | CLOSE
    assert b"answered" not in found


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b"GET", b"POST", b"this is not a GET of HTTP/1.1"),
        (b"HTTP/1.1", b"HTTP/1.0", b"this is not a GET of HTTP/1.1"),
        (b"GET /chat HTTP/1.1", b"\xff", b"this is not a GET of HTTP/1.1"),
        (b"Upgrade: websocket", b"Upgrade: h2c", b"there is no upgrade to websocket"),
        (b"keep-alive, Upgrade", b"keep-alive", b"Connection does not name Upgrade"),
        (b"Version: 13", b"Version: 8", b"Sec-WebSocket-Version is not 13"),
        (b"dGhlIHN", b"dGhl", b"Sec-WebSocket-Key is not 16 bytes in base64"),
        (b"dGhlIHN", b"\xfchlIHN", b"Sec-WebSocket-Key is not 16 bytes in base64"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZXM=", b"is not 16 bytes in base64"),
    ],
)
def test_another_request_is_refused(engine: Engine, old: bytes, new: bytes, text: bytes) -> None:
    with (
        engine.server(Echo(), framing="headers") as server,
        Peer(server.addresses[0]) as peer,
    ):
        assert old in REQUEST
        peer.send(REQUEST.replace(old, new))
        response = peer.receive_all()
        assert response.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in response
        assert response.endswith(text + b"\n")


def test_a_server_of_ones_own_answers_what_it_likes(engine: Engine) -> None:
    class Shout(Echo):
        def answer(self, message: str | bytes) -> str | bytes | None:
            return message.upper() if isinstance(message, str) else None

    with engine.server(Shout(), framing="headers") as server, Peer(server.addresses[0]) as peer:
        peer.send(REQUEST + masked(encoded(BINARY, b"x")) + masked(encoded(TEXT, b"hi")))
        peer.end()
        assert peer.receive_all() == RESPONSE + encoded(TEXT, b"HI")


@both_ways("websocket_echo", "Echo", "--framing", "headers")
def test_the_program(server: ServerProcess) -> None:
    with Peer(server.address) as peer:
        peer.send(REQUEST)
        assert peer.receive(len(RESPONSE)) == RESPONSE
