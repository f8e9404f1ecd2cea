"""Connecting to an address."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from epollo import address
from epollo.address import dialing
from epollo.errors import AddressError, ConnectError
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
