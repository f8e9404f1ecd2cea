"""The engine as a guest of an asyncio loop: one descriptor among those that the loop watches."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from epollo.coroutines import Coroutines
from epollo.engine import EventLoop
from epollo.errors import EngineMissing
from epollo.runner import Runner


class Guest:
    """Serves an engine on the running loop. Raises EngineMissing where it is no descriptor."""

    def __init__(self, engine: EventLoop) -> None:
        self._engine = engine
        self._fd = engine.fileno()
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()

    def stop(self) -> None:
        """End `run`."""
        if not self._over.done():
            self._over.set_result(None)

    async def run(self) -> None:
        """Serve until `stop`."""
        self._loop.add_reader(self._fd, self._turn)
        try:
            await self._over
        finally:
            self._loop.remove_reader(self._fd)

    def _turn(self) -> None:
        try:
            self._engine.poll(0)
        except Exception as error:  # of the poller: the loop would call again, for ever
            if not self._over.done():
                self._over.set_exception(error)


def check(engine: EventLoop, name: str) -> None:
    """Raises EngineMissing for what can be no guest, or a loop of that ``name`` no host."""
    engine.fileno()
    _factory(name)


def run(main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Run ``main`` on a new loop of that name. Raises EngineMissing where it is not installed."""
    with asyncio.Runner(loop_factory=_factory(name)) as runner:
        runner.run(main())


async def call(hook: Callable[[Any], object], argument: object) -> None:
    """Call a function that may be async."""
    result = hook(argument)
    if inspect.isawaitable(result):
        await result


async def finish(runner: Runner) -> None:
    """Wait for what the runner still has at work; the loop goes on meanwhile."""
    if isinstance(runner, Coroutines):
        await runner.finish()
    else:
        await asyncio.to_thread(runner.close)


def _factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ModuleNotFoundError:
        if name == "auto":
            return asyncio.new_event_loop
        raise EngineMissing(
            "uvloop is not installed: pip install uvloop, or loop asyncio"
        ) from None
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make
