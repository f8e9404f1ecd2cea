"""Log lines that a peer can cause: at most one a second of each kind.

The first line of a kind is logged at once. Those of the next second are counted, and the last of
them is logged with the count. So no peer can fill the disk, and no line hides one of another kind.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Mapping
from functools import partial
from types import TracebackType

from epollo.engine import EventLoop
from epollo.logs.logger import logger

_PERIOD = 1.0  # seconds
_MOST_KINDS = 256  # at a time; further ones share one kind

Fields = Mapping[str, object]

_log = logger("epollo.server")


class _Held:
    """The lines of one kind that were counted and not logged."""

    __slots__ = ("count", "extra", "level", "since", "text")

    def __init__(self, since: float) -> None:
        self.since = since  # time.monotonic() of the last line that was logged
        self.count = 0
        self.level = 0
        self.text = ""  # of the last one
        self.extra: Fields = {}  # the same


class LogLimiter:
    """Logs for one server, in its loop's thread. Without a loop it logs every line."""

    def __init__(self) -> None:
        self._loop: EventLoop | None = None
        self._held: dict[Hashable, _Held] = {}

    def begin(self, loop: EventLoop) -> None:
        """From now on, ``loop`` logs what is held back when its second is over."""
        self._loop = loop

    def end(self) -> None:
        """Log what is held back; the loop is about to be closed."""
        self._loop = None
        held, self._held = self._held, {}
        for each in held.values():
            _log_held(each)

    def log(
        self,
        kind: Hashable,
        level: int,
        text: str,
        *arguments: object,
        error: BaseException | None = None,
        extra: Fields | None = None,
    ) -> None:
        """Log a line of that ``kind``, with the traceback of ``error`` and the fields ``extra``; or
        count it."""
        if not _log.isEnabledFor(level):
            return
        if self._loop is None or level < logging.INFO:  # debug lines are asked for, each of them
            _log.log(level, text, *arguments, exc_info=error, extra=extra)
            return
        if kind not in self._held and len(self._held) >= _MOST_KINDS:
            kind = None
        held = self._held.get(kind)
        if held is not None and time.monotonic() < held.since + _PERIOD:
            held.count += 1  # and as text: ``error`` may refer to the connection
            held.level, held.text, held.extra = level, text % arguments, extra or {}
            return
        if held is not None:
            _log_held(held)
        self._hold(kind, self._loop)
        _log.log(level, text, *arguments, exc_info=error, extra=extra)

    def _hold(self, kind: Hashable, loop: EventLoop) -> None:
        self._held[kind] = held = _Held(time.monotonic())
        loop.call_later(_PERIOD, partial(self._release, kind, held))

    def _release(self, kind: Hashable, held: _Held) -> None:
        if self._held.get(kind) is not held or self._loop is None:
            return
        if held.count:
            self._hold(kind, self._loop)
            _log_held(held)
        else:
            del self._held[kind]


def _log_held(held: _Held) -> None:
    if held.count:
        others = f" (and {held.count - 1} more like this)" if held.count > 1 else ""
        extra = {**held.extra, "more": held.count - 1} if held.count > 1 else held.extra
        _log.log(held.level, "%s", held.text + others, extra=extra)


def kind_of(error: BaseException | None) -> Hashable:
    """Errors of one kind: of the same type, raised in the same line of code."""
    if error is None:
        return None
    place: TracebackType | None = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = None if place is None else (place.tb_frame.f_code.co_filename, place.tb_lineno)
    return type(error), where
