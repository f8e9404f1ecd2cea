"""Limits on rates: messages of a connection, and connections of an address, a second."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from epollo import CloseReason, Refusal
from epollo.server.rates import ConnectionRates
from tests.clock import Clock
from tests.engines import Engine
from tests.logs import Log
from tests.support import Peer, Recorder, frame, until

OVER = "connection refused: max_connect_rate_per_ip is 0.001, and 127.0.0.1 made more"


async def echo_later(message: bytes) -> bytes:
    await asyncio.sleep(0)
    return message


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (lambda message: message, {}),
    "async": (echo_later, {"loop": "asyncio", "in_flight": 4}),
    "threads": (lambda message: message, {"threads": 2}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_over_the_message_rate_a_peer_waits_and_loses_nothing(engine: Engine, kind: str) -> None:
    handler, settings = KINDS[kind]
    with (
        engine.server(handler, max_message_rate=20, **settings) as server,
        Peer(server.addresses[0]) as peer,
        Peer(server.addresses[0]) as other,
    ):
        begun = time.monotonic()
        peer.send(b"".join(frame(b"%d" % number) for number in range(30)))
        peer.end()
        assert other.ask(b"hello") == b"hello", "each connection has its own rate"
        assert peer.receive_all() == b"".join(frame(b"%d" % number) for number in range(30))
        assert time.monotonic() - begun >= 10 / 20, "20 at once, and 10 at 20 a second"


def test_a_bucket_that_fills_while_a_handler_is_slow_holds_no_more_than_a_second(
    engine: Engine,
) -> None:
    handled = list[float]()

    def handle(message: bytes) -> None:
        if not handled:
            time.sleep(1.1)  # by then the bucket is full again
        handled.append(time.monotonic())

    with (
        engine.server(handle, max_message_rate=20) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(b"message") * 41)
        until(lambda: len(handled) == 41)
    assert handled[-1] - handled[0] >= (40 - 20 - 2) / 20


def test_a_peer_that_keeps_to_the_rate_is_not_delayed(engine: Engine) -> None:
    with (
        engine.server(Recorder(), max_message_rate="100k") as server,
        Peer(server.addresses[0]) as peer,
    ):
        for number in range(500):
            assert peer.ask(b"%d" % number) == b"%d" % number


def test_a_stop_does_not_wait_for_the_rate_longer_than_its_grace(engine: Engine) -> None:
    with (
        engine.server(Recorder(), max_message_rate=0.001, graceful_timeout=0.1) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(b"one") + frame(b"two"))
        assert peer.message() == b"one"
        server.stop()
        assert peer.receive_until_gone() == b""
    assert server.counters.closed[CloseReason.SHUTDOWN] == 1


def test_while_it_waits_for_its_rate_a_peer_is_neither_idle_nor_late(
    engine: Engine, clock: Clock
) -> None:
    with (
        engine.server(Recorder(), max_message_rate=1, idle_timeout=1, frame_timeout=1) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(b"one") + frame(b"two"))
        assert peer.message() == b"one"
        for _ in range(20):  # more than twice the timeouts
            clock.tick()
        assert peer.message() == b"two"


def test_over_the_connection_rate_newcomers_are_refused(engine: Engine, log: Log) -> None:
    handler = Recorder()
    with engine.server(handler, max_connect_rate_per_ip=0.001) as server:
        with Peer(server.addresses[0]) as peer, Peer(server.addresses[0]) as other:
            assert peer.ask(b"hello") == b"hello"
            assert other.receive_until_gone() == b""
        with Peer(server.addresses[0], source="127.0.0.2") as peer:
            assert peer.ask(b"hello") == b"hello", "each address has its own rate"
        until(lambda: not server.counters.open)
    assert server.counters.refused[Refusal.MAX_CONNECT_RATE_PER_IP] == 1
    assert handler.opened.qsize() == 2, "of those refused the handler never hears"
    assert log.take() == [OVER]


def test_behind_a_proxy_the_rate_is_that_of_the_client(engine: Engine, log: Log) -> None:
    settings = {"max_connect_rate_per_ip": 0.001, "proxy_protocol": "required"}
    with engine.server(Recorder(), **settings) as server:
        for host, replies in (("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.1", 0)):
            with Peer(server.addresses[0]) as peer:
                peer.send(b"PROXY TCP4 %b 192.0.2.9 1 2\r\n" % host.encode() + frame(b"hello"))
                peer.end()
                assert peer.receive_until_gone() == frame(b"hello") * replies
    assert server.counters.refused[Refusal.MAX_CONNECT_RATE_PER_IP] == 1
    log.take()


def test_peers_of_a_unix_socket_have_no_address_to_count(engine: Engine, tmp_path: Any) -> None:
    bind = f"unix:{tmp_path / 'socket'}"
    with engine.server(Recorder(), bind=[bind, "127.0.0.1:0"], max_connect_rate_per_ip=0.001):
        for _ in range(3):
            with Peer(bind) as peer:
                assert peer.ask(b"hello") == b"hello"


def test_a_bucket_holds_one_second_and_fills_at_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    rates = ConnectionRates(10)
    assert [rates.is_over("host") for _ in range(12)] == [False] * 10 + [True] * 2
    now += 0.1
    assert [rates.is_over("host") for _ in range(2)] == [False, True]
    now += 60
    assert [rates.is_over("host") for _ in range(11)] == [False] * 10 + [True]


def test_addresses_that_came_long_ago_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    rates = ConnectionRates(10)
    for number in range(100_000):
        now += 0.01
        assert not rates.is_over(f"host {number}")
    assert len(rates._full_at) < 2000
