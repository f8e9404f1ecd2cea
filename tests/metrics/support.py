"""The metrics of a running server, as a scraper reads them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Self

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from epollo.metrics.pages import Page
from tests.support import Peer, until


class Response(NamedTuple):
    status: int
    text: str


def get(where: str, path: str = "/metrics") -> Response:
    """The page at ``path`` of the address ``where``, a URL or an address. Raises ConnectionError
    if the connection ends without one."""
    if where.startswith("http://"):
        where = where.removeprefix("http://").removesuffix("/metrics")
    with Peer(where) as peer:
        peer.send(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        head, _, body = peer.receive_all().decode().partition("\r\n\r\n")
    if not head:
        raise ConnectionError(f"{where} closed without a response")
    return Response(int(head.split()[1]), body)


class Asked:
    """A request for a page, without a connection."""

    def __init__(self, accept: str) -> None:
        self.accept = accept
        self.gone = False
        self.page: Page | None = None

    def respond(self, page: Page) -> None:
        assert self.page is None, "answered once"
        self.page = page


class Scraped:
    """One scrape."""

    def __init__(self, where: str) -> None:
        response = get(where)
        assert response.status == 200
        self.text = response.text
        self.families: dict[str, Metric] = {
            family.name: family for family in text_string_to_metric_families(response.text)
        }

    def samples(self, name: str, **labels: str) -> list[float]:
        """The values of the samples of that full name which have these labels."""
        family = self.families.get(name) or self.families[name.rpartition("_")[0]]
        return [
            sample.value
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def sum(self, name: str, **labels: str) -> float:
        """Over all workers, and all values of labels that are not given."""
        return sum(self.samples(name, **labels))

    @property
    def counts(self) -> dict[tuple[str, ...], float]:
        """Every sample that must not fall, by its name and labels."""
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in self.families.values()
            if family.type in ("counter", "histogram")
            for sample in family.samples
        }


def scraped_when(where: str, condition: Callable[[Scraped], object]) -> Scraped:
    """The first scrape for which ``condition`` holds. Some may have no response in the server's
    time for one: on a busy machine, with workers that it waits for."""
    found: list[Scraped] = []

    def holds() -> object:
        try:
            found[:] = [Scraped(where)]
        except ConnectionError:
            return False
        return condition(found[0])

    until(holds)
    return found[0]


class Mischief:
    """Hostile clients of the metrics, one after the other, of which many are
    open at a time: requests that do not end, heads without end, responses that nobody takes,
    connections that are reset."""

    KINDS = (b"", b"GET / HT", b"X: y\r\n" * 2000, b"GET /metrics HTTP/1.0\r\n\r\n", b"\0" * 9000)

    def __init__(self, where: str) -> None:
        self.count = 0
        self._where = where.removeprefix("http://").removesuffix("/metrics")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        peers: list[Peer] = []
        while not self._over.is_set():
            with suppress(OSError):  # many are given up before they have said all
                peer = Peer(self._where, receive_buffer=1)
                peers.append(peer)
                peer.socket.settimeout(0.05)
                peer.send(self.KINDS[self.count % len(self.KINDS)])
            self.count += 1
            if len(peers) > 100:
                with suppress(OSError):
                    peers.pop(0).reset()
        for peer in peers:
            peer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
