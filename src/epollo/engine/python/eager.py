"""The first step of a coroutine."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from typing import Any

from epollo.engine import Connection, Reply
from epollo.engine.eager import Keeper, Spare, is_spoilt


class Steps:
    """Calls an async handler, and takes the first step of its coroutine at once."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        receive: Callable[..., Coroutine[Any, Any, Reply]],
        wants_connection: bool,
        keeper: Keeper,
    ) -> None:
        self._loop = loop
        self._receive = receive
        self._wants_connection = wants_connection
        self._keeper = keeper
        self._spare: Spare | None = None

    def received(self, message: bytes, connection: Connection) -> Reply:
        """Call the handler; its reply, where that is there already."""
        receive = self._receive
        work = receive(message, connection) if self._wants_connection else receive(message)
        return self.take(work, connection, 1)

    def take(self, work: Coroutine[Any, Any, Reply], connection: Connection, weight: int) -> Reply:
        """Begin ``work``, which takes so many messages' places in what is in flight."""
        spare, keeper = self._spare, self._keeper
        if spare is None or is_spoilt(spare):
            spare = self._spare = keeper.new_spare()
        _enter_task(self._loop, spare.task)
        try:
            awaited = spare.context.run(work.send, None)
        except StopIteration as stop:
            reply = stop.value
        except BaseException as error:
            return keeper.in_turn(connection, None, error)
        else:
            self._spare = None
            keeper.go_on(work, awaited, connection, weight)
            return None
        finally:
            _leave_task(self._loop, spare.task)
        return keeper.in_turn(connection, reply) if connection.in_flight else reply
