"""Connecting to an address."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from epollo import address
from epollo.address import dialing
from epollo.errors import AddressError, ConnectError
from tests.client.support import dead_port
from tests.support import unused


def test_nothing_listening_is_named() -> None:
    with (
        unused() as free,
        pytest.raises(ConnectError, match=f"cannot connect to {free}: connection refused"),
    ):
        address.connect(address.parse(free), 1)


def test_a_descriptor_cannot_be_connected_to() -> None:
    with pytest.raises(
        AddressError, match="cannot connect to fd://3: a descriptor is for a server"
    ):
        address.connect(address.parse("fd://3"), 1)


def test_the_addresses_of_a_name_share_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    shares: list[float] = []

    def times_out(_: int, sockaddr: object, timeout: float, source: None) -> socket.socket:
        nonlocal now
        now += timeout
        shares.append(timeout)
        raise TimeoutError(errno.ETIMEDOUT, "timed out")

    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (1, 2, 3)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    monkeypatch.setattr(dialing, "_connected", times_out)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(ConnectError, match="timed out; nothing answers there"):
        address.connect(address.parse("several.example:80"), 6)
    assert shares == [2, 2, 2]


def test_a_socket_is_never_connected_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        dead_port(monkeypatch) as where,
        pytest.raises(ConnectError, match="connection refused; nothing listens there"),
    ):
        address.connect(address.parse(where), 1)


def test_a_socket_that_only_ever_reaches_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts: list[socket.socket] = []

    def itself(*_: object) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        attempts.append(sock)
        return sock

    monkeypatch.setattr(dialing, "_connected", itself)
    with pytest.raises(ConnectError, match="connection refused; nothing listens there"):
        address.connect(address.parse("127.0.0.1:1"), 1)
    assert [sock.fileno() for sock in attempts] == [-1] * dialing.SELF_CONNECTS


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, (0, 0)), (7, (7, 14_000)), (0.5, (1, 1000)), (1e300, (32767, 65_534_000))],
)
def test_a_dead_peer_is_found_by_probes_and_by_what_it_does_not_acknowledge(
    seconds: float, expected: tuple[int, int]
) -> None:
    with socket.socket() as sock:
        address.find_dead_peer(sock, seconds)
        idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        limit = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        keeps = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert keeps == (seconds > 0)
        assert (idle if keeps else 0, limit) == expected
    with socket.socket(socket.AF_UNIX) as sock:
        address.find_dead_peer(sock, seconds)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("fe80::77%va", "fe80::77"),
        ("epollo.example.", "epollo.example"),
        ("epollo.example", "epollo.example"),
        ("", ""),
    ],
)
def test_a_certificate_s_name_has_no_zone_and_no_last_dot(host: str, name: str) -> None:
    assert address.certificate_name(host) == name
