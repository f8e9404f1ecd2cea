"""The pages that HTTP clients can get, each at its path."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder

TEXT = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """One response: its status, media type and body."""

    status: int
    kind: str
    body: bytes


class Request(Protocol):
    """One request for a page."""

    accept: str
    """Its Accept header."""
    gone: bool
    """Is the connection closed? Nobody gets the page then."""

    def respond(self, page: Page) -> object:
        """Answer with ``page``: once, and perhaps later than it was asked for."""


Pages = Mapping[bytes, Callable[[Request], object]]
"""By path, what is called with each request."""


class Format(NamedTuple):
    """How metrics are written: by a function of what collects them, and the media type of that."""

    encode: Callable[[Any], bytes]
    kind: str


class _Collected:
    """A collector of these metrics."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


_END = b"# EOF\n"  # of OpenMetrics


def registry_pages(registry: CollectorRegistry) -> Pages:
    """The metrics of ``registry``, at once."""

    def respond(request: Request) -> None:
        encode, kind = format_for(request.accept)
        request.respond(Page(200, kind, encode(registry)))

    return {b"/metrics": respond, b"/": respond}


def metrics_page(metrics: Iterable[Metric], form: Format) -> Generator[None, None, Page]:
    """The ``metrics`` in that format. It yields after each metric: to write all of them takes a
    millisecond."""
    parts = []
    for metric in metrics:
        parts.append(form.encode(_Collected(metric)).removesuffix(_END))
        yield
    parts.append(form.encode(_Collected()))
    return Page(200, form.kind, b"".join(parts))


def format_for(accept: str) -> Format:
    """The format that this Accept header asks for."""
    try:
        return Format(*choose_encoder(accept))
    except (TypeError, ValueError):  # a version that is not a number
        return Format(*choose_encoder(""))


def text_page(status: int, text: str) -> Page:
    """One line."""
    return Page(status, TEXT, f"{text}\n".encode())
