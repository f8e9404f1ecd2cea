"""The figures on an address: for a scraper, for several, and for those that mean no good."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from epollo import BindError
from epollo.engine import new_loop
from epollo.metrics import listener
from epollo.metrics.listener import MOST, MetricsListener, listening_on
from epollo.metrics.pages import Request, text_page
from epollo.metrics.thread import MetricsThread
from tests.engines import Engine
from tests.logs import Log
from tests.support import Peer, until

GET = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"


@contextmanager
def served(bind: str = "127.0.0.1:0") -> Iterator[str]:
    """The address of a server of one figure."""
    registry = CollectorRegistry()
    Gauge("answer", "To everything", registry=registry).set(42)
    with MetricsThread(bind, registry) as server:
        yield server.url.removeprefix("http://").removesuffix("/metrics")


def scrape(where: str) -> bytes:
    with Peer(where) as peer:
        peer.send(GET)
        return peer.receive_all()


def test_port_0_is_a_real_port_that_is_told() -> None:
    with served() as where:
        assert not where.endswith(":0")
        assert b"answer 42.0" in scrape(where)
        assert b"answer 42.0" in scrape(where)


def test_a_unix_socket_is_gone_after_it(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with served(f"unix:{path}") as where:
        assert b"answer 42.0" in scrape(where)
    assert not path.exists()


def test_an_address_in_use_is_refused() -> None:
    with served() as where, pytest.raises(BindError, match="in use"):
        MetricsThread(where, CollectorRegistry())


def test_who_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SECONDS", 0.2)
    with served() as where, Peer(where) as silent, Peer(where) as slow:
        slow.send(GET[:20])
        assert silent.receive_until_gone() == slow.receive_until_gone() == b""
        assert b"answer 42.0" in scrape(where)


def test_many_who_hang_keep_nobody_out() -> None:
    """Of too many, the oldest is given up."""
    with served() as where, ExitStack() as every:
        peers = [every.enter_context(Peer(where)) for _ in range(3 * MOST)]
        assert b"answer 42.0" in scrape(where)
        assert peers[0].receive_until_gone() == b""


def test_who_is_being_answered_outlasts_those_who_hang() -> None:
    asked = list[Request]()
    loop = new_loop()
    bound = listening_on("127.0.0.1:0")
    metrics = MetricsListener(loop, bound, {b"/metrics": asked.append})
    metrics.begin()
    with closing(loop), closing(metrics), ExitStack() as every:
        scraper = every.enter_context(Peer(metrics.address))
        scraper.send(GET)
        while not asked:
            loop.poll()
        peers = [every.enter_context(Peer(metrics.address)) for _ in range(3 * MOST)]
        while not is_ended(peers[MOST]):
            loop.poll()
        asked[0].respond(text_page(200, "42"))
        loop.poll()
        assert scraper.receive_all().endswith(b"42\n")


def test_who_resets_before_being_accepted_keeps_nobody_out(engine: Engine) -> None:
    """Such a connection is never told of as connected, and is the first to be given up."""
    asked = list[Request]()
    loop = engine.loop()
    bound = listening_on("127.0.0.1:0")
    metrics = MetricsListener(loop, bound, {b"/metrics": asked.append})
    metrics.begin()

    def asked_after_a_turn() -> bool:
        loop.poll(0)
        return bool(asked)

    with closing(loop), closing(metrics), ExitStack() as every:
        peers = [every.enter_context(Peer(metrics.address)) for _ in range(MOST)]
        while len(metrics._open) < MOST:
            loop.poll()
        for _ in range(listener._ACCEPTS - 1):  # the scraper is accepted in the same turn
            Peer(metrics.address).reset()
        scraper = every.enter_context(Peer(metrics.address))
        scraper.send(GET)
        until(asked_after_a_turn)
        asked[0].respond(text_page(200, "42"))
        loop.poll()
        assert scraper.receive_all().endswith(b"42\n")
        assert [is_ended(peer) for peer in peers] == [True] + (MOST - 1) * [False]


def test_a_request_whose_connection_is_closed_is_known(engine: Engine) -> None:
    asked = list[Request]()
    loop = engine.loop()
    metrics = MetricsListener(loop, listening_on("127.0.0.1:0"), {b"/metrics": asked.append})
    metrics.begin()
    with closing(loop), closing(metrics), Peer(metrics.address) as scraper:
        scraper.send(GET)
        while not asked:
            loop.poll()
        assert not asked[0].gone
        scraper.reset()
        while not asked[0].gone:
            loop.poll()
        asked[0].respond(text_page(200, "42"))
    assert not metrics._open


def is_ended(peer: Peer) -> bool:
    """Has its connection been closed by now?"""
    return bool(select.select([peer.socket], [], [], 0)[0])


def test_one_who_takes_nothing_holds_up_nobody() -> None:
    with served() as where, Peer(where, receive_buffer=1) as deaf:
        deaf.send(GET)
        assert b"answer 42.0" in scrape(where)


def test_a_second_request_on_a_connection_is_not_read() -> None:
    with served() as where, Peer(where) as peer:
        peer.send(GET + GET)
        assert peer.receive_until_gone().count(b"HTTP/1.1 200") == 1


def test_what_the_figures_raise_ends_one_connection(log: Log) -> None:
    class Broken:
        def collect(self) -> Iterator[object]:
            raise ValueError("no figures today")
            yield

    registry = CollectorRegistry()
    registry.register(Broken())  # type: ignore[arg-type]
    with MetricsThread("127.0.0.1:0", registry) as server:
        where = server.url.removeprefix("http://").removesuffix("/metrics")
        with Peer(where) as peer:
            peer.send(GET)
            assert peer.receive_until_gone() == b""
        with Peer(where) as peer:
            peer.send(b"GET /other HTTP/1.0\r\n\r\n")
            assert b" 404 " in peer.receive_all()
    [record] = [record for record in log.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "the figures cannot be told"
    log.records.clear()


def test_calls_are_made_in_the_thread_in_their_order() -> None:
    made: list[tuple[int, int]] = []
    done = threading.Event()
    with MetricsThread("127.0.0.1:0", CollectorRegistry()) as server:
        for number in range(3):
            server.post(lambda number=number: made.append((number, threading.get_ident())))  # type: ignore[misc]
        server.post(done.set)
        assert done.wait(30)
    assert [number for number, _ in made] == [0, 1, 2]
    assert {thread for _, thread in made}.isdisjoint({threading.get_ident()})


def test_it_stops_though_somebody_is_connected() -> None:
    with ExitStack() as stack:
        with served() as where:
            peer = stack.enter_context(Peer(where))
            peer.send(GET[:5])
        assert peer.receive_until_gone() == b""
        with pytest.raises(ConnectionRefusedError), Peer(where):
            pass
