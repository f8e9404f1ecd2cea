"""One scrape over HTTP, without I/O: a request comes in, and the figures go out."""

from __future__ import annotations

from collections.abc import Sequence

import h11
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

PATHS = (b"/metrics", b"/")
_MOST = 8 << 10  # bytes of a request's head
_TEXT = "text/plain; charset=utf-8"
_METHODS = (b"GET", b"HEAD")


class Scrape:
    """Answers one request for the figures in ``registry``; the connection is closed after it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._bodiless = False  # the response
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST)

    def feed(self, data: bytes) -> bytes | None:
        """Take what was received. Returns the response when it is known: at the end of the head of
        the request, since a body would change nothing; None before that."""
        try:
            self._http.receive_data(data)
            request = self._http.next_event()
        except h11.RemoteProtocolError as error:
            return self._respond(error.error_status_hint, f"{error}\n")
        return self._answer(request) if isinstance(request, h11.Request) else None

    def _answer(self, request: h11.Request) -> bytes:
        self._bodiless = request.method == b"HEAD"
        if request.method not in _METHODS:
            return self._respond(405, "use GET\n", [("Allow", "GET, HEAD")])
        if request.target.partition(b"?")[0] not in PATHS:
            return self._respond(404, "the figures are at /metrics\n")
        accept = b",".join(value for name, value in request.headers if name == b"accept")
        try:
            encode, kind = choose_encoder(accept.decode("ascii", "replace"))
        except (TypeError, ValueError):  # a version that is not a number
            encode, kind = choose_encoder("")
        return self._send(200, encode(self._registry), [("Content-Type", kind)])

    def _respond(self, status: int, text: str, more: Sequence[tuple[str, str]] = ()) -> bytes:
        return self._send(status, text.encode(), [("Content-Type", _TEXT), *more])

    def _send(self, status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
        always = [("Content-Length", str(len(body))), ("Connection", "close")]
        events: list[h11.Event] = [h11.Response(status_code=status, headers=[*headers, *always])]
        if not self._bodiless:
            events.append(h11.Data(data=body))
        return b"".join(self._http.send(event) or b"" for event in [*events, h11.EndOfMessage()])
