"""Limits on connections: which are refused, and when a place is free again."""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from epollo import CloseReason, Connection, Refusal, address
from epollo.filters.proxy import V2
from epollo.server.counters import Counters
from epollo.server.limits import ConnectionLimiter
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, Recorder, frame, has_ipv6

OVER_ALL = "connection refused: max_connections is 3, and as many are open"
OVER_ONE = "connection refused: max_per_ip is 2, and 127.0.0.2 has as many"


def answered(peer: Peer) -> bool:
    """Is the peer served? One that is refused sees the end of the stream, or a reset."""
    try:
        peer.send(frame(b"hello"))
        return peer.receive(9) == frame(b"hello")
    except ConnectionError:
        return False


def test_over_max_connections_newcomers_are_refused_and_the_others_served(
    engine: Engine, log: Log
) -> None:
    handler = Recorder()
    with engine.server(handler, max_connections=3) as server, ExitStack() as peers:
        (where,) = server.addresses
        served = [peers.enter_context(Peer(where)) for _ in range(3)]
        assert all(answered(peer) for peer in served)
        for _ in range(5):
            with Peer(where) as peer:
                assert not answered(peer)
        assert all(answered(peer) for peer in served)
        counts = server.counters
        assert (counts.accepted, counts.open) == (8, 3)
        assert counts.refused[Refusal.MAX_CONNECTIONS] == 5
        assert handler.opened.qsize() == 3, "of those refused the handler never hears"
    assert set(log.take()) == {OVER_ALL}


def test_a_place_is_free_again_when_a_connection_closes(engine: Engine, log: Log) -> None:
    handler = Recorder()
    with engine.server(handler, max_connections=1) as server:
        for number in range(20):
            with Peer(server.addresses[0]) as peer:
                assert answered(peer)
                with Peer(server.addresses[0]) as other:
                    assert not answered(other)
                if number % 2:
                    peer.reset()
            handler.end()
    assert server.counters.refused[Refusal.MAX_CONNECTIONS] == 20
    assert "max_connections is 1" in log.take()[0]


def test_over_max_per_ip_only_that_address_is_refused(engine: Engine, log: Log) -> None:
    handler = Recorder()
    with engine.server(handler, max_per_ip=2) as server, ExitStack() as peers:
        (where,) = server.addresses

        def peer_from(host: str) -> Peer:
            return peers.enter_context(Peer(where, source=host))

        hosts = [f"127.0.0.{number}" for number in range(1, 6)]
        served = {host: [peer_from(host), peer_from(host)] for host in hosts}
        assert all(answered(peer) for each in served.values() for peer in each)
        assert not answered(peer_from("127.0.0.2"))
        assert all(answered(peer) for each in served.values() for peer in each)
        served["127.0.0.2"][0].close()
        assert handler.end() is CloseReason.EOF
        assert answered(peer_from("127.0.0.2"))
        assert server.counters.refused[Refusal.MAX_PER_IP] == 1
        assert server.counters.open == 10
    assert log.take() == [OVER_ONE]


def test_both_bounds_hold_together(engine: Engine, log: Log) -> None:
    with (
        engine.server(Recorder(), max_connections=3, max_per_ip=2) as server,
        ExitStack() as peers,
    ):
        (where,) = server.addresses
        hosts = ["127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.4"]
        told = [answered(peers.enter_context(Peer(where, source=host))) for host in hosts]
        assert told == [True, True, False, True, False]
        assert server.counters.refused[Refusal.MAX_PER_IP] == 1
        assert server.counters.refused[Refusal.MAX_CONNECTIONS] == 1
    assert log.take()[0] == OVER_ONE


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_a_peer_counts_once_whichever_socket_takes_it(engine: Engine, log: Log) -> None:
    with engine.server(Recorder(), bind=["127.0.0.1:0", "[::]:0"], max_per_ip=1) as server:
        first, second = server.addresses
        with Peer(first) as peer:
            assert answered(peer)
            with Peer(second.replace("[::]", "127.0.0.1")) as same:
                assert not answered(same)
            with Peer(second.replace("[::]", "[::1]")) as other:
                assert answered(other)
    assert "127.0.0.1 has as many" in log.take()[0]


def test_peers_of_a_unix_socket_have_no_ip(engine: Engine, tmp_path: Path) -> None:
    with (
        engine.server(
            Recorder(), bind=[f"unix:{tmp_path}/socket", "127.0.0.1:0"], max_per_ip=1
        ) as server,
        ExitStack() as peers,
    ):
        told = [answered(peers.enter_context(Peer(server.addresses[0]))) for _ in range(5)]
    assert told == [True] * 5


