"""An asyncio loop in the server's loop, as one descriptor and one timer of it.

A library for asyncio runs so in the thread of the server's loop. A thread of its own would compete
with that one for the interpreter: each time that the server comes back from the kernel while the
other thread computes, it could wait for the switch interval, 5 ms (sys.setswitchinterval). Here it
waits for what is being done, for `TURN_SECONDS` and one step at most, and gets its turn back.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from epollo.engine import EventLoop, Timer, forking
from epollo.engine.events import READ
from epollo.engine.forking import replace_epoll

TURN_SECONDS = 0.001
"""Time after which the nested loop stops, if it is not idle before, and the server's goes on."""


class _Selector(selectors.DefaultSelector):
    """Never waits: when asyncio wants to, or when its time is up, its loop stops."""

    def __init__(self) -> None:
        super().__init__()
        self.stop: Callable[[], object] | None = None  # None: waits like any selector
        self.until = 0.0  # time.monotonic(), when its time is up
        self.idle = False  # did it want to wait, with nothing to do?
        self.timeout: float | None = None  # for how long; None for as long as it takes

    def select(self, timeout: float | None = None) -> list[Any]:
        if self.stop is None:
            return super().select(timeout)
        found: list[Any] = super().select(0)
        wants_to_wait = timeout is None or timeout > 0
        if wants_to_wait or time.monotonic() >= self.until:
            self.idle, self.timeout = wants_to_wait and not found, timeout
            self.stop()
        return found


class NestedLoop:
    """Runs an asyncio loop in the thread of ``host``, from the first `turn` on."""

    def __init__(self, host: EventLoop) -> None:
        self._host = host
        self._selector = _Selector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._timer: Timer | None = None
        self._turning = self._again = False
        host.watch(self._selector.fileno(), self, READ)
        forking.OTHERS.add(self)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``coroutine`` in it."""
        return self._loop.create_task(coroutine)

    def run_until(self, coroutine: Coroutine[Any, Any, object], seconds: float) -> None:
        """Block the thread until ``coroutine`` has ended, for up to ``seconds``."""

        async def limited() -> None:
            try:
                await asyncio.wait_for(coroutine, seconds)
            except TimeoutError:
                pass

        self._selector.stop = None
        with _no_other_loop():
            self._loop.run_until_complete(limited())

    def turn(self) -> None:
        """Let it do what there is to do, and come back."""
        if self._turning or self._loop.is_closed():
            return
        self._turning, selector = True, self._selector
        selector.stop, selector.until = self._loop.stop, time.monotonic() + TURN_SECONDS
        selector.idle = False
        try:
            with _no_other_loop():
                while not selector.idle and time.monotonic() < selector.until:
                    self._loop.run_forever()
        except BaseException as error:
            self._host.report(error, "the connection to the broker raised")
        finally:
            self._turning = False
            self._schedule()

    def _schedule(self) -> None:
        """The next turn, if no descriptor calls for an earlier one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._selector.idle:
            self._host.call_threadsafe(self.turn)
        elif self._selector.timeout is not None:
            self._timer = self._host.call_later(self._selector.timeout, self.turn)

    def ready(self, events: int) -> None:
        """The host calls this."""
        self.turn()

    def abort(self) -> None:
        """The host is closed."""

    def give_up(self) -> None:
        """This process was forked from the loop's own: leave the epoll instance to that."""
        if not self._loop.is_closed():
            replace_epoll(self._selector.fileno())

    def close(self, last: Coroutine[Any, Any, object], seconds: float) -> None:
        """Run ``last`` to its end, for up to ``seconds``, then cancel what runs still."""
        if self._timer is not None:
            self._timer.cancel()
        self._host.unwatch(self._selector.fileno())
        try:
            self.run_until(last, seconds)
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.run_until(asyncio.wait(tasks), seconds)
        finally:
            self._loop.close()
            forking.OTHERS.discard(self)


@contextmanager
def _no_other_loop() -> Iterator[None]:
    """The thread may be in a callback of another asyncio loop, which must not be seen here."""
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
