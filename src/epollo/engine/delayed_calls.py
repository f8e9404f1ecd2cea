"""Calls of `call_later`: made once, unless what they belong to has ended before."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from epollo.engine.timers import Timer
from epollo.errors import UsageError
from epollo.units import parse_seconds

Run = Callable[[Callable[[], object]], object]
"""Makes the call, and deals with what it raises."""


class CallingLoop(Protocol):
    """What a delayed call needs of its loop."""

    @property
    def thread(self) -> int | None: ...

    delayed_calls: dict[Any, set[DelayedCall]]

    def time(self) -> float: ...
    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer: ...
    def call_threadsafe(self, callback: Callable[[], object]) -> None: ...


class DelayedCall:
    """One call to come of ``call_later`` of a connection or a server. Its methods may be called in
    any thread."""

    __slots__ = ("_function", "_loop", "_owner", "_run", "_timer")

    def __init__(
        self, loop: CallingLoop, owner: object, function: Callable[[], object], run: Run
    ) -> None:
        self._loop: CallingLoop = loop
        self._owner: object = owner
        self._function: Callable[[], object] | None = function
        self._run: Run | None = run
        self._timer: Timer | None = None

    @property
    def cancelled(self) -> bool:
        """Will it not be made any more: was it cancelled, or has it begun?"""
        return self._function is None

    def cancel(self) -> None:
        """Do not make the call. Nothing if it has begun, or was cancelled."""
        self._function = self._run = None
        if in_thread(self._loop):
            self._leave()
        else:
            self._loop.call_threadsafe(self._leave)

    def start(self, when: float) -> None:
        """Wait until ``when`` of `Timers.now`. In the loop's thread."""
        if self._function is not None:
            seconds = max(0.0, when - self._loop.time())
            self._timer = self._loop.call_later(seconds, self._fire)
            self._loop.delayed_calls.setdefault(self._owner, set()).add(self)

    def _fire(self) -> None:
        function, run = self._function, self._run
        self._function = self._run = None
        self._leave()
        if function is not None and run is not None:
            run(function)

    def _leave(self) -> None:
        """It is over. In the loop's thread."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        calls = self._loop.delayed_calls
        mine = calls.get(self._owner)
        if mine is not None:
            mine.discard(self)
            if not mine:
                del calls[self._owner]


def call_later(
    loop: CallingLoop,
    owner: Any,
    delay: str | float,
    function: Callable[..., object],
    arguments: tuple[object, ...],
    run: Run,
) -> DelayedCall:
    """Have ``run`` make the call in the loop's thread after ``delay``. From any thread. Raises
    UsageError."""
    if not callable(function):
        raise UsageError(f"call_later: {function!r} is not a function")
    if inspect.iscoroutinefunction(function):
        raise UsageError(
            f"call_later: {function.__name__} is async; call connection.create_task in a plain "
            "function"
        )
    when = loop.time() + seconds_of(delay, "call_later")
    call = DelayedCall(loop, owner, partial(function, *arguments) if arguments else function, run)
    if in_thread(loop):
        call.start(when)
    else:
        loop.call_threadsafe(partial(call.start, when))
    return call


def cancel_calls(loop: CallingLoop, owner: object) -> None:
    """``owner`` has ended. In the loop's thread."""
    for call in tuple(loop.delayed_calls.get(owner, ())):
        call.cancel()


def in_thread(loop: CallingLoop) -> bool:
    """Is this the loop's thread, or is there none?"""
    return loop.thread in (None, threading.get_ident())


def seconds_of(value: str | float, what: str) -> float:
    """A time of at least 0, as a number of seconds or as text such as ``"250ms"``. Raises
    UsageError that begins with ``what``."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 <= value < math.inf:  # type: ignore[operator]
        return float(value)
    try:
        return parse_seconds(value)
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None
