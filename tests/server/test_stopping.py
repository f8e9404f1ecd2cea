"""A stop ends by its deadline, whatever handlers and hooks do, and logs what it left behind."""

from __future__ import annotations

import _thread
import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from typing import Any

import pytest

from epollo import Connection, Server
from epollo.server import asyncio_adapter
from epollo.server.stopping import CLEANUP_SECONDS, Stop, Watchdog
from tests.engines import ENGINES, Engine
from tests.logs import Log
from tests.other_loops import Run
from tests.support import DEADLINE, Peer, ServerProcess, frame, serving, stop_process, until
from tests.zygote import Zygote

HOOKS = ["started", "connected", "received", "disconnected", "stopped"]
PLAIN = ["sleep", "wait", "compute", "raise", "panic"]
ASYNC = ["never return", "swallow cancellation", "thread", "task", "sleep", "raise", "panic"]
GRACE = 0.2

MODES: dict[str, tuple[str, list[str], list[str], list[str]]] = {
    "plain": ("tests.misbehaving:Plain", [], PLAIN, [""]),
    "threads": ("tests.misbehaving:Plain", ["--threads", "2"], PLAIN, [""]),
    "asyncio": ("tests.misbehaving:Async", ["--loop", "asyncio"], ASYNC, ["first", "later"]),
    "uvloop": ("tests.misbehaving:Async", ["--loop", "uvloop"], ASYNC, ["first", "later"]),
}
every_mode = pytest.mark.parametrize("mode", MODES)
every_hook = pytest.mark.parametrize(
    ("engine", "hook"),
    # How a hook is called is the same on all engines, but for `received`.
    [(ENGINES[0], hook) for hook in HOOKS] + [(engine, "received") for engine in ENGINES[1:]],
    ids=str,
)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


def command(
    engine: Engine, mode: str, hook: str, deed: str, step: str = "later", grace: float = GRACE
) -> tuple[list[str], dict[str, str]]:
    """The arguments of `epollo serve`, and the environment, for one way to misbehave."""
    app, flags, _, _ = MODES[mode]
    settings = ["--graceful-timeout", f"{grace}s", "--engine", engine.name]
    return [app, *settings, *flags], {"HOOK": hook, "DEED": deed, "STEP": step}


class Case:
    """A server that is asked to stop while one of its hooks misbehaves, and its one peer."""

    def __init__(self, server: ServerProcess, peer: Peer, hook: str, deed: str) -> None:
        self.server = server
        self.hook = hook
        self.deed = deed
        peer.send(frame(b"hello"))
        if hook in ("started", "connected", "received"):
            assert server.line() == "begun\n", server.log
        else:
            assert peer.receive(9) == frame(b"hello"), server.log

    def check(self) -> None:
        """It has ended in order, and told what it left behind."""
        raises = self.deed in ("raise", "panic")
        assert self.server.wait() == (raises and self.hook == "stopped"), self.server.log
        if self.hook in ("disconnected", "stopped"):
            assert self.server.line() == "begun\n"
        told = [line for line in self.server.log if "left behind" in line]
        assert len(told) <= 1, told
        if self.deed in ("swallow cancellation", "task"):
            assert told, self.server.log
        assert not (raises and told)


@contextmanager
def cases(zygote: Zygote, engine: Engine, mode: str, hook: str) -> Iterator[list[Case]]:
    """All the ways in which ``hook`` may misbehave."""
    _, _, deeds, steps = MODES[mode]
    found = []
    with ExitStack() as stack:
        for deed, step in product(deeds, steps):
            if hook == "started" and deed in ("raise", "panic"):
                continue  # such a server does not serve
            arguments, env = command(engine, mode, hook, deed, step)
            server = stack.enter_context(zygote.serving(*arguments, env=env))
            peer = stack.enter_context(Peer(server.address))
            found.append(Case(server, peer, hook, deed))
        yield found


