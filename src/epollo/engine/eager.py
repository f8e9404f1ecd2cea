"""The first step of a coroutine, taken at once and not in a task of its own: the contract.

Most coroutines end in their first step. Taking it is work per message, so each engine has its own
implementation: `python/eager.py` and `native/eager.pyx`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, Protocol

from epollo.engine import EngineConnection, Reply


class ParkedTask(Protocol):
    """A task that waits for a coroutine. The first step runs in this task's name and context."""

    task: asyncio.Task[None]
    resumed: asyncio.Future[None]  # set when the task gets its coroutine
    context: Context
    clean_context: Context  # a copy of ``context`` from before any coroutine ran in it


class EagerCallbacks(Protocol):
    """What an `EagerRunner` calls; ``connection`` is the one that the runner was given."""

    def new_parked_task(self) -> ParkedTask:
        """A fresh parked task: the last one has its coroutine, or cannot be used again."""

    def resume(
        self, work: Coroutine[Any, Any, Any], awaited: Any, connection: Any, weight: int
    ) -> None:
        """The first step of ``work`` ended waiting for ``awaited``: continue in the parked task."""

    def reply_in_order(
        self, connection: Any, reply: Reply, error: BaseException | None = None
    ) -> Reply:
        """The coroutine ended in its first step: return the reply that is due now, or raise
        ``error``. None if it is sent later: after earlier ones that are still due, or as it is
        made. Not asked for a reply of None or bytes if no other one is due."""


class EagerRunner(Protocol):
    """Takes the first steps of the coroutines of one asyncio loop."""

    def received(self, message: bytes, connection: EngineConnection) -> Reply:
        """Call the async handler; returns its reply if it ends in its first step."""

    def start(
        self, work: Coroutine[Any, Any, Reply], connection: EngineConnection, weight: int
    ) -> Reply:
        """Take the first step of ``work``; if it waits then, it takes ``weight`` places in flight.
        Returns its reply if it has ended."""


def needs_replacement(parked_task: ParkedTask) -> bool:
    """Was the task resumed or cancelled, or did the last coroutine change its context?"""
    cancelled = parked_task.resumed.done() or parked_task.task.cancelling()
    return bool(cancelled or parked_task.context != parked_task.clean_context)
