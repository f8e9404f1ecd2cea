"""Runs the engine on an asyncio loop, which watches it as one descriptor."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from epollo.engine import EventLoop, forking
from epollo.engine.forking import replace_epoll
from epollo.errors import EngineMissing
from epollo.server.handlers.coroutines import TASK_NAME, CoroutineExecutor, wait_until
from epollo.server.handlers.executor import Executor
from epollo.server.stopping import CLEANUP_SECONDS, Stop, Watchdog

_LAST_STEP = 0.02  # seconds that cancelled tasks get at least, at the end of their loop


class AsyncioAdapter:
    """Serves an engine on the running loop. Raises EngineMissing if it has no descriptor."""

    def __init__(self, engine: EventLoop) -> None:
        self._engine = engine
        self._fd = engine.fileno()
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        self.post: Callable[[Callable[[], object]], object] = self._loop.call_soon_threadsafe
        forking.OTHERS.add(self)

    @property
    def inherited(self) -> bool:
        """Was this process forked from the loop's own?"""
        return self._engine.inherited

    def give_up(self) -> None:
        """This process was forked from the loop's own: leave that loop's epoll instance to it, and
        let the next step of the loop here end what runs in it."""
        loop: Any = self._loop
        try:
            selector = getattr(loop, "_selector", None)
            replace_epoll(loop._get_backend_id() if selector is None else selector.fileno())
        except (AttributeError, OSError, ValueError):  # another kind of loop, or closed
            pass
        loop.set_exception_handler(lambda *_: None)  # the tasks are its parent's
        if not loop.is_closed():
            loop.call_soon(self._turn)

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
        except Exception as error:  # of the poller: the loop would call this again, endlessly
            if not self._over.done():
                self._over.set_exception(error)


def check(engine: EventLoop, name: str) -> None:
    """Raises EngineMissing if the engine has no descriptor, or the loop ``name`` is missing."""
    engine.fileno()
    _factory(name)


def run(
    main: Callable[[], Coroutine[Any, Any, None]], name: str, stop: Stop, watchdog: Watchdog
) -> None:
    """Run ``main`` on a new loop of that ``name``. Raises EngineMissing if it is not installed.

    Like `asyncio.Runner`, but it waits at most until the deadline of ``stop`` for threads and for
    tasks that ignore their cancellation.
    """
    loop = _factory(name)()
    # Set here, because asyncio keeps no public reference to its own, and `_end_threads` needs it.
    default_executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
    loop.set_default_executor(default_executor)
    task, process = loop.create_task(main()), os.getpid()
    try:
        with watchdog.in_loop(loop.call_soon_threadsafe):
            try:
                loop.run_until_complete(task)
            finally:
                stop.ensure()
                # The main task alone first: it ends the handlers in order.
                _end_tasks(loop, {task}, stop)
                if os.getpid() == process:
                    _end_tasks(loop, asyncio.all_tasks(loop), stop)
                    loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        try:
            if os.getpid() == process:  # a forked process has none of the threads
                _end_threads(default_executor, stop)
        finally:
            loop.close()


async def call(hook: Callable[[Any], object], argument: object, stop: Stop) -> bool:
    """Call ``hook``, which may be async; false if it has not ended at the deadline of ``stop``.
    Context variables that it sets are set for the caller too."""
    result = hook(argument)
    if not inspect.isawaitable(result):
        return True
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    task = loop.create_task(_awaited(result), name=TASK_NAME, context=context)
    try:
        pending = await wait_until(stop, [task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task], timeout=CLEANUP_SECONDS)
        raise
    if pending:
        task.cancel()
        stop.leave_behind([_name_of(hook)])
        return False
    for variable, value in context.items():
        variable.set(value)
    task.result()
    return True


def begin_hook(
    hook: Callable[[Any], object],
    argument: object,
    stop: Stop,
    report: Callable[[BaseException], object],
) -> asyncio.Task[None]:
    """Call ``hook``, an async one, in a task, at most until the deadline of ``stop``; ``report`` is
    told what it raises."""

    async def run() -> None:
        try:
            await call(hook, argument, stop)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            report(error)

    return asyncio.get_running_loop().create_task(run(), name=TASK_NAME)


async def end_hook(task: asyncio.Task[None] | None) -> None:
    """The server ends: cancel the hook of `begin_hook` if it still runs."""
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CLEANUP_SECONDS)


async def finish(executor: Executor, stop: Stop) -> None:
    """Wait for the executor's calls, at most until the deadline, without blocking the loop."""
    if isinstance(executor, CoroutineExecutor):
        await executor.finish(stop)
    else:
        await _in_thread(partial(executor.close, stop))


async def _in_thread(call: Callable[[], object]) -> None:
    """As asyncio.to_thread, without an executor, which asyncio could not close once the main thread
    has ended. From then on no thread can be started: the call is made here."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        try:
            call()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass

    thread = threading.Thread(target=work, name="epollo-stop", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        call()
    else:
        await asyncio.shield(done)
        thread.join()  # which has nothing more to do


def _name_of(function: object) -> str:
    """Of a function or a coroutine. Not its repr, which for a method calls one of the user's."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


async def _awaited(result: Any) -> None:
    await result


def _end_tasks(loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[Any]], stop: Stop) -> None:
    """Cancel ``tasks`` and wait for them, at most until the deadline."""
    running = {task for task in tasks if not task.done()}
    for task in running:
        task.cancel()
    if running:
        left = max(_LAST_STEP, stop.seconds_left or 0)
        loop.run_until_complete(asyncio.wait(running, timeout=left))
    for task in running:
        if not task.done():
            if task.get_name() != TASK_NAME:  # hooks and handlers are reported already
                stop.leave_behind([f"task {_name_of(task.get_coro())}"])
            # asyncio would log the task again when it is destroyed.
            loop.set_exception_handler(lambda *_: None)
        elif not task.cancelled() and (error := task.exception()) is not None:
            what = "a task raised when it was cancelled"
            loop.call_exception_handler({"message": what, "exception": error, "task": task})


def _end_threads(default_executor: ThreadPoolExecutor, stop: Stop) -> None:
    """Wait for the calls of `asyncio.to_thread`, at most until the deadline."""
    ending = threading.Thread(target=default_executor.shutdown, daemon=True)
    ending.start()
    ending.join(max(_LAST_STEP, stop.seconds_left or 0))
    if ending.is_alive():
        stop.leave_behind(["a call of asyncio.to_thread, or of the loop's default executor"])


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