@every_mode
@every_hook
def test_a_signal_ends_it(zygote: Zygote, engine: Engine, mode: str, hook: str) -> None:
    with cases(zygote, engine, mode, hook) as found:
        for case in found:
            case.server.signal(signal.SIGTERM)
        for case in found:
            case.check()


@pytest.mark.truth
@every_mode
@every_hook
def test_it_ends_within_a_second_after_the_grace(
    zygote: Zygote, engine: Engine, mode: str, hook: str
) -> None:
    """On a machine with nothing else to do, one after the other."""
    with cases(zygote, engine, mode, hook) as found:
        for case in found:
            case.server.signal(signal.SIGTERM)
            start = time.monotonic()
            case.check()
            seconds = time.monotonic() - start
            print(f"{mode} {hook} {case.deed}: {seconds - GRACE:.2f} s after the grace")
            assert seconds < GRACE + 1


@contextmanager
def misbehaving(
    engine: Engine, mode: str, hook: str, deed: str, grace: float = GRACE
) -> Iterator[ServerProcess]:
    """The same with a whole interpreter."""
    arguments, env = command(engine, mode, hook, deed, grace=grace)
    with serving(*arguments, env=env) as server:
        yield server


@pytest.mark.parametrize("mode", ["plain", "threads", "asyncio"])
def test_a_second_signal_does_not_wait_for_the_grace(engine: Engine, mode: str) -> None:
    deed = "swallow cancellation" if mode == "asyncio" else "sleep"
    stuck = misbehaving(engine, mode, "received", deed, grace=3600)
    with stuck as server, Peer(server.address) as peer:
        peer.send(frame(b"hello"))
        assert server.line() == "begun\n"
        threads = server.threads()
        server.signal(signal.SIGTERM)
        # A signal that Python handles just before a call that blocks does not interrupt that call.
        until(lambda: server.threads() > threads and server.sleeps())
        server.signal(signal.SIGINT)
        assert server.wait() == 0


def test_a_signal_to_a_process_that_is_stopped_is_heard_once_it_goes_on(engine: Engine) -> None:
    """The kernel gives it to whichever thread runs first, and only the main one handles it."""
    with misbehaving(engine, "plain", "received", "sleep") as server, Peer(server.address) as peer:
        peer.send(frame(b"hello"))
        assert server.line() == "begun\n"
        until(server.sleeps)
        stop_process(server.process.pid)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        assert server.wait() == 0


def test_a_function_that_swallows_every_interrupt_ends_with_its_process(engine: Engine) -> None:
    stuck = misbehaving(engine, "plain", "received", "swallow interrupts")
    with stuck as server, Peer(server.address) as peer:
        peer.send(frame(b"hello"))
        assert server.line() == "begun\n"
        server.signal(signal.SIGTERM)
        assert server.wait() == 1
        what = "a function that cannot be interrupted"
        assert server.log[-1].endswith(f"left behind by the stop, since it did not end: {what}")


def test_where_a_handler_was_interrupted_is_in_the_log(engine: Engine) -> None:
    with misbehaving(engine, "plain", "received", "sleep") as server, Peer(server.address) as peer:
        peer.send(frame(b"hello"))
        assert server.line() == "begun\n"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert any("time.sleep(FOREVER)" in line for line in server.log)
        assert any("handler tests.misbehaving:Plain raised" in line for line in server.log)


@pytest.mark.parametrize("deed", ["lazily"])
def test_a_reply_that_blocks_is_interrupted_too(engine: Engine, deed: str) -> None:
    with misbehaving(engine, "plain", "", deed) as server, Peer(server.address) as peer:
        peer.send(frame(b"hello"))
        assert server.line() == "begun\n"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


