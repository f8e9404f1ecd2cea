"""The whole engine as one descriptor in somebody else's loop: asyncio's, uvloop's, select."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from epollo.engine import EventLoop
from epollo.errors import EngineMissing
from tests.engine.support import Protocol
from tests.engines import ON_EVERY_POLLER, Engine
from tests.other_loops import Run
from tests.support import DEADLINE, frame


@pytest.fixture(params=[each for each in ON_EVERY_POLLER if each.is_descriptor], ids=str)
def loop(request: pytest.FixtureRequest) -> Iterator[EventLoop]:
    loop: EventLoop = request.param.loop()
    yield loop
    loop.close()


def readable(loop: EventLoop, seconds: float = 0) -> bool:
    return bool(select.select([loop], [], [], seconds)[0])


@pytest.mark.parametrize(
    "engine", [each for each in ON_EVERY_POLLER if not each.is_descriptor], ids=str
)
def test_poll_and_select_say_in_one_line_that_they_are_no_descriptor(engine: Engine) -> None:
    loop = engine.loop()
    with pytest.raises(EngineMissing, match=f"a loop on {engine.poller} is no descriptor"):
        loop.fileno()
    loop.close()


def test_it_is_readable_while_there_is_something_to_serve(loop: EventLoop) -> None:
    protocol = Protocol()
    theirs, ours = socket.socketpair()
    with theirs:
        loop.attach(ours, protocol)
        assert loop.fileno() >= 0
        loop.poll(0)
        assert not readable(loop)
        theirs.send(frame(b"hello"))
        assert readable(loop, DEADLINE)
        loop.poll(0)
        assert theirs.recv(100) == frame(b"hello")
        assert not readable(loop)


def test_it_is_readable_when_a_timer_is_due(loop: EventLoop) -> None:
    fired: list[int] = []
    loop.call_later(0, lambda: fired.append(1))  # before anyone asked for the descriptor
    assert readable(loop, DEADLINE)
    loop.poll(0)
    assert fired == [1]
    later = loop.call_later(3600, lambda: None)
    loop.call_later(0.001, lambda: fired.append(2))
    assert readable(loop, DEADLINE)
    loop.poll(0)
    assert fired == [1, 2]
    assert not readable(loop)
    later.cancel()


def test_it_is_readable_for_a_timer_behind_one_that_was_cancelled(loop: EventLoop) -> None:
    fired: list[bool] = []
    loop.fileno()
    first = loop.call_later(0.01, lambda: None)
    others = [loop.call_later(DEADLINE, lambda: None) for _ in range(200)]
    for timer in [first, *others]:  # so many that they are taken out at once
        timer.cancel()
    loop.call_later(0.05, lambda: fired.append(True))
    while not fired:
        assert readable(loop, DEADLINE)
        loop.poll(0)


def test_it_is_readable_when_another_thread_calls(loop: EventLoop) -> None:
    called: list[int] = []
    assert not readable(loop)
    thread = threading.Thread(target=lambda: loop.call_threadsafe(lambda: called.append(1)))
    thread.start()
    assert readable(loop, DEADLINE)
    thread.join()
    loop.poll(0)
    assert called == [1]


def test_what_is_sent_between_two_turns_makes_it_readable(loop: EventLoop) -> None:
    protocol = Protocol()
    theirs, ours = socket.socketpair()
    with theirs:
        connection = loop.attach(ours, protocol)
        loop.fileno()
        loop.poll(0)
        loop.poll(0)
        assert not readable(loop)
        connection.send(b"pushed")
        assert readable(loop, DEADLINE)
        loop.poll(0)
        assert theirs.recv(100) == frame(b"pushed")
        connection.abort()
        assert readable(loop, DEADLINE)
        loop.poll(0)
        assert protocol.events == ["connected", "local"]


def test_it_serves_as_one_reader_of_asyncio_and_uvloop(loop: EventLoop, run: Run) -> None:
    protocol = Protocol(received=lambda message, _: message.upper())
    listener = socket.create_server(("127.0.0.1", 0))
    where = listener.getsockname()
    loop.listen(listener, lambda sock: loop.attach(sock, protocol), print)

    async def ask(number: int) -> None:
        reader, writer = await asyncio.open_connection(*where)
        for _ in range(10):
            writer.write(frame(b"question %d" % number))
            assert await reader.readexactly(len(frame(b"QUESTION %d" % number))) == frame(
                b"QUESTION %d" % number
            )
        writer.close()
        await writer.wait_closed()

    async def serve() -> None:
        host = asyncio.get_running_loop()
        host.add_reader(loop.fileno(), loop.poll, 0)
        await asyncio.gather(*(ask(number) for number in range(10)))
        while protocol.events.count("eof") < 10:
            await asyncio.sleep(0.001)
        host.remove_reader(loop.fileno())

    run(serve())


def test_what_was_made_before_anyone_asked_for_the_descriptor_makes_it_readable(
    loop: EventLoop,
) -> None:
    theirs, ours = socket.socketpair()
    with theirs:
        loop.attach(ours, Protocol()).send(b"early")
        assert readable(loop, DEADLINE)
        loop.poll(0)
        assert theirs.recv(100) == frame(b"early")


def test_one_call_takes_one_turn(loop: EventLoop) -> None:
    theirs, ours = socket.socketpair()
    with theirs:
        connection = loop.attach(ours, Protocol())
        loop.fileno()
        while readable(loop):
            loop.poll(0)
        loop.call_threadsafe(lambda: connection.send(b"pushed"))
        assert readable(loop, DEADLINE)
        loop.poll(0)
        assert theirs.recv(100) == frame(b"pushed")
        assert not readable(loop)
