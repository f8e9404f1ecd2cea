"""The engine: sockets become messages and replies become bytes, on one thread and one loop.

Its contract is `interface.py`. Work per message stands in both engines, `engine/python` and
`engine/native`. The life of a connection stands in `connection.py`, the work of a loop once a turn
in `base_loop.py`, for both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

from epollo.engine.delayed_calls import DelayedCall
from epollo.engine.interface import (
    Bounds,
    Connection,
    ConnectionProtocol,
    EngineConnection,
    EventLoop,
    FilteringProtocol,
    Limits,
    Reply,
)
from epollo.engine.timers import Timer
from epollo.errors import EngineMissing
from epollo.reasons import CloseReason

NOT_BUILT = (
    "the native engine was not built: reinstall epollo with a C compiler present, and "
    "EPOLLO_NATIVE=require to see what is wrong"
)

__all__ = [
    "Bounds",
    "CloseReason",
    "Connection",
    "ConnectionProtocol",
    "DelayedCall",
    "EngineConnection",
    "EventLoop",
    "FilteringProtocol",
    "Limits",
    "Reply",
    "Timer",
    "available",
    "native_missed",
    "new_loop",
]


def available() -> list[str]:
    """The engines that this installation has, the preferred one first."""
    return [name for name in ("native", "python") if _loop_class(name) is not None]


def native_missed(engine: str, poller: str) -> bool:
    """Whether these settings give the Python engine only because the native one was not built,
    which can be built for CPython on Linux."""
    buildable = sys.platform == "linux" and sys.implementation.name == "cpython"
    wanted = engine == "auto" and poller in ("auto", "epoll")
    return buildable and wanted and "native" not in available()


def new_loop(engine: str = "auto", poller: str = "auto") -> EventLoop:
    """A loop of the named engine on the named poller (epoll, poll, select, kqueue).

    ``auto`` is the native engine, if it was built and has that poller. Raises EngineMissing
    with the names there are.
    """
    if engine == "auto":
        engine = next(iter(available())) if poller in ("auto", "epoll") else "python"
    loop_class = _loop_class(engine)
    if loop_class is None and engine == "native":
        raise EngineMissing(f"{NOT_BUILT}; or use --engine python")
    if loop_class is None:
        names = ", ".join(["auto", *available()])
        raise EngineMissing(f"no engine {engine!r} in this installation; there are {names}")
    return loop_class(poller)


@cache
def _loop_class(engine: str) -> Callable[[str], EventLoop] | None:
    """The loop of an engine; None if it was not built, or there is no such engine."""
    try:
        if engine == "native":
            from epollo.engine.native.loop import Loop as NativeLoop

            return NativeLoop
    except ModuleNotFoundError:
        return None
    from epollo.engine.python.loop import Loop

    return Loop if engine == "python" else None
