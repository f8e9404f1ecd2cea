"""Other event loops, which serve the engine as one descriptor and run the asynchronous client."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from tests.support import DEADLINE

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


def runner(name: str) -> Run:
    """Runs a coroutine on a new loop of asyncio's or uvloop's. It has to end in time, and to leave
    no task and no complaint of the loop's exception handler."""
    factory = importlib.import_module(name).new_event_loop
    complaints: list[dict[str, Any]] = []

    async def checked(test: Coroutine[Any, Any, None]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
        async with asyncio.timeout(2 * DEADLINE):
            await test
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def run(test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(checked(test))
        assert complaints == []

    return run
