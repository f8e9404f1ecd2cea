"""The blocking client: requests, iteration, and a clear error for each way a connection ends."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import epollo
from epollo import Client, address
from tests.conftest import Engine
from tests.support import DEADLINE, Recorder, frame


@contextmanager
def peer_that(act: Callable[[socket.socket], object], **settings: Any) -> Iterator[Client]:
    """A client whose server does ``act`` with its connection, and then closes it."""

    def serve() -> None:
        with listener.accept()[0] as sock:
            sock.settimeout(DEADLINE)
            act(sock)

    with address.listen(address.parse("127.0.0.1:0"), 1) as listener:
        listener.setblocking(True)
        thread = threading.Thread(target=serve)
        thread.start()
        with epollo.connect(
            str(address.of(listener.getsockname())), timeout=0.2, **settings
        ) as client:
            yield client
        thread.join()


@pytest.mark.parametrize(
    "framing", ["u8", "u16", "u32", "u64", "u32le", "line", "varint", "netstring"]
)
def test_request(engine: Engine, framing: str) -> None:
    with (
        engine.server(lambda message: message.upper(), framing=framing) as server,
        epollo.connect(server.addresses[0], framing=framing) as client,
    ):
        assert client.request(b"hello") == b"HELLO"


def test_pipelined_requests_are_answered_in_order(engine: Engine) -> None:
    with engine.server(Recorder()) as server, epollo.connect(server.addresses[0]) as client:
        requests = [b"%d" % number for number in range(1000)]
        for request in requests:
            client.send(request)
        client.end()
        assert list(client) == requests


def test_the_end_of_the_stream_is_stream_ended() -> None:
    with peer_that(lambda sock: sock.sendall(frame(b"last"))) as client:
        assert client.receive() == b"last"
        with pytest.raises(epollo.StreamEnded, match=r"127\.0\.0\.1:\d+ has closed"):
            client.receive()


def test_the_end_inside_a_frame_is_truncated() -> None:
    with (
        peer_that(lambda sock: sock.sendall(frame(b"cut short")[:-1])) as client,
        pytest.raises(epollo.FrameTruncated, match="1 bytes short"),
    ):
        client.receive()


def test_a_reset_is_connection_closed() -> None:
    def reset(sock: socket.socket) -> None:
        assert sock.recv(100) == frame(b"hello")  # so that the client is past its connect
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with (
        peer_that(reset) as client,
        pytest.raises(epollo.ConnectionClosed, match="broken: connection reset"),
    ):
        client.request(b"hello")


def test_no_reply_is_a_timeout_and_a_later_reply_is_not_lost() -> None:
    late = threading.Event()

    def answer_late(sock: socket.socket) -> None:
        assert late.wait(DEADLINE)
        sock.sendall(frame(b"late"))

    with peer_that(answer_late) as client:
        with pytest.raises(epollo.ReplyTimeout, match=r"no message from .* in 0\.2 s"):
            client.receive()
        late.set()
        client.timeout = DEADLINE
        assert client.receive() == b"late"


def test_trickled_bytes_do_not_extend_the_timeout() -> None:
    def trickle(sock: socket.socket) -> None:
        try:
            while not gone.wait(0.02):
                sock.sendall(b"x")  # of a line that never ends
        except ConnectionError:
            pass

    gone = threading.Event()
    with peer_that(trickle, framing="line") as client:
        with pytest.raises(epollo.ReplyTimeout):
            client.receive()
        gone.set()


def test_a_peer_that_does_not_read_is_a_timeout() -> None:
    closed = threading.Event()
    with peer_that(lambda _: closed.wait(DEADLINE), max_frame=1 << 28) as client:
        with pytest.raises(epollo.ReplyTimeout, match="did not take the message"):
            client.send(bytes(100_000_000))
        closed.set()
        with pytest.raises(epollo.ConnectionClosed, match="closed: a message was not taken"):
            client.send(b"more")


def test_a_frame_too_large_comes_behind_the_messages_before_it() -> None:
    with peer_that(lambda sock: sock.sendall(frame(b"good") + b"HTTP/1.1 400 Bad")) as client:
        assert client.receive() == b"good"
        for _ in range(2):
            with pytest.raises(epollo.FrameTooLarge):
                client.receive()


def test_a_message_that_cannot_be_sent_leaves_the_connection_usable(engine: Engine) -> None:
    with (
        engine.server(Recorder(), framing="u8") as server,
        epollo.connect(server.addresses[0], framing="u8") as client,
    ):
        with pytest.raises(epollo.EncodeError):
            client.send(bytes(256))
        assert client.request(b"fine") == b"fine"


def test_nothing_listening_is_connect_failed() -> None:
    with address.listen(address.parse("127.0.0.1:0"), 1) as closed:
        nobody = str(address.of(closed.getsockname()))
    with pytest.raises(epollo.ConnectFailed, match=f"cannot connect to {nobody}: "):
        epollo.connect(nobody)
