"""An asyncio loop in the server's loop: it runs, it waits, and it holds nobody up for long."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from epollo.engine import EventLoop
from epollo.server.groups.cluster.nested_loop import TURN_SECONDS, NestedLoop
from tests.engines import every_poller
from tests.support import DEADLINE

pytestmark = every_poller


@pytest.fixture
def nested(loop: EventLoop) -> Iterator[NestedLoop]:
    nested = NestedLoop(loop)
    yield nested
    nested.close(asyncio.sleep(0), 1.0)


def poll_until_done(loop: EventLoop, task: asyncio.Task[None]) -> None:
    late = time.monotonic() + DEADLINE
    while not task.done():
        assert time.monotonic() < late
        loop.poll(1.0)
    task.result()


def test_timers_of_the_guest_come(loop: EventLoop, nested: NestedLoop) -> None:
    began = time.monotonic()
    task = nested.start(asyncio.sleep(0.05))
    nested.turn()
    poll_until_done(loop, task)
    assert time.monotonic() >= began + 0.05


def test_sockets_of_the_guest_wake_the_host(loop: EventLoop, nested: NestedLoop) -> None:
    near, far = socket.socketpair()

    async def answer() -> None:
        reader, writer = await asyncio.open_connection(sock=near)
        writer.write(await reader.readexactly(4) + b"!")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    with far:
        task = nested.start(answer())
        nested.turn()
        far.sendall(b"ping")
        poll_until_done(loop, task)
        assert far.recv(10) == b"ping!"


def test_a_thread_wakes_the_nested(loop: EventLoop, nested: NestedLoop) -> None:
    async def compute() -> None:
        assert await asyncio.get_running_loop().run_in_executor(None, lambda: 6 * 7) == 42
        await asyncio.get_running_loop().shutdown_default_executor()

    task = nested.start(compute())
    nested.turn()
    poll_until_done(loop, task)


def test_a_guest_that_is_never_done_leaves_the_host_its_turns(
    loop: EventLoop, nested: NestedLoop
) -> None:
    steps = 0

    async def busy() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    nested.start(busy())
    nested.turn()
    for _ in range(5):
        before = steps
        called: list[bool] = []
        loop.call_threadsafe(lambda called=called: called.append(True))  # type: ignore[misc]
        loop.poll(1.0)
        assert called == [True]
        assert steps > before
    assert TURN_SECONDS <= 0.001


def test_what_raises_in_it_ends_nothing_else(loop: EventLoop, nested: NestedLoop) -> None:
    errors: list[str] = []
    loop.on_error = lambda error, what: errors.append(f"{what}: {error}")

    async def leave() -> None:
        raise SystemExit("a library has had enough")

    task = nested.start(leave())
    nested.turn()
    with pytest.raises(SystemExit):  # at the end of the turn, as from each callback of the loop
        loop.poll(0)
    assert errors == ["the connection to the broker raised: a library has had enough"]
    with pytest.raises(SystemExit):
        task.result()
    again = nested.start(asyncio.sleep(0.01))
    nested.turn()
    poll_until_done(loop, again)


def test_it_runs_inside_a_callback_of_another_asyncio_loop(
    loop: EventLoop, nested: NestedLoop
) -> None:
    async def outer() -> None:
        here = asyncio.get_running_loop()
        task = nested.start(asyncio.sleep(0.01))
        nested.turn()
        assert asyncio.get_running_loop() is here
        while not task.done():
            loop.poll(0.01)
            await asyncio.sleep(0)

    asyncio.run(outer())
