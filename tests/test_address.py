"""Addresses: read, bound, connected to, refused."""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path

import pytest

from epollo import address
from epollo.address import Address
from epollo.errors import AddressError, BindError, ConnectFailed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:8091", Address("127.0.0.1", 8091)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:8091", Address("::1", 8091)),
        ("unix:/run/epollo.sock", Address(path="/run/epollo.sock")),
    ],
)
def test_parse_and_back(text: str, parsed: Address) -> None:
    assert address.parse(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("8091", "no port"),
        ("127.0.0.1", "no port"),
        ("127.0.0.1:http", "port 'http'"),
        ("127.0.0.1:65536", "port '65536'"),
        ("127.0.0.1:-1", "port '-1'"),
        ("127.0.0.1:\u0661", "port"),
        ("::1:8091", "in brackets"),
        (":8091", "no host; write 0.0.0.0:8091"),
        ("unix:", "no path"),
        ("unix:" + "x" * 200, "107 bytes"),
        ("", "no port"),
    ],
)
def test_a_bad_address_is_one_line_that_says_why(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why) as caught:
        address.parse(text)
    assert "\n" not in str(caught.value)


def test_a_port_taken_is_named_with_the_fix() -> None:
    with address.listen(address.parse("127.0.0.1:0"), 1) as first:
        taken = address.of(first.getsockname())
        with pytest.raises(BindError, match=f"cannot listen on {taken}: address already in use; "):
            address.listen(taken, 1)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.1:0: cannot assign requested address"):
        address.listen(address.parse("192.0.2.1:0"), 1)


def test_a_host_that_does_not_resolve_is_named() -> None:
    with pytest.raises(BindError, match=r"cannot listen on nowhere\.invalid:0: "):
        address.listen(address.parse("nowhere.invalid:0"), 1)


def test_nothing_listening_is_named() -> None:
    with address.listen(address.parse("127.0.0.1:0"), 1) as closed:
        free = address.of(closed.getsockname())
    with pytest.raises(ConnectFailed, match=f"cannot connect to {free}: connection refused"):
        address.connect(free, 1)


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    where = Address(path=str(tmp_path / "socket"))
    address.listen(where, 1).close()
    with address.listen(where, 1) as listener:
        assert address.of(listener.getsockname()) == where
        with address.connect(where, 1):
            pass


def test_a_unix_socket_in_use_is_not_replaced(tmp_path: Path) -> None:
    where = Address(path=str(tmp_path / "socket"))
    with address.listen(where, 1), pytest.raises(BindError, match="already in use"):
        address.listen(where, 1)


def test_a_file_is_not_replaced_by_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(BindError, match="already in use"):
        address.listen(Address(path=str(path)), 1)
    assert path.read_text() == "precious"


def test_small_messages_are_not_held_back() -> None:
    with (
        address.listen(address.parse("127.0.0.1:0"), 1) as listener,
        address.connect(address.of(listener.getsockname()), 1) as client,
        listener.accept()[0] as accepted,
    ):
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_addresses_of_a_name_share_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    shares: list[float] = []

    def times_out(_: int, sockaddr: object, timeout: float) -> socket.socket:
        nonlocal now
        now += timeout
        shares.append(timeout)
        raise TimeoutError(errno.ETIMEDOUT, "timed out")

    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (1, 2, 3)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    monkeypatch.setattr(address, "_connected", times_out)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(ConnectFailed, match="timed out; nothing answers there"):
        address.connect(address.parse("several.example:80"), 6)
    assert shares == [2, 2, 2]
