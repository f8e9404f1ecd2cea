"""One request for the figures, byte by byte and whole, well-formed and not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from epollo.metrics.pages import Page, Request, format_for, metrics_page, registry_pages
from epollo.metrics.scrape import Scrape
from tests.metrics.support import Asked

GET = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("answer", "To everything", registry=registry).set(42)
    return registry


def responses_to(parts: Iterable[bytes], registry: CollectorRegistry) -> list[bytes]:
    responses: list[bytes] = []
    scrape = Scrape(registry_pages(registry), responses.append)
    for part in parts:
        assert not responses
        scrape.feed(part)
        assert scrape.asked is bool(responses)
    return responses


def response_to(request: bytes, registry: CollectorRegistry) -> tuple[int, dict[str, str], str]:
    """Status, headers and body."""
    [response] = responses_to([request], registry)
    head, _, body = response.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert headers["connection"] == "close"
    return int(first.split()[1]), headers, body


def test_the_figures_are_told_in_prometheus_own_format(registry: CollectorRegistry) -> None:
    status, headers, body = response_to(GET, registry)
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert int(headers["content-length"]) == len(body.encode())
    [family] = text_string_to_metric_families(body)
    assert (family.name, family.samples[0].value) == ("answer", 42)


def test_openmetrics_is_told_to_whoever_accepts_it(registry: CollectorRegistry) -> None:
    accept = b"Accept: application/openmetrics-text; version=1.0.0,text/plain;q=0.5\r\n"
    _, headers, body = response_to(GET.replace(b"Host", accept + b"Host"), registry)
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    [family] = openmetrics.text_string_to_metric_families(body)
    assert family.samples[0].value == 42


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_a_page_in_pieces_is_the_page_of_a_registry(
    accept: str, registry: CollectorRegistry
) -> None:
    Gauge("question", "Of all", registry=registry).set(6)
    request = Asked(accept)
    registry_pages(registry)[b"/metrics"](request)
    pieces = metrics_page(registry.collect(), format_for(accept))
    for _ in range(2):  # one for each metric
        assert next(pieces) is None
    with pytest.raises(StopIteration) as end:
        next(pieces)
    assert end.value.value == request.page


@pytest.mark.parametrize(
    "accept",
    [
        b"application/openmetrics-text; version=x",
        b"application/openmetrics-text; version=9.9.9; escaping=other",
        b"text/plain; version=1.0.0; escaping=other",
        b"\xff;;=,",
        b"",
    ],
)
def test_an_accept_header_without_sense_changes_nothing(
    accept: bytes, registry: CollectorRegistry
) -> None:
    request = GET.replace(b"Host", b"Accept: " + accept + b"\r\nHost")
    assert response_to(request, registry)[0] == 200


def test_a_request_may_come_byte_by_byte(registry: CollectorRegistry) -> None:
    bytewise = (GET[n : n + 1] for n in range(len(GET)))
    assert responses_to(bytewise, registry) == responses_to([GET], registry)


def test_a_page_may_come_later() -> None:
    waiting: list[Request] = []
    responses: list[bytes] = []
    scrape = Scrape({b"/late": waiting.append}, responses.append)
    scrape.feed(b"GET /late HTTP/1.1\r\nHost: a\r\nAccept: b/c\r\n\r\n")
    scrape.feed(b"whatever comes now is not read")
    assert (scrape.asked, responses) == (True, [])
    [request] = waiting
    assert request.accept == "b/c"
    request.respond(Page(503, "d/e", b"busy"))
    [response] = responses
    assert response.startswith(b"HTTP/1.1 503 ")
    assert response.endswith(b"\r\n\r\nbusy")


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 200, "answer 42.0"),
        (b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", 200, "answer 42.0"),
        (b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""),
        (b"HEAD /other HTTP/1.1\r\nHost: a\r\n\r\n", 404, ""),
        (b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n", 404, "the figures are at /metrics\n"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 405, "use GET\n"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "use GET\n"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "illegal"),
        (b"GET /" + b"a" * 10_000, 431, ""),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"a" * 10_000, 431, ""),
    ],
)
def test_every_request_has_its_answer(
    request_: bytes, status: int, body: str, registry: CollectorRegistry
) -> None:
    found, _, text = response_to(request_, registry)
    assert found == status
    assert body in text
    assert bool(text) is not request_.startswith(b"HEAD")
