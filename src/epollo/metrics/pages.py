"""The pages that HTTP clients can get, each at its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

TEXT = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """One response: its status, media type and body."""

    status: int
    kind: str
    body: bytes


Respond = Callable[[Page], object]
"""Takes the page; once, and perhaps later than it was asked for."""

Pages = Mapping[bytes, Callable[[str, Respond], object]]
"""By path, what is called with the Accept header of a request and a function for the response."""


def registry_pages(registry: CollectorRegistry) -> Pages:
    """The metrics of ``registry``, at once."""

    def respond(accept: str, respond: Respond) -> None:
        respond(metrics_page(registry, accept))

    return {b"/metrics": respond, b"/": respond}


def metrics_page(registry: CollectorRegistry, accept: str) -> Page:
    """The metrics of ``registry`` in the format that the Accept header asks for."""
    try:
        encode, kind = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is not a number
        encode, kind = choose_encoder("")
    return Page(200, kind, encode(registry))


def text_page(status: int, text: str) -> Page:
    """One line."""
    return Page(status, TEXT, f"{text}\n".encode())
