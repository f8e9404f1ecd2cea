"""The engine as a guest of an asyncio loop: one descriptor among those that the loop watches."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from epollo.coroutines import Coroutines, wait_until
from epollo.engine import EventLoop
from epollo.errors import EngineMissing
from epollo.runner import Runner
from epollo.stopping import CLEANUP_SECONDS, StopDeadline

_LAST_STEP = 0.02  # seconds for tasks to take the cancellation at the end of their loop


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


def run(main: Callable[[], Coroutine[Any, Any, None]], name: str, deadline: StopDeadline) -> None:
    """Run ``main`` on a new loop of that name. Raises EngineMissing where it is not installed.

    As `asyncio.Runner` does, but it waits no longer than the deadline of a stop for tasks that
    swallow their cancellation, and for threads.
    """
    loop = _factory(name)()
    executor = ThreadPoolExecutor(thread_name_prefix="asyncio")  # which asyncio would make later
    loop.set_default_executor(executor)
    task = loop.create_task(main())
    try:
        loop.run_until_complete(task)
    finally:
        deadline.ensure()
        try:
            # Alone first: it ends its handlers in order, whatever was raised out of the loop.
            _end_tasks(loop, {task}, deadline)
            _end_tasks(loop, asyncio.all_tasks(loop), deadline)
            loop.run_until_complete(loop.shutdown_asyncgens())
            _end_threads(executor, deadline)
        finally:
            loop.close()


async def call(
    hook: Callable[[Any], object], argument: object, deadline: StopDeadline
) -> Sequence[str]:
    """Call a function that may be async. Returns its name if it has not ended at the deadline of a
    stop. What it sets in context variables is set for the caller."""
    result = hook(argument)
    if not inspect.isawaitable(result):
        return ()
    context = contextvars.copy_context()
    task = asyncio.get_running_loop().create_task(_awaited(result), context=context)
    try:
        pending = await wait_until(deadline, [task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task], timeout=CLEANUP_SECONDS)
        raise
    if pending:
        task.cancel()
        return [getattr(hook, "__qualname__", repr(hook))]
    for variable, value in context.items():
        variable.set(value)
    task.result()
    return ()


async def finish(runner: Runner, deadline: StopDeadline) -> Sequence[str]:
    """Wait for what the runner still has at work; the loop goes on meanwhile. Returns the names of
    what has not ended at the deadline."""
    if isinstance(runner, Coroutines):
        return await runner.finish(deadline)
    return await asyncio.to_thread(runner.close, deadline)


async def _awaited(result: Any) -> None:
    await result


def _end_tasks(
    loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[Any]], deadline: StopDeadline
) -> None:
    """Cancel those that have not ended, and wait for them until the deadline."""
    running = {task for task in tasks if not task.done()}
    for task in running:
        task.cancel()
    if running:
        left = max(_LAST_STEP, deadline.left or 0)
        loop.run_until_complete(asyncio.wait(running, timeout=left))
    for task in running:
        if not task.done():  # it was named in the log; asyncio need not complain of it, too
            loop.set_exception_handler(lambda *_: None)
        elif not task.cancelled() and (error := task.exception()) is not None:
            what = "a task raised when it was cancelled"
            loop.call_exception_handler({"message": what, "exception": error, "task": task})


def _end_threads(executor: ThreadPoolExecutor, deadline: StopDeadline) -> None:
    """Wait for the calls of `asyncio.to_thread`."""
    ending = threading.Thread(target=executor.shutdown, daemon=True)
    ending.start()
    ending.join(deadline.left)


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
