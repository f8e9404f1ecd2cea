"""``handler_timeout``: a handler holds its connection no longer than that."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import queue
import re
import threading
from typing import Any

import pytest

from epollo import CloseReason, Connection, Server
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, frame, until

LIMIT = 1.0  # seconds; the other calls take milliseconds
HERE = re.escape(__file__)


class Late:
    """The hook of this name does not return, whatever is done about it, until the test says so."""

    def __init__(self, hook: str = "received") -> None:
        self.hook = hook
        self.release = threading.Event()
        self.ends: queue.Queue[CloseReason] = queue.Queue()

    def end(self) -> CloseReason:
        return self.ends.get(timeout=DEADLINE)

    def connected(self, connection: Connection) -> Any: ...
    def disconnected(self, connection: Connection, reason: CloseReason) -> Any:
        self.ends.put(reason)


class LateAsync(Late):
    """Its coroutine waits, and is cancelled."""

    async def wait(self, hook: str) -> None:
        if hook == self.hook:
            await asyncio.sleep(DEADLINE)

    async def connected(self, connection: Connection) -> Any:
        await self.wait("connected")

    async def received(self, message: bytes, connection: Connection) -> Any:
        if message == b"late":
            await self.wait("received")
        return message

    async def disconnected(self, connection: Connection, reason: CloseReason) -> Any:
        self.ends.put(reason)
        await self.wait("disconnected")


class Stubborn(LateAsync):
    """Its coroutine swallows each cancellation."""

    async def wait(self, hook: str) -> None:
        while hook == self.hook and not self.release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass


class LateThread(Late):
    """It blocks its thread."""

    def wait(self, hook: str) -> None:
        if hook == self.hook:
            assert self.release.wait(DEADLINE)

    def connected(self, connection: Connection) -> Any:
        self.wait("connected")

    def received(self, message: bytes, connection: Connection) -> Any:
        if message == b"late":
            self.wait("received")
        return message

    def disconnected(self, connection: Connection, reason: CloseReason) -> Any:
        self.ends.put(reason)
        self.wait("disconnected")


class LateGenerator(LateThread):
    """It returns a generator, which blocks the thread after the first message."""

    def received(self, message: bytes, connection: Connection) -> Any:
        yield message
        if message == b"late":
            self.wait("received")


KINDS: dict[str, tuple[type[Late], dict[str, Any]]] = {
    "cancelled": (LateAsync, {"loop": "asyncio"}),
    "cancelled, uvloop": (LateAsync, {"loop": "uvloop"}),
    "not cancelled": (Stubborn, {"loop": "asyncio"}),
    "thread": (LateThread, {"threads": 2}),
    "generator in a thread": (LateGenerator, {"threads": 2}),
}


@pytest.fixture(autouse=True, scope="module")
def first_uvloop() -> None:
    """libuv keeps two descriptors of its first loop."""
    if importlib.util.find_spec("uvloop"):
        importlib.import_module("uvloop").new_event_loop().close()


def server_of(engine: Engine, handler: Any, settings: dict[str, Any]) -> Server:
    if settings.get("loop") == "uvloop":
        pytest.importorskip("uvloop")
    return engine.server(handler, handler_timeout=LIMIT, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_that_does_not_return_loses_its_connection(
    engine: Engine, log: Log, kind: str
) -> None:
    made, settings = KINDS[kind]
    handler = made()
    with server_of(engine, handler, settings) as server:
        with Peer(server.addresses[0]) as peer, Peer(server.addresses[0]) as other:
            peer.send(frame(b"late"))
            assert peer.receive_all() == b""
            assert other.ask(b"hello") == b"hello"
            assert handler.end() is CloseReason.HANDLER_ERROR
        handler.end()
        handler.release.set()
    lines = log.take()
    limit = r"did not return within 1 s, its handler_timeout"
    late = rf"handler {made.__name__} {limit}, at \w+\.\w+ in {HERE}:\d+"
    assert re.match(rf"{late}.*; closed 127\.0\.0\.1:", lines[0])
    if made is LateAsync:
        assert len(lines) == 1
    else:
        goes_on = rf"handler {made.__name__} goes on for 127\.0\.0\.1:\d+, which is closed"
        assert re.match(goes_on, lines[1])
    if settings.get("threads"):
        assert "with 1 of 2 threads busy" in lines[1]


@pytest.mark.parametrize("hook", ["connected", "disconnected"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_does_not_return_holds_nothing(
    engine: Engine, log: Log, kind: str, hook: str
) -> None:
    made, settings = KINDS[kind]
    handler = made(hook)
    with server_of(engine, handler, settings) as server:
        with Peer(server.addresses[0]) as peer:
            if hook == "disconnected":
                peer.end()
            assert peer.receive_all() == b""
        handler.end()
        until(lambda: log.records)
        if hook == "disconnected":
            until(lambda: not server._protocol.connected_count)
        handler.release.set()
    assert "its handler_timeout" in log.take()[0]


def test_a_call_that_waits_for_a_thread_counts_too(engine: Engine, log: Log) -> None:
    handler = LateThread()
    settings = {"threads": 1}
    with server_of(engine, handler, settings) as server:
        with Peer(server.addresses[0]) as first, Peer(server.addresses[0]) as second:
            first.send(frame(b"late"))
            assert first.receive_all() == b""
            second.send(frame(b"hello"))
            assert second.receive_all() == b""
            until(lambda: any("waiting for a thread" in r.getMessage() for r in log.records))
            handler.release.set()
        with Peer(server.addresses[0]) as third:
            assert third.ask(b"hello") == b"hello"
    log.take()


def test_several_calls_of_a_connection_are_told_once(engine: Engine, log: Log) -> None:
    handler = LateThread()
    with server_of(engine, handler, {"threads": 5, "in_flight": 4}) as server:
        with Peer(server.addresses[0]) as peer:
            peer.send(frame(b"late") * 4)
            assert peer.receive_all() == b""
        handler.end()
        handler.release.set()
    lines = log.take()
    assert sum("did not return within" in line for line in lines) == 1
    assert not any("handler raised after the end" in line for line in lines)


def connections_alive() -> int:
    gc.collect()
    return sum(type(each).__name__ == "Connection" for each in gc.get_objects())


def test_a_call_that_returns_after_it_was_given_up_leaves_nothing(engine: Engine, log: Log) -> None:
    handler = LateThread()
    with server_of(engine, handler, {"threads": 2}) as server:
        with Peer(server.addresses[0]) as peer:
            peer.send(frame(b"late"))
            until(lambda: connections_alive() == 1)
            assert peer.receive_all() == b""
            assert handler.end() is CloseReason.HANDLER_ERROR  # so its call was given up
        handler.release.set()
        until(lambda: not connections_alive())
    log.take()


def test_calls_that_return_in_time_are_not_touched(engine: Engine) -> None:
    async def soon(message: bytes) -> bytes:
        await asyncio.sleep(0)
        return message

    with (
        engine.server(soon, handler_timeout=DEADLINE, in_flight=8, loop="asyncio") as server,
        Peer(server.addresses[0]) as peer,
    ):
        for number in range(100):
            assert peer.ask(b"%d" % number) == b"%d" % number
