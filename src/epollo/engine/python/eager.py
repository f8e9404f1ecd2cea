"""The first step of a coroutine, in Python."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from typing import Any

from epollo.engine import EngineConnection, Reply
from epollo.engine.eager import EagerCallbacks, ParkedTask, needs_replacement


class EagerRunner:
    """Calls an async handler, and takes the first step of its coroutine at once."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        receive: Callable[..., Coroutine[Any, Any, Reply]],
        wants_connection: bool,
        callbacks: EagerCallbacks,
    ) -> None:
        self._loop = loop
        self._receive = receive
        self._wants_connection = wants_connection
        self._callbacks = callbacks
        self._parked_task: ParkedTask | None = None

    def received(self, message: bytes, connection: EngineConnection) -> Reply:
        """Call the handler; returns its reply if it ends in its first step."""
        receive = self._receive
        work = receive(message, connection) if self._wants_connection else receive(message)
        return self.start(work, connection, 1)

    def start(
        self, work: Coroutine[Any, Any, Reply], connection: EngineConnection, weight: int
    ) -> Reply:
        """Take the first step of ``work``; if it waits then, it takes ``weight`` places in flight.
        Returns its reply if it has ended."""
        parked_task, callbacks = self._parked_task, self._callbacks
        if parked_task is None or needs_replacement(parked_task):
            parked_task = self._parked_task = callbacks.new_parked_task()
        _enter_task(self._loop, parked_task.task)
        try:
            awaited = parked_task.context.run(work.send, None)
        except StopIteration as stop:
            reply = stop.value
        except BaseException as error:
            return callbacks.reply_in_order(connection, None, error)
        else:
            self._parked_task = None
            callbacks.resume(work, awaited, connection, weight)
            return None
        finally:
            _leave_task(self._loop, parked_task.task)
        if connection.in_flight or not (type(reply) is bytes or reply is None):
            return callbacks.reply_in_order(connection, reply)
        return reply