class Stuck:
    """A handler whose every call blocks until the test is over."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.free = threading.Event()

    def received(self, message: bytes, connection: Connection) -> None:
        self.begun.set()
        self.free.wait(DEADLINE)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_block_is_left_though_a_handler_blocks(engine: Engine, threads: int, log: Log) -> None:
    handler = Stuck()
    try:
        with engine.server(handler, threads=threads, graceful_timeout=0) as server:
            peer = Peer(server.addresses[0])
            peer.send(frame(b"hello"))
            assert handler.begun.wait(DEADLINE)
        assert not handler.free.is_set()
    finally:
        handler.free.set()
    peer.close()
    (line,) = log.take()
    what = "handler Stuck for 127.0.0.1:" if threads else "the server's thread in "
    assert line.startswith(f"left behind by the stop, since it did not end: {what}")


def test_serve_returns_though_a_handler_swallows_its_cancellation(
    engine: Engine, run: Run, log: Log
) -> None:
    free: list[Callable[[], object]] = []

    async def stubborn(message: bytes) -> None:
        future = asyncio.get_running_loop().create_future()
        free.append(lambda: future.set_result(None))
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError:
                pass

    async def test() -> None:
        server = engine.server(stubborn, graceful_timeout=0)
        serving = asyncio.create_task(server.serve())
        while not server.addresses:
            await asyncio.sleep(0)
        _, writer = await asyncio.open_connection(*server.addresses[0].split(":"))
        writer.write(frame(b"hello"))
        while not free:
            await asyncio.sleep(0)
        server.stop()
        await serving
        writer.close()
        free[0]()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)

    run(test())
    (line,) = log.take()
    assert line.startswith("left behind by the stop, since it did not end: handler stubborn for ")


class Nameless:
    """A hook of it does not end, and its text cannot be told."""

    async def received(self, message: bytes) -> None: ...

    async def stopped(self, server: Server) -> None:
        await asyncio.Event().wait()

    def __repr__(self) -> str:
        raise ValueError


def test_a_hook_is_left_though_the_text_of_its_handler_raises(engine: Engine, log: Log) -> None:
    with engine.server(Nameless(), graceful_timeout=0, loop="asyncio"):
        pass
    assert log.take() == ["left behind by the stop, since it did not end: Nameless.stopped"]


def test_the_deadline_is_the_grace_and_a_little_and_moves_when_forced() -> None:
    stop = Stop(10)
    moved: list[float | None] = []
    assert stop.seconds_left is None
    with stop.notifying(lambda: moved.append(stop.seconds_left)):
        stop.begin(2)
        stop.begin()
    stop.begin()
    first, second = moved
    assert first is not None
    assert 2 < first <= 2 + CLEANUP_SECONDS
    assert second is not None
    assert second <= CLEANUP_SECONDS
    stop.clear()
    assert stop.seconds_left is None
    stop.ensure()
    stop.ensure()
    assert stop.seconds_left is not None
    assert stop.seconds_left > 2


def test_the_watchdog_has_ended_when_the_server_has() -> None:
    """A thread that comes back when the interpreter has ended crashes the process."""
    stop = Stop(DEADLINE)
    before, interval = _thread._count(), sys.getswitchinterval()
    sys.setswitchinterval(DEADLINE)  # only a thread that waits lets another one run
    try:
        with Watchdog(stop).watching():
            stop.begin()
            until(lambda: _thread._count() == before + 1)
        assert _thread._count() == before
    finally:
        sys.setswitchinterval(interval)


def test_a_stop_names_the_hook_of_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        async def received(self, message: bytes) -> bytes:
            return message

        async def stopping(self, server: Server) -> None: ...

    named: list[str] = []

    def begin_hook(hook: Callable[[Any], object], *_: object) -> Task:
        named.append(hook.__qualname__)
        return Task()

    monkeypatch.setattr(asyncio_adapter, "begin_hook", begin_hook)
    server = Server(Slow(), "127.0.0.1:0")
    server.start()
    server._hooks.call("stopping", server._started, server)
    server.close()
    assert named[0] == Slow.stopping.__qualname__


class Task:
    """One that has ended."""

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        callback(self)
