"""websockets' clients speak to the WebSocket server."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.engines import Engine
from tests.interop.support import absent
from tests.services.support import complaints, example, port
from tests.support import DEADLINE, ServerProcess

pytestmark = pytest.mark.services

try:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
except ImportError:
    absent("websockets")


@pytest.fixture
def server(engine: Engine) -> Iterator[ServerProcess]:
    with example(engine, "websocket_echo:Echo", "--framing", "headers") as server:
        yield server
        assert complaints(server) == []


@contextmanager
def connected(server: ServerProcess, **options: Any) -> Iterator[Any]:
    with connect(f"ws://{server.address}/", open_timeout=DEADLINE, **options) as client:
        yield client


def send_frame(client: Any, first: int, data: bytes) -> None:
    """What a client of websockets does not send by itself: a frame with this first byte."""
    client.socket.sendall(bytes([first, 0x80 | len(data)]) + bytes(4) + data)  # a mask of zeros


def closed_with(client: Any) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=DEADLINE)
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)


def test_messages_of_all_sizes_come_back(server: ServerProcess) -> None:
    with connected(server) as client:
        for size in (0, 1, 3, 125, 126, 127, 65535, 65536, 1_000_000):
            for message in ("ü" * (size // 2), b"\x80" * size):
                client.send(message)
                assert client.recv(timeout=DEADLINE) == message


def test_fragments_are_one_message(server: ServerProcess) -> None:
    with connected(server) as client:
        client.send(["grü", "", "ße"])
        assert client.recv(timeout=DEADLINE) == "grüße"
        send_frame(client, 0x02, b"one ")
        assert client.ping("between").wait(DEADLINE)
        send_frame(client, 0x80, b"two")
        assert client.recv(timeout=DEADLINE) == b"one two"


def test_many_messages_at_once_come_back_in_order(server: ServerProcess) -> None:
    with connected(server) as client:
        for number in range(500):
            client.send(str(number))
        assert [client.recv(timeout=DEADLINE) for _ in range(500)] == [*map(str, range(500))]


def test_a_close_is_answered(server: ServerProcess) -> None:
    with connected(server) as client:
        client.close(3000, "enough")
        assert client.protocol.close_rcvd.code == 3000


@pytest.mark.parametrize(
    ("first", "data", "code"),
    [
        (0x81, b"\xff", 1007),  # a text that is not UTF-8
        (0x80, b"", 1002),  # the rest of no message
        (0x09, b"x", 1002),  # a part of a ping
        (0xC1, b"x", 1002),  # a reserved bit
        (0x88, b"\x03\xed", 1002),  # the code 1005
        (0x88, b"\x03\xe8\xff", 1007),
    ],
)
def test_a_frame_against_the_rules_is_told_of(
    server: ServerProcess, first: int, data: bytes, code: int
) -> None:
    with connected(server) as client, connected(server) as other:
        send_frame(client, first, data)
        assert closed_with(client) == code
        other.send("still here")
        assert other.recv(timeout=DEADLINE) == "still here"


def test_a_stop_is_told_of(server: ServerProcess) -> None:
    with connected(server) as client:
        client.send("hello")
        assert client.recv(timeout=DEADLINE) == "hello"
        server.signal(signal.SIGTERM)
        assert closed_with(client) == 1001
    assert server.wait() == 0


def test_a_browser_of_pages_is_told_what_this_is(server: ServerProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(port(server)), timeout=DEADLINE)
    connection.request("GET", "/")
    with connection.getresponse() as response:
        assert (response.status, response.getheader("Sec-WebSocket-Version")) == (426, "13")
        assert response.read() == b"there is no upgrade to websocket\n"
    connection.close()
