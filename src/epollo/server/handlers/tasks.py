"""Tasks of `Connection.create_task`: cancelled when their connection is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from epollo.engine import EngineConnection

Work = Coroutine[Any, Any, Any]


class ConnectionTasks:
    """The tasks of all connections. A connection is kept here only while it has one."""

    def __init__(self) -> None:
        self._tasks: dict[EngineConnection, set[asyncio.Task[Any]]] = {}
        self._last: dict[EngineConnection, Callable[[], object]] = {}

    def create(self, connection: EngineConnection, work: Work, name: str) -> asyncio.Task[Any]:
        """Run ``work`` in a task; what it raises ends ``connection``."""
        loop = asyncio.get_running_loop()
        task = asyncio.Task(_guarded(connection, work), loop=loop, name=name)
        self._tasks.setdefault(connection, set()).add(task)
        task.add_done_callback(partial(self._ended, connection, work))
        return task

    def all(self) -> list[asyncio.Task[Any]]:
        """Those that have not ended."""
        return [task for tasks in self._tasks.values() for task in tasks if not task.done()]

    def cancel(self, connection: EngineConnection) -> None:
        """``connection`` is closed."""
        for task in tuple(self._tasks.get(connection, ())):
            task.cancel()

    def after(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        """Call ``function`` when ``connection`` has no task any more."""
        if connection in self._tasks:
            self._last[connection] = function
        else:
            function()

    def _ended(self, connection: EngineConnection, work: Work, task: asyncio.Task[Any]) -> None:
        work.close()  # if it was cancelled before its first step, it was never begun
        if not task.cancelled():
            task.exception()  # which `_guarded` has dealt with: asyncio need not log it
        tasks = self._tasks[connection]
        tasks.discard(task)
        if not tasks:
            del self._tasks[connection]
            self._last.pop(connection, _nothing)()


async def _guarded(connection: EngineConnection, work: Work) -> Any:
    try:
        return await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and not task.cancelling():  # nobody has cancelled it
            connection.call_raised(error)
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        connection.call_raised(error)  # which ends the server; raised here, it would end the loop
        return None
    except BaseException as error:
        connection.call_raised(error)
        raise


def _nothing() -> None:
    pass
