"""Blocking handlers in threads, on both engines."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from epollo import AsyncClient, CloseReason, ConnectError, Connection, ConnectionClosed, Server
from tests.engines import Engine
from tests.logs import Log
from tests.other_loops import Run
from tests.support import DEADLINE, Peer, frame, messages_in, until


class Gate:
    """A handler whose every call blocks its thread until the test lets it go on."""

    def __init__(self) -> None:
        self.begun: queue.Queue[bytes] = queue.Queue()
        self.told: queue.Queue[str] = queue.Queue()
        self.threads: set[str] = set()
        self._gates: dict[bytes, threading.Event] = {}
        self._lock = threading.Lock()

    def gate(self, message: bytes) -> threading.Event:
        with self._lock:
            return self._gates.setdefault(message, threading.Event())

    def connected(self, connection: Connection) -> None:
        self.threads.add(threading.current_thread().name)
        self.told.put("connected")

    def received(self, message: bytes, connection: Connection) -> bytes:
        self.threads.add(threading.current_thread().name)
        self.begun.put(message)
        assert self.gate(message).wait(DEADLINE)
        self.told.put(f"answered {message.decode()}")
        return message

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.threads.add(threading.current_thread().name)
        self.told.put(f"disconnected {reason}")

    def stopped(self, server: Server) -> None:
        self.told.put("stopped")

    def wait(self, *messages: bytes) -> None:
        """Until these have begun."""
        assert {self.begun.get(timeout=DEADLINE) for _ in messages} == set(messages)

    def free(self, *messages: bytes) -> None:
        for message in messages:
            self.gate(message).set()

    def all(self) -> list[str]:
        return [self.told.get(timeout=DEADLINE) for _ in range(self.told.qsize())]


def upper(message: bytes) -> bytes:
    return message.upper()


def test_what_it_returns_is_the_reply_in_order(engine: Engine) -> None:
    with engine.server(upper, threads=4, in_flight=16) as server, Peer(server.addresses[0]) as peer:
        peer.send(b"".join(frame(b"q%d" % number) for number in range(1000)))
        expected = b"".join(frame(b"Q%d" % number) for number in range(1000))
        assert peer.receive(len(expected)) == expected


def test_a_later_message_may_finish_first_and_is_answered_in_order(engine: Engine) -> None:
    gate = Gate()
    with engine.server(gate, threads=2, in_flight=2) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"b"))
        gate.wait(b"a", b"b")
        gate.free(b"b")
        assert gate.told.get(timeout=DEADLINE) == "connected"
        assert gate.told.get(timeout=DEADLINE) == "answered b"
        gate.free(b"a")
        assert peer.receive(10) == frame(b"a") + frame(b"b")


def test_unordered_replies_come_as_they_are_ready(engine: Engine) -> None:
    gate = Gate()
    with (
        engine.server(gate, threads=2, in_flight=2, ordered=False) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(b"a") + frame(b"b"))
        gate.wait(b"a", b"b")
        gate.free(b"b")
        assert peer.receive(5) == frame(b"b")
        gate.free(b"a")
        assert peer.receive(5) == frame(b"a")


def test_by_default_one_message_of_a_connection_is_handled_at_once(engine: Engine) -> None:
    gate = Gate()
    with engine.server(gate, threads=4) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"b"))
        gate.wait(b"a")
        assert gate.begun.empty()
        gate.free(b"a")
        assert peer.receive(5) == frame(b"a")
        gate.wait(b"b")
        gate.free(b"b")
        assert peer.receive(5) == frame(b"b")


def test_a_slow_handler_of_one_connection_delays_no_other(engine: Engine) -> None:
    gate = Gate()
    gate.free(b"quick")
    with engine.server(gate, threads=2) as server, Peer(server.addresses[0]) as slow:
        slow.send(frame(b"slow"))
        gate.wait(b"slow")
        with Peer(server.addresses[0]) as peer:
            for _ in range(10):
                assert peer.ask(b"quick") == b"quick"
        gate.free(b"slow")
        assert slow.receive(8) == frame(b"slow")


def test_everything_of_a_connection_runs_in_the_pool_and_in_order(engine: Engine) -> None:
    gate = Gate()
    gate.free(b"a", b"b")
    with engine.server(gate, threads=4, in_flight=2) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"b"))
        peer.end()
        assert peer.receive_all() == frame(b"a") + frame(b"b")
    told = gate.all()
    assert told[0] == "connected"
    assert set(told[1:3]) == {"answered a", "answered b"}
    assert told[3:] == ["disconnected eof", "stopped"]
    assert all(name.startswith("epollo-handler") for name in gate.threads)


def test_a_handler_of_a_connection_that_was_reset_ends_before_disconnected(engine: Engine) -> None:
    gate = Gate()
    with engine.server(gate, threads=2) as server:
        peer = Peer(server.addresses[0])
        peer.send(frame(b"a"))
        gate.wait(b"a")
        peer.reset()
        until(lambda: not server.connections)
        gate.free(b"a")
    assert gate.all() == ["connected", "answered a", "disconnected reset", "stopped"]


def test_what_has_no_thread_yet_is_not_begun_for_a_peer_that_is_gone(engine: Engine) -> None:
    gate = Gate()
    with engine.server(gate, threads=1, in_flight=2) as server:
        peer = Peer(server.addresses[0])
        peer.send(frame(b"a") + frame(b"b"))
        gate.wait(b"a")
        peer.reset()
        until(lambda: not server.connections)
        with Peer(server.addresses[0]):  # who is let in a turn later, when all is done about that
            until(lambda: bool(server.connections))
        gate.free(b"a")
    assert gate.begun.empty()
    told = gate.all()
    assert told.index("answered a") < told.index("disconnected reset")
    assert "answered b" not in told


def test_a_close_by_a_handler_is_behind_its_reply(engine: Engine) -> None:
    def handle(message: bytes, connection: Connection) -> bytes:
        connection.close()
        return message

    with engine.server(handle, threads=1) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"bye") + frame(b"not heard"))
        assert peer.receive_all() == frame(b"bye")


def test_connected_comes_before_disconnected_though_the_peer_left_first(engine: Engine) -> None:
    gate = Gate()
    with engine.server(gate, threads=1) as server, Peer(server.addresses[0]) as first:
        first.send(frame(b"a"))
        gate.wait(b"a")
        second = Peer(server.addresses[0])
        until(lambda: len(server.connections) == 2)
        second.reset()
        until(lambda: len(server.connections) == 1)
        gate.free(b"a")
        assert first.receive(5) == frame(b"a")
        told = [gate.told.get(timeout=DEADLINE) for _ in range(4)]
    assert told == ["connected", "answered a", "connected", "disconnected reset"]


def test_a_drain_waits_for_what_is_in_flight(engine: Engine) -> None:
    gate = Gate()
    with engine.server(gate, threads=2) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"b"))
        gate.wait(b"a")
        server.stop()
        gate.free(b"a", b"b")
        assert peer.receive_all() == frame(b"a") + frame(b"b")


def test_an_exception_closes_its_own_connection_only(engine: Engine, log: Log) -> None:
    def handle(message: bytes) -> bytes:
        if message == b"bad":
            raise ValueError(message)
        return message

    with (
        engine.server(handle, threads=2, in_flight=3) as server,
        Peer(server.addresses[0]) as other,
    ):
        with Peer(server.addresses[0]) as peer:
            peer.send(frame(b"a") + frame(b"bad") + frame(b"never"))
            assert peer.receive_all() == frame(b"a")
        assert other.ask(b"hello") == b"hello"
    (line,) = log.take()
    assert "raised, closed 127.0.0.1" in line


def test_a_generator_runs_in_its_thread_and_what_it_sends_comes_in_between(engine: Engine) -> None:
    threads: set[str] = set()

    def handle(message: bytes, connection: Connection) -> Iterator[bytes]:
        threads.add(threading.current_thread().name)
        connection.send(b"0")
        yield b"1"
        yield b"2"

    with engine.server(handle, threads=1) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"?"))
        assert peer.receive(15) == b"".join(frame(b"%d" % number) for number in range(3))
    assert len(threads) == 1
    assert threads.pop().startswith("epollo-handler")


@pytest.mark.parametrize("count", [10_000])
def test_eight_threads_send_whole_frames_each_in_its_order(engine: Engine, count: int) -> None:
    def handle(message: bytes, connection: Connection) -> bytes:
        for number in range(count):
            connection.send(b"%s %d" % (message, number))
        return message + b" end"

    with engine.server(handle, threads=8, in_flight=8) as server, Peer(server.addresses[0]) as peer:
        peer.send(b"".join(frame(b"%d" % sender) for sender in range(8)))
        peer.end()
        data = peer.receive_all()
    seen: dict[bytes, list[bytes]] = {}
    for message in messages_in(data):
        sender, what = message.split(b" ")
        seen.setdefault(sender, []).append(what)
    expected = [b"%d" % number for number in range(count)] + [b"end"]
    assert seen == {b"%d" % sender: expected for sender in range(8)}


def test_a_plain_server_imports_no_asyncio() -> None:
    program = (
        "import sys, epollo\n"
        "with epollo.Server(lambda message: message, '127.0.0.1:0', threads=1) as server:\n"
        "    with epollo.connect(server.addresses[0]) as client:\n"
        "        assert client.request(b'x') == b'x'\n"
        "assert 'asyncio' not in sys.modules\n"
        "assert epollo.AsyncClient is epollo.client.AsyncClient\n"
        "assert 'asyncio' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=DEADLINE)


async def listens(server: Server) -> bool:
    """Has no stop come to it?"""
    try:
        async with AsyncClient(server.addresses[0]):
            return True
    except ConnectError:
        return False


@asynccontextmanager
async def served(server: Server) -> AsyncIterator[tuple[asyncio.Task[None], AsyncClient]]:
    """The task that serves ``server`` on the running loop, and a client of it."""
    server.start()
    task = asyncio.create_task(server.serve())
    try:
        async with AsyncClient(server.addresses[0]) as client:
            yield task, client
    finally:
        server.stop(0)
        await asyncio.wait([task])


def test_on_the_callers_loop_a_handler_that_blocks_holds_up_only_its_own(
    engine: Engine, run: Run
) -> None:
    gate = Gate()

    async def test() -> None:
        async with served(engine.server(gate, threads=2, in_flight=2)) as (task, client):
            first = asyncio.create_task(client.request(b"first"))
            second = asyncio.create_task(client.request(b"second"))
            await asyncio.to_thread(gate.wait, b"first", b"second")
            gate.free(b"second")
            while "answered second" not in gate.told.queue:
                await asyncio.sleep(0)  # the loop goes on meanwhile
            assert not second.done(), "replies keep the order of their messages"
            gate.free(b"first")
            assert (await first, await second) == (b"first", b"second")
        await task

    run(test())
    assert gate.all()[-2:] == ["disconnected eof", "stopped"]
    assert all(name.startswith("epollo-handler") for name in gate.threads)


def test_on_the_callers_loop_a_stop_waits_for_what_is_in_flight(engine: Engine, run: Run) -> None:
    gate = Gate()

    async def test() -> None:
        server = engine.server(gate, threads=2)
        async with served(server) as (task, client):
            request = asyncio.create_task(client.request(b"late"))
            await asyncio.to_thread(gate.wait, b"late")
            server.stop()
            while await listens(server):
                pass
            assert not task.done()
            gate.free(b"late")
            assert await request == b"late"
            await task

    run(test())
    told = gate.all()
    assert "answered late" in told
    assert told[-1] == "stopped"


def test_cancelled_on_the_callers_loop_it_lets_what_has_begun_end(engine: Engine, run: Run) -> None:
    gate = Gate()

    async def test() -> None:
        async with served(engine.server(gate, threads=1)) as (task, client):
            await client.send(b"for nobody")
            await asyncio.to_thread(gate.wait, b"for nobody")
            task.cancel()
            with pytest.raises(ConnectionClosed):
                await client.receive()
            assert not task.done()
            gate.free(b"for nobody")
            with pytest.raises(asyncio.CancelledError):
                await task

    run(test())
    assert gate.all() == ["connected", "answered for nobody", "disconnected shutdown", "stopped"]


@pytest.mark.parametrize("serving", ["run", "serve"])
def test_an_error_in_started_leaves_no_thread(serving: str) -> None:
    class Failing:
        def started(self, server: Server) -> None:
            raise LookupError

        def received(self, message: bytes) -> bytes:
            return message

    server = Server(Failing(), "127.0.0.1:0", threads=2)
    with pytest.raises(LookupError):
        server.run() if serving == "run" else asyncio.run(server.serve())


AFTER_MAIN = """
import asyncio, os, sys, threading, time
from concurrent.futures import thread as pools
import epollo

def run():
    asyncio.run(server.serve()) if sys.argv[1] == "hosted" else server.run()

def ask():
    threading.main_thread().join()
    while not pools._shutdown:  # set once the main thread has ended
        time.sleep(0.001)
    try:
        with epollo.connect(server.addresses[0], timeout=30) as client:
            print(client.request(b"after main"), flush=True)
        server.stop()
        runner.join(30)
        print("running" if runner.is_alive() else "ended", flush=True)
    finally:
        os._exit(0)

server = epollo.Server(lambda message: message, "127.0.0.1:0", threads=2)
server.start()
runner = threading.Thread(target=run)
runner.start()
with epollo.connect(server.addresses[0]) as client:  # from 3.12 on, no thread starts after main
    client.request(b"before")
threading.Thread(target=ask).start()
"""


@pytest.mark.parametrize("how", ["alone", "hosted"])
def test_a_server_that_outlives_the_main_thread_goes_on_serving(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AFTER_MAIN, how],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (["b'after main'", "ended"], "")
