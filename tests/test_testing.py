"""A connection in memory does what a server's does; the plugin's servers come and go."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import epollo
from epollo import CloseReason, Connection, ConnectionClosed, EncodeError, UsageError, testing
from tests.engines import Engine
from tests.logs import Log
from tests.support import Peer, Recorder, frame


def test_messages_in_and_replies_out() -> None:
    handler = Recorder()
    with testing.connect(handler, peername="192.0.2.1:5") as connection:
        assert handler.opened.get_nowait() is connection
        assert connection.receive(b"hello") == [b"hello"]
        assert connection.receive(bytearray(b"again")) == [b"again"]
        assert connection.sent == [b"hello", b"again"]
        assert (connection.peername, connection.established) == ("192.0.2.1:5", True)
    assert handler.ends.get_nowait() is connection.reason is CloseReason.EOF
    assert handler.ends.empty()


def test_replies_of_every_kind_and_state() -> None:
    def handle(message: bytes, connection: Connection) -> Any:
        connection.state = (connection.state or 0) + 1
        return {b"none": None, b"list": [b"a", bytearray(b"b")]}.get(message, memoryview(b"view"))

    with testing.connect(handle) as connection:
        assert connection.receive(b"none") == []
        assert connection.receive(b"list") == [b"a", b"b"]
        assert connection.receive(b"") == [b"view"]
        assert connection.state == 3


def test_what_is_pushed_is_seen() -> None:
    with testing.connect(lambda _, connection: connection.send(b"to you")) as connection:
        assert connection.receive(b"") == [b"to you"]
        connection.send(b"later")
        assert connection.sent == [b"to you", b"later"]
        with pytest.raises(EncodeError, match="over max_frame"):
            connection.send(bytes(2 << 20))


def boom(message: bytes) -> Any:
    raise LookupError(message)


@pytest.mark.parametrize(
    ("handler", "error", "match"),
    [
        (boom, LookupError, "ask"),
        (lambda _: "text", TypeError, "handler returned str; return bytes, None"),
        (lambda _: 7, TypeError, "handler returned int"),
        (lambda _: b"two\nlines", EncodeError, "line"),
    ],
)
def test_what_closes_a_servers_connection_is_raised_to_the_test(
    engine: Engine, log: Log, handler: Callable[[bytes], Any], error: type[Exception], match: str
) -> None:
    class Handler(Recorder):
        def received(self, message: bytes, connection: Connection) -> Any:
            return handler(message)

    in_memory, served = Handler(), Handler()
    with testing.connect(in_memory, framing="line") as connection:
        with pytest.raises(error, match=match):
            connection.receive(b"ask")
        assert isinstance(connection.error, error)
        with pytest.raises(ConnectionClosed):
            connection.receive(b"more")
    assert in_memory.ends.get_nowait() is CloseReason.HANDLER_ERROR
    with engine.server(served, framing="line") as server, Peer(server.addresses[0]) as peer:
        peer.send(b"ask\n")
        assert peer.receive_all() == b""
        assert served.end() is CloseReason.HANDLER_ERROR
    assert len(log.take()) == 1
    connection.error = None  # whose traceback holds the connection


class Command(Recorder):
    """Does what its messages say, so that the same can be asked of memory and of a server."""

    def received(self, message: bytes, connection: Any) -> Any:
        for word in message.decode().split():
            match word:
                case "send":
                    connection.send(b"sent")
                case "close":
                    connection.close()
                case "abort":
                    connection.abort()
                case "raise":
                    raise LookupError(word)
                case "join":
                    connection.join("all")
                case "answer":
                    connection.defer()
                    connection.answer(b"answered")
                    return None
        return b"reply"


@pytest.mark.parametrize(
    "message",
    ["", "send", "close", "send close", "abort", "send abort", "abort raise", "close raise",
     "send raise", "answer", "close answer", "join", "abort join", "close join", "close send"],
)  # fmt: skip
def test_a_server_answers_and_ends_the_same(engine: Engine, log: Log, message: str) -> None:
    in_memory, served = Command(), Command()
    with testing.connect(in_memory) as connection:
        try:
            connection.receive(message.encode())
        except Exception as error:
            error.__traceback__ = None
    with engine.server(served) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(message.encode()))
        peer.end()
        answered = peer.receive_all()
        assert b"".join(map(frame, connection.sent)) == answered
        assert served.end() is in_memory.ends.get_nowait() is connection.reason
    log.take()


def test_paused_messages_wait() -> None:
    with testing.connect(Recorder()) as connection:
        connection.pause_reading()
        assert connection.receive(b"1") == connection.receive(b"2") == []
        connection.resume_reading()
        assert connection.sent == [b"1", b"2"]


def test_the_next_message_waits_for_a_deferred_reply() -> None:
    def handle(message: bytes, connection: Any) -> None:
        connection.defer()

    with testing.connect(handle) as connection:
        assert connection.receive(b"1") == connection.receive(b"2") == []
        assert connection.in_flight == 1
        connection.answer(b"first")
        assert connection.in_flight == 1
        connection.drain()
        assert not connection.closed, "an answer is owed"
        connection.answer([b"second", b"third"])
        assert connection.sent == [b"first", b"second", b"third"]
        assert connection.reason is CloseReason.SHUTDOWN
        assert connection.closed


def test_groups_are_joined_and_left_at_the_close() -> None:
    with testing.connect(Command()) as connection:
        connection.receive(b"join")
        assert connection.groups == {"all"}
        connection.leave("all")
        connection.join("others")
        assert connection.groups == {"others"}
        connection.abort()
        assert connection.groups == frozenset()
        with pytest.raises(ConnectionClosed):
            connection.join("all")
        with pytest.raises(ConnectionClosed):
            connection.send(b"late")


def test_an_end_of_any_reason() -> None:
    handler = Recorder()
    with testing.connect(handler) as connection:
        connection.end(CloseReason.IDLE_TIMEOUT)
        connection.end()
    assert handler.ends.get_nowait() is CloseReason.IDLE_TIMEOUT
    assert handler.ends.empty()


def test_an_error_in_connected_is_raised() -> None:
    class Choosy(Recorder):
        def connected(self, connection: Connection) -> None:
            raise LookupError("not you")

    handler = Choosy()
    connection = testing.connect(handler)
    with pytest.raises(LookupError), connection:
        pass
    assert handler.ends.get_nowait() is CloseReason.HANDLER_ERROR
    connection.error = None


def test_what_cannot_be_served_cannot_be_tested() -> None:
    with pytest.raises(epollo.HandlerError, match="is a class"):
        testing.connect(Recorder)  # type: ignore[arg-type]
    with pytest.raises(epollo.SettingError, match="no setting 'max_frames'"):
        testing.connect(Recorder(), max_frames=1)  # type: ignore[call-arg]
    with testing.connect(Recorder(), framing="line") as connection:
        with pytest.raises(EncodeError):
            connection.receive(b"no\nline")
        assert connection.receive(b"a line") == [b"a line"]
    with pytest.raises(RuntimeError, match="use it in a with block"):
        testing.connect(Recorder()).receive(b"")
    with pytest.raises(RuntimeError, match="connect again"), connection:
        pass


class Waiting(Recorder):
    """All of it is async."""

    async def connected(self, connection: Connection) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().connected(connection)

    async def received(self, message: bytes, connection: Connection) -> Any:
        await asyncio.sleep(0)
        if message == b"raise":
            raise LookupError("asked to")
        if message == b"close":
            connection.close()
        return [message, b"waited"]

    async def disconnected(  # type: ignore[override]
        self, connection: Connection, reason: CloseReason
    ) -> None:
        await asyncio.sleep(0)
        super().disconnected(connection, reason)


def test_async_handlers_are_awaited() -> None:
    handler = Waiting()

    async def scene() -> None:
        async with testing.connect(handler) as connection:
            assert handler.opened.get_nowait() is connection
            assert await connection.receive_async(b"1") == [b"1", b"waited"]
            await asyncio.gather(*[connection.receive_async(each) for each in (b"2", b"3")])
            assert connection.sent[2:] == [b"2", b"waited", b"3", b"waited"]
            with pytest.raises(UsageError, match="receive is for a with block"):
                connection.receive(b"")
            assert await connection.receive_async(b"close") == [b"close", b"waited"]
            assert handler.ends.get_nowait() is CloseReason.LOCAL
        async with testing.connect(handler) as connection:
            with pytest.raises(LookupError):
                await connection.receive_async(b"raise")
            assert handler.ends.get_nowait() is CloseReason.HANDLER_ERROR
            connection.error = None
        async with testing.connect(Recorder()) as connection:
            assert await connection.receive_async(b"plain") == [b"plain"]

    asyncio.run(scene())


def test_an_async_handler_in_a_plain_block_says_so() -> None:
    async def handle(message: bytes) -> bytes:
        return message

    with testing.connect(handle) as connection:
        with pytest.raises(UsageError, match="use async with, and await receive_async"):
            connection.receive(b"")
        connection.error = None


PLUGIN_TESTS = """
import socket, sys, threading

