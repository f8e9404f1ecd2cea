"""An application that misbehaves in one of its hooks, in one way: for tests of a stop.

The environment says how: ``HOOK``, ``DEED``, and ``STEP`` for async handlers: ``first``, in the
first step of the coroutine, or ``later``. The hook prints "begun" when it begins to misbehave.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import Any

HOOK = os.environ.get("HOOK", "")
DEED = os.environ.get("DEED", "")
STEP = os.environ.get("STEP", "")
FOREVER = 3600.0


class Panic(BaseException):
    """What is no Exception."""


def misbehave() -> None:
    """A plain function's ways."""
    match DEED:
        case "sleep":
            time.sleep(FOREVER)
        case "wait":
            threading.Event().wait()
        case "compute":
            while True:
                pass
        case "swallow interrupts":
            while True:
                try:
                    time.sleep(FOREVER)
                except BaseException:  # noqa: S110 (as some do)
                    pass
        case "lazily":
            raise AssertionError("for replies only")
        case "raise":
            raise ValueError("on purpose")
        case "panic":
            raise Panic
        case "exit":
            sys.exit(3)


async def misbehave_async() -> None:
    """A coroutine's ways."""
    match DEED:
        case "never return":
            await asyncio.get_running_loop().create_future()
        case "swallow cancellation":
            while True:
                try:
                    await asyncio.sleep(FOREVER)
                except asyncio.CancelledError:
                    pass
        case "thread":
            await asyncio.to_thread(time.sleep, FOREVER)
        case "task":
            await asyncio.gather(asyncio.create_task(stubborn()))
        case _:
            misbehave()


async def stubborn() -> None:
    """A task of the application's own."""
    while True:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            pass


def endless() -> Any:
    """A reply whose next message never comes."""
    yield b"first"
    time.sleep(FOREVER)


class Plain:
    def _at(self, hook: str) -> None:
        if hook == HOOK:
            print("begun", flush=True)
            misbehave()

    def started(self, server: Any) -> None:
        self._at("started")

    def connected(self, connection: Any) -> None:
        self._at("connected")

    def received(self, message: bytes, connection: Any) -> Any:
        if DEED == "lazily":
            print("begun", flush=True)
            return endless()
        self._at("received")
        return message

    def disconnected(self, connection: Any, reason: Any) -> None:
        self._at("disconnected")

    def stopped(self, server: Any) -> None:
        self._at("stopped")


class Async:
    async def _at(self, hook: str) -> None:
        if STEP == "later":
            await asyncio.sleep(0)
        if hook == HOOK:
            print("begun", flush=True)
            await misbehave_async()

    async def started(self, server: Any) -> None:
        await self._at("started")

    async def connected(self, connection: Any) -> None:
        await self._at("connected")

    async def received(self, message: bytes, connection: Any) -> Any:
        await self._at("received")
        return message

    async def disconnected(self, connection: Any, reason: Any) -> None:
        await self._at("disconnected")

    async def stopped(self, server: Any) -> None:
        await self._at("stopped")
