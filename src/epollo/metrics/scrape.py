"""One request over HTTP, without I/O: it comes in, and a page goes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from http import HTTPStatus
from time import monotonic

import h11

from epollo.metrics.pages import Page, Pages, text_page

_MOST = 8 << 10  # bytes of a request's head
_METHODS = (b"GET", b"HEAD")
_NO_PAGE = "the figures are at /metrics"


class Scrape:
    """Answers one request for one of ``pages``. ``send`` is called once, with the whole response;
    the connection is to be closed after it."""

    def __init__(self, pages: Pages, send: Callable[[bytes], object]) -> None:
        self._pages = pages
        self._send = send
        self._bodiless = False  # the response
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST)
        self.asked: bool = False
        """Has the request come? Its head is enough, since a body would change nothing. What follows
        is not read."""
        self.answered_at: float = math.inf
        """When the response was sent, of time.monotonic()."""
        self.accept: str = ""
        self.gone: bool = False
        """Is the connection closed?"""

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        if self.asked:
            return
        try:
            self._http.receive_data(data)
            request = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self.asked = True
            self.respond(text_page(error.error_status_hint, str(error)))
            return
        if isinstance(request, h11.Request):
            self.asked = True
            self._answer(request)

    def _answer(self, request: h11.Request) -> None:
        self._bodiless = request.method == b"HEAD"
        page = self._pages.get(request.target.partition(b"?")[0])
        if request.method not in _METHODS:
            self.respond(text_page(405, "use GET"), [("Allow", "GET, HEAD")])
        elif page is None:
            self.respond(text_page(404, _NO_PAGE))
        else:
            accept = b",".join(value for name, value in request.headers if name == b"accept")
            self.accept = accept.decode("ascii", "replace")
            page(self)

    def respond(self, page: Page, more: Sequence[tuple[str, str]] = ()) -> None:
        """Send ``page``, with ``more`` headers: once, and perhaps long after the request."""
        # Written here: the library takes longer for it than for all else.
        head = [
            f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}",
            f"Content-Type: {page.kind}",
            f"Content-Length: {len(page.body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in more),
        ]
        body = b"" if self._bodiless else page.body
        self.answered_at = monotonic()
        self._send("\r\n".join([*head, "", ""]).encode("ascii") + body)
