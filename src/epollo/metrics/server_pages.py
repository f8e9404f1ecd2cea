"""The pages of a running server: its metrics, whether it works, and whether it is ready."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from epollo.control.inquirer import Answer, Inquirer
from epollo.control.steps import StepQueue
from epollo.engine import EventLoop
from epollo.logs.logger import logger
from epollo.metrics.families import families
from epollo.metrics.pages import Format, Page, Pages, Request, format_for, metrics_page, text_page
from epollo.metrics.watched import WatchedServer

PERIOD = 0.05
"""Seconds from one look at the figures to the next, at least. All requests in between are
answered together, so requests in a row cost little, and no answer is older than its request."""

_SHARE = 4
"""The pause after a look, in multiples of the time that it has taken."""

_LONGEST_PAUSE = 0.5  # seconds; a worker that is stuck must not make the others unknown

_log = logger("epollo.metrics")


class _Asked(NamedTuple):
    """A request for the metrics, and the format of the answer."""

    form: Format
    request: Request


class ServerPages:
    """Asks the processes of a server when it is asked. In the loop's thread."""

    def __init__(self, loop: EventLoop, inquirer: Inquirer, server: WatchedServer) -> None:
        self._loop = loop
        self._inquirer = inquirer
        self._server = server
        self._waiting: list[_Asked] = []  # at most one for each open connection
        self._asking = False
        self._earliest = 0.0  # time.monotonic() of the next look
        self._steps = StepQueue(loop)

    @property
    def pages(self) -> Pages:
        return {
            b"/metrics": self._wait,
            b"/": self._wait,
            b"/healthz": lambda request: request.respond(
                text_page(200, "ok")
                if self._server.answers
                else text_page(503, "no worker answers")
            ),
            b"/readyz": lambda request: request.respond(
                text_page(200, "ready") if self._server.ready else text_page(503, "not ready")
            ),
        }

    def _wait(self, request: Request) -> None:
        self._waiting = [each for each in self._waiting if not each.request.gone]
        self._waiting.append(_Asked(format_for(request.accept), request))
        self._ask_soon()

    def _ask_soon(self) -> None:
        if self._asking or not self._waiting:
            return
        self._asking = True
        seconds = self._earliest - time.monotonic()
        if seconds > 0:
            self._loop.call_later(seconds, self._ask)
        else:  # in a turn of its own
            self._loop.call_threadsafe(self._ask)

    def _ask(self) -> None:
        asked, self._waiting = self._waiting, []
        began = time.monotonic()
        self._earliest = began + PERIOD
        self._inquirer.ask("figures", partial(self._tell, asked, began))

    def _tell(self, asked: Sequence[_Asked], began: float, answers: list[Answer]) -> None:
        self._steps.add(self._told(asked, began, answers))

    def _told(
        self, asked: Sequence[_Asked], began: float, answers: Sequence[Answer]
    ) -> Iterator[None]:
        """Each step of writing the page in each format, and of sending it."""
        forms = {each.form.kind: each.form for each in asked}
        try:
            for kind, form in forms.items():
                requests = [each.request for each in asked if each.form.kind == kind]
                if all(request.gone for request in requests):
                    continue
                page = yield from self._written(form, answers)
                for request in requests:
                    request.respond(page)
                    yield
        finally:
            self._asking = False
            now = time.monotonic()
            pause = min(_SHARE * (now - began), _LONGEST_PAUSE)
            self._earliest = max(self._earliest, now + pause)
            self._ask_soon()

    def _written(self, form: Format, answers: Sequence[Answer]) -> Generator[None, None, Page]:
        """The page in this format."""
        unanswered = sum(each.values is None or "error" in each.values for each in answers)
        try:
            figures, supervisor = self._server.figures(answers), self._server.supervisor()
            return (yield from metrics_page(families(figures, supervisor, unanswered), form))
        except Exception:
            _log.exception("the figures cannot be told")
            return text_page(500, "see the server's log")
