"""Questions at a pace: they take a bounded share of the time of those that answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from epollo.control.inquirer import Answer, Inquirer
from epollo.engine import EventLoop

SHARE = 9
"""The pause after a question, in multiples of the time that it has taken."""
LONGEST_PAUSE = 0.5  # seconds; a worker that is stuck must not make the others unknown

Tell: TypeAlias = Callable[[list[Answer]], object]
Wanted: TypeAlias = Callable[[], bool]


class Pace:
    """Asks the questions of all clients, one after the other, with pauses. So they cost at most a
    tenth of the time, however many clients have some."""

    def __init__(self, loop: EventLoop, inquirer: Inquirer) -> None:
        self._loop = loop
        self._inquirer = inquirer
        self._waiting: deque[tuple[Callable[[Inquirer, Tell], object], Tell, Wanted]] = deque()
        self._busy = False
        self._next = 0.0  # time.monotonic() of the next question, at the earliest

    def inquirer_for(self, wanted: Callable[[], bool]) -> Inquirer:
        """The inquirer of one client, whose questions are forgotten once they are not ``wanted``:
        it has gone."""
        return _ClientInquirer(self, wanted)

    def add(self, ask: Callable[[Inquirer, Tell], object], done: Tell, wanted: Wanted) -> None:
        """Call ``ask`` when it is time, unless it is not ``wanted`` by then."""
        self._waiting.append((ask, done, wanted))
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        """Begin with the next question when it is time."""
        while self._waiting and not self._waiting[0][2]():
            self._waiting.popleft()
        self._busy = bool(self._waiting)
        if not self._busy:
            return
        pause = self._next - time.monotonic()
        if pause > 0:
            self._loop.call_later(pause, self._ask_next)
        else:
            self._ask_next()

    def _ask_next(self) -> None:
        ask, done, wanted = self._waiting.popleft()
        if not wanted():
            self._begin()
            return
        began = time.monotonic()

        def tell(answers: list[Answer]) -> None:
            try:
                done(answers)
            finally:
                now = time.monotonic()
                self._next = now + min(SHARE * (now - began), LONGEST_PAUSE)
                self._begin()

        try:
            ask(self._inquirer, tell)
        except BaseException:
            self._begin()
            raise


class _ClientInquirer:
    """See `epollo.control.inquirer.Inquirer`."""

    def __init__(self, pace: Pace, wanted: Wanted) -> None:
        self._pace = pace
        self._wanted = wanted

    def ask(
        self, question: str, done: Tell, *, process: int | None = None, **arguments: Any
    ) -> None:
        def ask(inquirer: Inquirer, tell: Tell) -> None:
            inquirer.ask(question, tell, process=process, **arguments)

        self._pace.add(ask, done, self._wanted)