def test_nothing_is_imported_before():
    assert not [name for name in sys.modules if name.split(".")[0] == "epollo"]

def test_servers(epollo_server):
    import epollo
    first = epollo_server(lambda message: message.upper(), framing="line")
    second = epollo_server(lambda message: message)
    assert first.addresses != second.addresses
    with epollo.connect(first.addresses[0], framing="line") as client:
        assert client.send(b"hello") is None and client.receive() == b"HELLO"
    kept.append(socket.create_connection(second.addresses[0].split(":")))

kept = []

def test_they_are_stopped():
    assert kept[0].recv(1) == b""
    kept[0].close()
    assert threading.active_count() == 1
"""


def test_the_plugins_servers_are_stopped_after_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(PLUGIN_TESTS)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_epollo", "-W", "error"],
        cwd=tmp_path,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "3 passed" in run.stdout, run.stdout + run.stderr


def test_the_plugin_is_registered() -> None:
    project = tomllib.loads(Path(__file__, "../../pyproject.toml").resolve().read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"pytest_epollo": "pytest_epollo"}
    assert "pytest_epollo" in project["tool"]["setuptools"]["py-modules"]


def test_phases_in_memory() -> None:
    def handle(message: bytes, connection: Connection) -> bytes:
        if message == b"line":
            connection.send(b"before")
            connection.framing = "line"
        connection.start_tls()
        return message

    with testing.connect(handle) as connection:
        assert connection.receive(b"line") == [b"before", b"line"]
        assert connection.receive(b"two") == [b"two"]
        assert connection.framing.name == "line"
