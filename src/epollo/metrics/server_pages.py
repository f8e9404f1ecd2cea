"""The pages of a running server: its metrics, whether it works, and whether it is ready."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Metric

from epollo.control.inquirer import Answer, Inquirer
from epollo.engine import EventLoop
from epollo.logs.logger import logger
from epollo.metrics.families import families
from epollo.metrics.pages import Page, Pages, Respond, metrics_page, text_page
from epollo.metrics.watched import WatchedServer

PERIOD = 0.05
"""Seconds from one look at the figures to the next, at least. All requests in between are
answered together, so requests in a row cost little, and no answer is older than its request."""

_MOST_WAITING = 64  # requests; most of them are of connections that are closed already

_log = logger("epollo.metrics")


class ServerPages:
    """Asks the processes of a server when it is asked. In the loop's thread."""

    def __init__(self, loop: EventLoop, inquirer: Inquirer, server: WatchedServer) -> None:
        self._loop = loop
        self._inquirer = inquirer
        self._server = server
        self._waiting: list[tuple[str, Respond]] = []
        self._asking = False
        self._earliest = 0.0  # time.monotonic() of the next look
        self._metrics: list[Metric] = []
        self._registry = CollectorRegistry()
        self._registry.register(self)

    @property
    def pages(self) -> Pages:
        return {
            b"/metrics": self._wait,
            b"/": self._wait,
            b"/healthz": lambda _, respond: respond(
                text_page(200, "ok")
                if self._server.answers
                else text_page(503, "no worker answers")
            ),
            b"/readyz": lambda _, respond: respond(
                text_page(200, "ready") if self._server.ready else text_page(503, "not ready")
            ),
        }

    def collect(self) -> Iterator[Metric]:
        """The registry calls this."""
        return iter(self._metrics)

    def _wait(self, accept: str, respond: Respond) -> None:
        if len(self._waiting) == _MOST_WAITING:
            _, oldest = self._waiting.pop(0)
            oldest(text_page(503, "too many requests"))
        self._waiting.append((accept, respond))
        self._ask_soon()

    def _ask_soon(self) -> None:
        if self._asking or not self._waiting:
            return
        self._asking = True
        seconds = self._earliest - time.monotonic()
        if seconds > 0:
            self._loop.call_later(seconds, self._ask)
        else:
            self._ask()

    def _ask(self) -> None:
        asked, self._waiting = self._waiting, []
        self._earliest = time.monotonic() + PERIOD
        self._inquirer.ask("figures", partial(self._tell, asked))

    def _tell(self, asked: Sequence[tuple[str, Respond]], answers: list[Answer]) -> None:
        self._asking = False
        try:
            for (_, respond), page in zip(asked, self._rendered(asked, answers), strict=True):
                respond(page)
        finally:
            self._ask_soon()

    def _rendered(
        self, asked: Sequence[tuple[str, Respond]], answers: Sequence[Answer]
    ) -> list[Page]:
        """The page for each request, made once for each format."""
        unanswered = sum(each.values is None or "error" in each.values for each in answers)
        try:
            figures = self._server.figures(answers)
            self._metrics = list(families(figures, self._server.supervisor(), unanswered))
            pages = {accept: metrics_page(self._registry, accept) for accept, _ in asked}
        except Exception:
            _log.exception("the figures cannot be told")
            return [text_page(500, "see the server's log")] * len(asked)
        return [pages[accept] for accept, _ in asked]