def test_a_connection_closed_as_soon_as_it_is_made_keeps_no_place(engine: Engine) -> None:
    class Hasty(Recorder):
        def connected(self, connection: Connection) -> None:
            connection.abort()

    handler = Hasty()
    with engine.server(handler, max_connections=1, max_per_ip=1) as server:
        for _ in range(5):
            with Peer(server.addresses[0]) as peer:
                assert not answered(peer)
                assert handler.end() is CloseReason.LOCAL
    assert server.counters.closed[CloseReason.LOCAL] == 5
    assert server.counters.open == 0


def test_a_server_used_again_has_all_its_places(engine: Engine) -> None:
    server = engine.server(Recorder(), max_connections=1, max_per_ip=1)
    for _ in range(3):
        with server, Peer(server.addresses[0]) as peer:
            assert answered(peer)


def test_refusals_are_logged_once_a_second_at_most(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    limiter = ConnectionLimiter(Counters(), 3)
    for now in (100.0, 100.5, 100.99, 101.0, 101.5, 102.5):
        limiter.warn(f"at {now}")
    assert log.take() == ["at 100.0", "at 101.0", "at 102.5"]


class Proxied:
    """A connection whose client a proxy has told of."""

    closed = False

    def __init__(self) -> None:
        self.aborted: list[CloseReason] = []

    def abort(self, reason: CloseReason) -> None:
        self.closed = True
        self.aborted.append(reason)


def test_behind_a_proxy_the_clients_address_counts_once_it_is_known(log: Log) -> None:
    limiter = ConnectionLimiter(Counters(), max_per_ip=2, proxied=True)
    connections: list[Any] = [Proxied() for _ in range(4)]
    with (
        address.listen(address.parse("127.0.0.1:0"), 1) as listener,
        address.connect(address.of(listener.getsockname()), DEADLINE) as sock,
    ):
        assert limiter.host_of(sock) == "", "the proxy's own address does not count"
    for connection in connections[:3]:
        assert limiter.refusal("") is None
        limiter.add(connection, "")
        limiter.identify(connection, "127.0.0.2")
    limiter.identify(connections[3], "127.0.0.3")
    assert [each.aborted for each in connections] == [[], [], [CloseReason.REFUSED], []]
    assert log.take() == [OVER_ONE]
    assert [limiter.remove(each) for each in connections] == [None, None, Refusal.MAX_PER_IP, None]
    assert limiter.refusal("127.0.0.2") is None


@pytest.mark.parametrize("version", [1, 2])
def test_behind_a_proxy_each_client_has_its_own_bound(
    engine: Engine, log: Log, version: int
) -> None:
    def peer_of(host: str) -> Peer:
        peer = peers.enter_context(Peer(where))
        peer.send(header(host, version))
        return peer

    handler = Recorder()
    with (
        engine.server(handler, proxy_protocol="required", max_per_ip=2) as server,
        ExitStack() as peers,
    ):
        (where,) = server.addresses
        hosts = [f"192.0.2.{number}" for number in range(1, 5)]
        served = {host: [peer_of(host), peer_of(host)] for host in hosts}
        assert all(answered(peer) for each in served.values() for peer in each)
        assert not answered(peer_of("192.0.2.2"))
        assert all(answered(peer) for each in served.values() for peer in each)
        assert server.counters.refused[Refusal.MAX_PER_IP] == 1
        assert handler.opened.qsize() == 8, "of the one refused the handler never hears"
        served["192.0.2.2"][0].close()
        assert handler.end() is CloseReason.EOF
        assert answered(peer_of("192.0.2.2"))
        assert (server.counters.open, handler.ends.qsize()) == (8, 0)
    assert log.take() == [
        "connection refused: max_per_ip is 2, and 192.0.2.2 has as many",
    ]


def header(host: str, version: int) -> bytes:
    """The PROXY header that a proxy sends for a client at ``host``."""
    if version == 1:
        return f"PROXY TCP4 {host} 192.0.2.99 5678 80\r\n".encode()
    addresses = socket.inet_aton(host) + socket.inet_aton("192.0.2.99")
    return V2 + b"\x21\x11\0\x0c" + addresses + struct.pack("!HH", 5678, 80)
