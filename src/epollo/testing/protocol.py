"""How an application is called in memory: as by a server, but nothing is logged or counted."""

from __future__ import annotations

import asyncio
import dataclasses
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from epollo.engine import CloseReason, EngineConnection, Limits, Reply
from epollo.errors import UsageError
from epollo.framing import Framing
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.groups.registry import Groups
from epollo.server.handlers.application import Application
from epollo.server.handlers.coroutines import TASK_NAME
from epollo.server.handlers.executor import Executor


class MemoryProtocol:
    """What the server's protocol is to its connections."""

    executor: Executor  # set when the block is entered

    def __init__(self, protocol: ApplicationProtocol) -> None:
        self.framing: Framing = protocol.framing
        self.limits: Limits = protocol.limits
        self.groups: Groups = protocol.groups
        self.idle_timeout: float = protocol.idle_timeout

    def received(self, message: bytes, connection: EngineConnection) -> Reply:
        return self.executor.received(message, connection)

    def run_call(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        self.executor.run_call(connection, function)

    def create_task(self, connection: EngineConnection, work: Any, name: str | None) -> Any:
        return self.executor.create_task(connection, work, name)

    def connected(self, connection: EngineConnection) -> None:
        self.executor.connected(connection)

    def closed(self, connection: EngineConnection, reason: CloseReason) -> None:
        self.groups.forget(connection)
        if connection.established:
            self.executor.disconnected(connection, reason, lambda: None)


def without_async(application: Application) -> Application:
    """``application`` with UsageError raised in place of calls that would have to be awaited."""

    def refuse(*_: object) -> NoReturn:
        raise UsageError("the handler is async: use async with, and await receive_async")

    calls: dict[str, Any] = dict.fromkeys(application.asynchronous, refuse)
    return dataclasses.replace(application, **calls)


@contextmanager
def outside_tasks() -> Iterator[None]:
    """Make no task the current one, as in a turn of a server's loop: asyncio has tasks take their
    steps one at a time, and a turn takes the first step of async handlers."""
    task = _current_task()
    if task is not None:
        _leave_task(task.get_loop(), task)
    try:
        yield
    finally:
        if task is not None:
            _enter_task(task.get_loop(), task)


def in_handler() -> bool:
    """Is this the task of an async handler? Its first step is taken in a turn of the loop."""
    task = _current_task()
    return task is not None and task.get_name() == TASK_NAME


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs
        return None
