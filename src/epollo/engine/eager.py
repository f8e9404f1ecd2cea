"""The first step of a coroutine, which for most of them is the last: what taking it needs.

That happens per message, so it stands in the engines: `python/step.py`, and `native/step.pyx`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from epollo.engine import Connection, Reply


class ParkedTask(Protocol):
    """A task that does nothing yet: in its name, and in its context, the step is taken."""

    task: asyncio.Task[None]
    resumed: asyncio.Future[None]  # what it waits for
    context: Context
    clean_context: Context  # the same as it was at first


class EagerCallbacks(Protocol):
    """Knows what becomes of a call."""

    def new_parked_task(self) -> ParkedTask:
        """Another one, in place of one that was taken or is spoilt."""

    def resume(
        self, work: Coroutine[Any, Any, Any], awaited: Any, connection: Connection, weight: int
    ) -> None:
        """``work`` waits for ``awaited``: the parked task goes on with it."""

    def reply_in_order(
        self, connection: Connection, reply: Reply, error: BaseException | None = None
    ) -> Reply:
        """It has ended: what is to be replied at once. Raises what is to be raised at once."""


class EagerRunner(Protocol):
    """Takes it, on one asyncio loop."""

    def received(self, message: bytes, connection: Connection) -> Reply:
        """Call the async handler; its reply, where that waits for nothing."""

    def start(self, work: Coroutine[Any, Any, Reply], connection: Connection, weight: int) -> Reply:
        """Begin ``work``, which takes so many messages' places in what is in flight."""


def needs_replacement(parked_task: ParkedTask) -> bool:
    """Was it cancelled, or has the coroutine before left something in the context?"""
    cancelled = parked_task.resumed.done() or parked_task.task.cancelling()
    return bool(cancelled or parked_task.context != parked_task.clean_context)
