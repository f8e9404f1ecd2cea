"""The hooks of an application that are called for its server while it runs in its loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from epollo.engine import EventLoop
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.stopping import Stop

RAISED = {
    "missed": "the handler raised in missed",
    "stopping": "the handler raised in stopping",
}


class Hooks:
    """Calls them in the thread of the loop; an async one runs in a task, at most until the deadline
    of ``stop``. What they raise is logged, and ends nothing else."""

    def __init__(self, protocol: ApplicationProtocol, stop: Stop) -> None:
        self._protocol = protocol
        self._stop = stop
        self._tasks: set[Any] = set()  # of asyncio, which is imported for async hooks only

    def call(self, name: str, loop: EventLoop, server: object, *arguments: object) -> Any:
        """Call the hook ``name``, if there is one, with ``server`` and ``arguments``. Returns the
        task of an async one, else None."""
        application = self._protocol.application
        if not application.has(name):
            return None
        hook: Callable[..., object] = getattr(application, name)
        report = partial(loop.report, what=RAISED[name])
        if application.is_async(name):
            call = wraps(hook)(lambda server: hook(server, *arguments))  # a stop may name it
            return self._begin(call, server, report)
        try:
            with self._protocol.slow_handlers.in_hook(application, name):
                hook(server, *arguments)
        except BaseException as error:
            report(error)
        return None

    def _begin(
        self,
        hook: Callable[[Any], object],
        server: object,
        report: Callable[[BaseException], object],
    ) -> Any:
        from epollo.server import asyncio_adapter

        task = asyncio_adapter.begin_hook(hook, server, self._stop, report)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self) -> None:
        """The server ends: cancel those that still run."""
        from epollo.server import asyncio_adapter

        for task in tuple(self._tasks):
            await asyncio_adapter.end_hook(task)
