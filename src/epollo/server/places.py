"""The place in the code of an application that a thread or a coroutine has come to, for the log."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

_OWN_FILES = str(Path(__file__).parents[1])
_LIBRARY = sysconfig.get_path("stdlib")
_INSTALLED = "site-packages"
_MOST_FRAMES = 100
_FRAMES = ("cr_frame", "gi_frame", "ag_frame")  # of a coroutine, a generator, an async one
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")
_LOOP_FILES = ("asyncio/base_events.py", "asyncio/events.py", "asyncio/runners.py")


def place_of_thread(ident: int) -> str | None:
    """Where the thread is in code of the application; None if a loop, or epollo itself, has not
    called any at the moment."""
    stack = _stack_of_thread(ident)
    place = next(filter(_is_of_application, stack), None)
    return None if place is None else _described(place)


def place_and_stack_of_thread(ident: int) -> tuple[str, str] | None:
    """The same, and the stack from the first call of the application on, as tracebacks show it."""
    stack = _stack_of_thread(ident)
    place = next(filter(_is_of_application, stack), None)
    if place is None:
        return None
    calls = reversed([(frame, frame.f_lineno) for frame in stack[:_MOST_FRAMES]])
    text = "".join(traceback.StackSummary.extract(calls).format())
    return _described(place), f"Stack (most recent call last):\n{text.rstrip()}"


def _stack_of_thread(ident: int) -> list[FrameType]:
    """The calls of the thread, the last one first, down to the one that a loop, or epollo, has
    made."""
    stack = []
    frame = sys._current_frames().get(ident)
    while frame is not None and not _is_of_loop(frame):
        stack.append(frame)
        frame = frame.f_back
    return stack


def _is_of_loop(frame: FrameType) -> bool:
    filename = frame.f_code.co_filename
    return filename.startswith(_OWN_FILES) or filename.endswith(_LOOP_FILES)


def place_of_coroutine(work: Any) -> str | None:
    """The place at which a waiting coroutine or async generator is in code of the application."""
    place = None
    while work is not None:
        frame = next(filter(None, (getattr(work, name, None) for name in _FRAMES)), None)
        if frame is not None and _is_of_application(frame):
            place = _described(frame)
        work = next(filter(None, (getattr(work, name, None) for name in _AWAITED)), None)
    return place


def _is_of_application(frame: FrameType) -> bool:
    filename = frame.f_code.co_filename
    if filename.startswith(_OWN_FILES):
        return False
    return not filename.startswith(_LIBRARY) or _INSTALLED in filename


def _described(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_qualname} in {code.co_filename}:{frame.f_lineno}"
