"""Handlers that hold the loop are named, with the place in their code, while they hold it."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from typing import Any

import pytest

from epollo import Server
from epollo.server.places import place_of_thread
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, frame, until

HERE = re.escape(__file__)


class Blocks:
    """Blocks with the message ``block`` until the test lets it go on."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def received(self, message: bytes) -> Any:
        if message == b"block":
            self.block()
        return message

    def block(self) -> None:
        assert self.release.wait(DEADLINE)


class BlocksAtOnce(Blocks):
    """The same in the first step of its coroutine."""

    async def received(self, message: bytes) -> Any:
        return super().received(message)


class BlocksLater(Blocks):
    """The same in a task, after the first step of its coroutine."""

    async def received(self, message: bytes) -> Any:
        await asyncio.sleep(0)
        return super().received(message)


@pytest.mark.parametrize("kind", [Blocks, BlocksAtOnce, BlocksLater])
def test_the_place_in_the_code_is_named(
    engine: Engine, log: Log, kind: type[Blocks], loop_name: str
) -> None:
    handler = kind()
    loop = "auto" if kind is Blocks else loop_name
    server = engine.server(handler, loop=loop, slow_handler=0.05)
    with server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"block"))
        until(lambda: log.slow)
        handler.release.set()
        assert peer.message() == b"block"
    held = rf"handler {kind.__name__} held the loop for \d+ ms and still holds it, at Blocks\.block"
    assert re.fullmatch(rf"{held} in {HERE}:\d+", log.slow[0])
    calls = re.findall(r", line \d+, in (\w+)", log.stacks[0])
    first = ["received"] if kind is Blocks else ["received", "received"]
    assert calls[: len(first) + 1] == [*first, "block"], "from the call of the application on"


def test_it_is_named_before_it_returns_and_then_with_its_peer(engine: Engine, log: Log) -> None:
    handler = Blocks()
    with engine.server(handler, slow_handler=0.1) as server, Peer(server.addresses[0]) as peer:
        began = time.monotonic()
        peer.send(frame(b"block"))
        until(lambda: log.slow)
        assert time.monotonic() - began >= 0.1
        handler.release.set()
        assert peer.message() == b"block"
        until(lambda: len(log.slow) == 2)  # though no second has passed, perhaps
    assert "with the messages of one read from 127.0.0.1:" in log.slow[1]


class Hooked(Blocks):
    """Its hook of this name blocks."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        setattr(self, hook, self.hook)

    def hook(self, *_: object) -> None:
        self.block()


class HookedAsync(Hooked):
    async def received(self, message: bytes) -> Any:
        return message


@pytest.mark.parametrize("hook", ["connected", "disconnected"])
@pytest.mark.parametrize("kind", [Hooked, HookedAsync])
def test_a_hook_of_a_connection_is_named(log: Log, kind: type[Hooked], hook: str) -> None:
    handler = kind(hook)
    loop = "asyncio" if kind is HookedAsync else "auto"
    server = Server(handler, "127.0.0.1:0", slow_handler=0.05, loop=loop)
    with server, Peer(server.addresses[0]) as peer:
        peer.end()
        until(lambda: log.slow)
        handler.release.set()
    assert "at Blocks.block in" in log.slow[0]


@pytest.mark.parametrize("hook", ["started", "stopped"])
@pytest.mark.parametrize("kind", [Hooked, HookedAsync])
def test_a_hook_of_the_server_is_named(log: Log, kind: type[Hooked], hook: str) -> None:
    handler = kind(hook)
    loop = "asyncio" if kind is HookedAsync else "auto"
    server = Server(handler, "127.0.0.1:0", slow_handler=0.05, loop=loop)

    def let_go() -> None:
        until(lambda: log.slow)
        handler.release.set()

    freeing = threading.Thread(target=let_go)
    freeing.start()
    with server:
        pass
    freeing.join()
    line = log.slow[0]
    assert re.match(rf"handler {kind.__name__}: {hook} held the loop for \d\.\d s and", line)


def test_an_idle_server_is_not_woken_for_it(engine: Engine) -> None:
    with engine.server(Blocks(), slow_handler=0.02, frame_timeout=0, write_timeout=0) as server:
        loop: Any = server._started
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"hello") == b"hello"
        until(lambda: not server.counters.open)
        posted: list[object] = []
        loop.call_threadsafe = posted.append
        time.sleep(0.2)  # ten times the period, when nothing is the matter
        del loop.call_threadsafe
    assert posted == []


@pytest.mark.parametrize(("seconds", "threads"), [(0, 1), (0.1, 2)])
def test_the_thread_that_watches_lives_as_long_as_the_loop_runs(
    engine: Engine, seconds: float, threads: int
) -> None:
    before = threading.active_count()
    server = engine.server(Blocks(), slow_handler=seconds)
    server.start()
    assert threading.active_count() == before, "there may be a fork before it runs"
    with server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"hello") == b"hello"
        assert threading.active_count() == before + threads
    assert threading.active_count() == before


def test_a_thread_that_is_in_no_code_of_an_application_has_no_place() -> None:
    event = threading.Event()
    thread = threading.Thread(target=event.wait)  # of the standard library
    thread.start()
    assert thread.ident is not None
    place = place_of_thread(thread.ident)
    event.set()
    thread.join()
    assert place is None
    assert place_of_thread(thread.ident) is None
