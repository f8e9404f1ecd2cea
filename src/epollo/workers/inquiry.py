"""Questions of the supervisor to all of its workers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from epollo.control.inquirer import Answer, Values, named, with_rows
from epollo.engine import EventLoop
from epollo.workers.pool import Pool
from epollo.workers.worker import Stage, Worker

SECONDS = 1.0
"""For a worker to answer, or to tell a further part of its answer: one whose loop is held for
longer gives no answer."""


class _Inquiry:
    """One question, until every worker has answered or has had its time."""

    def __init__(
        self,
        question: str,
        workers: dict[Worker, int],
        done: Callable[[list[Answer]], object],
    ) -> None:
        self.waiting = set(workers)
        self.going_on = False  # rows have come since this was last false
        self._question = question
        self._workers = workers
        self._rows: dict[Worker, list[Values]] = {}
        self._values: dict[Worker, Values] = {}
        self._done = done

    def add(self, worker: Worker, rows: list[Values]) -> None:
        self.going_on = True
        slot = self._workers[worker]
        self._rows.setdefault(worker, []).extend(named(row, worker.pid, slot) for row in rows)

    def answer(self, worker: Worker, values: Values | None) -> None:
        if worker in self.waiting:
            self.waiting.discard(worker)
            if values is not None:
                rows = self._rows.get(worker, ())
                self._values[worker] = with_rows(values, self._question, rows)

    def end(self) -> None:
        self._done(
            [
                Answer(worker.pid, slot, worker.stage.value, self._values.get(worker))
                for worker, slot in self._workers.items()
            ]
        )


class Inquiries:
    """Asks the workers of ``pool``, over their channels (`epollo.control.inquirer.Inquirer`)."""

    def __init__(self, loop: EventLoop, pool: Pool) -> None:
        self._loop = loop
        self._pool = pool
        self._numbers = count()
        self._open: dict[int, _Inquiry] = {}

    def ask(
        self,
        question: str,
        done: Callable[[list[Answer]], object],
        *,
        process: int | None = None,
        **arguments: Any,
    ) -> None:
        asked = {
            worker: slot
            for worker, slot in self._pool.workers()
            if worker.stage is not Stage.BOOTING and process in (None, worker.pid)
        }
        number = next(self._numbers)
        self._open[number] = inquiry = _Inquiry(question, asked, done)
        for worker in asked:
            worker.send("ask", number=number, question=question, arguments=arguments)
        self._loop.call_later(SECONDS if inquiry.waiting else 0.0, lambda: self._end_late(number))

    def on_rows(self, worker: Worker, number: int, rows: list[Values]) -> None:
        """``worker`` tells a part of a list, perhaps an empty one; its answer follows."""
        inquiry = self._open.get(number)
        if inquiry is not None:
            inquiry.add(worker, rows)

    def on_answer(self, worker: Worker, number: int, values: Values) -> None:
        """``worker`` has answered; perhaps too late."""
        inquiry = self._open.get(number)
        if inquiry is not None:
            inquiry.answer(worker, values)
            self._end_if_complete(number, inquiry)

    def on_ended(self, worker: Worker) -> None:
        """``worker`` answers nothing any more."""
        for number, inquiry in list(self._open.items()):
            inquiry.answer(worker, None)
            self._end_if_complete(number, inquiry)

    def _end_if_complete(self, number: int, inquiry: _Inquiry) -> None:
        if not inquiry.waiting:
            self._end(number)

    def _end_late(self, number: int) -> None:
        """The time is over, unless a worker is telling a list."""
        inquiry = self._open.get(number)
        if inquiry is not None and inquiry.going_on:
            inquiry.going_on = False
            self._loop.call_later(SECONDS, lambda: self._end_late(number))
        else:
            self._end(number)

    def _end(self, number: int) -> None:
        inquiry = self._open.pop(number, None)
        if inquiry is not None:
            inquiry.end()
