"""The page of the metrics is written once for each format, and only for those that are there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest
from prometheus_client import Metric

from epollo.control.inquirer import Answer
from epollo.engine import EventLoop
from epollo.metrics import pages, server_pages
from epollo.metrics.pages import Format, Page
from epollo.metrics.server_pages import ServerPages
from tests.metrics.support import Asked

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Idle:
    """A server of no process, which answers a question when the test says so."""

    answers = ready = True

    def __init__(self) -> None:
        self.done: list[Callable[[list[Answer]], object]] = []

    def ask(
        self,
        question: str,
        done: Callable[[list[Answer]], object],
        *,
        process: int | None = None,
        **arguments: Any,
    ) -> None:
        self.done.append(done)

    def figures(self, _: object) -> dict[int, Any]:
        return {}

    def supervisor(self) -> None:
        return None


class Written:
    """Notes each page that is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kinds: list[str] = []
        self._write = pages.metrics_page
        monkeypatch.setattr(server_pages, "metrics_page", self._note)

    def _note(self, metrics: Iterable[Metric], form: Format) -> Generator[None, None, Page]:
        self.kinds.append(form.kind.partition(";")[0])
        return self._write(metrics, form)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    return Written(monkeypatch)


def poll_until(loop: EventLoop, condition: Callable[[], object]) -> None:
    while not condition():
        loop.poll()


def test_many_headers_that_mean_one_format_are_one_page(loop: EventLoop, written: Written) -> None:
    server = Idle()
    served = ServerPages(loop, server, server).pages
    requests = [Asked(f"text/html; q=0.{number}") for number in range(64)]
    requests += [Asked(f"{OPENMETRICS}, text/html; q=0.{number}") for number in range(64)]
    for request in requests:
        served[b"/metrics"](request)
    poll_until(loop, lambda: server.done)
    server.done[0]([])
    poll_until(loop, lambda: all(request.page for request in requests))
    assert written.kinds == ["text/plain", "application/openmetrics-text"]
    assert len({request.page for request in requests}) == 2


def test_nothing_is_written_for_those_who_have_gone(loop: EventLoop, written: Written) -> None:
    server = Idle()
    served = ServerPages(loop, server, server).pages
    gone, there = [Asked(OPENMETRICS) for _ in range(3)], Asked("")
    for request in (*gone, there):
        served[b"/metrics"](request)
    poll_until(loop, lambda: server.done)
    for request in gone:
        request.gone = True
    server.done[0]([])
    poll_until(loop, lambda: there.page)
    assert written.kinds == ["text/plain"]
    assert {request.page for request in gone} == {None}


def test_those_who_have_gone_are_kept_no_longer(loop: EventLoop) -> None:
    server = Idle()
    served = ServerPages(loop, server, server)
    for _ in range(1000):
        request = Asked("")
        served.pages[b"/metrics"](request)
        request.gone = True
    assert [each.request for each in served._waiting] == [request]
