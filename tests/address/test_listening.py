"""Listening: bound addresses, socket options, and errors."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from epollo import address
from epollo.address import Address, socket_files
from epollo.errors import BindError, ConnectError
from tests.support import DEADLINE, has_ipv6

ALL_OF_IPV4 = "0.0.0.0"  # noqa: S104
LOOPBACK = ["127.0.0.1", *(["::1"] if has_ipv6() else [])]


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
    with pytest.raises(BindError, match="a file with this path is not a socket"):
        address.listen(Address(path=str(path)), 1)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
def test_a_unix_socket_has_its_mode_before_anybody_can_connect(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Address(path=str(tmp_path / "socket"))
    listen = socket.socket.listen

    def look(sock: socket.socket, backlog: int) -> None:
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == mode
        with pytest.raises(ConnectError, match="connection refused"):
            address.connect(where, 1)
        listen(sock, backlog)

    monkeypatch.setattr(socket.socket, "listen", look)
    with address.listen(where, 1, mode=mode), address.connect(where, 1):
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == mode


def test_the_umask_decides_without_a_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        address.listen(Address(path=str(tmp_path / "socket")), 1).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o750


def test_a_directory_of_others_is_named_with_the_fix(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    path = tmp_path / "socket"
    with (
        unprivileged(),
        pytest.raises(BindError, match=f"listen on unix:{path}: permission denied; a port below"),
    ):
        address.listen(Address(path=str(path)), 1)


@contextmanager
def unprivileged() -> Iterator[None]:
    """The user nobody instead of root, whom permissions do not restrict."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_an_abstract_name_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    where = address.parse(f"unix:@epollo-test-{os.getpid()}")
    with address.listen(where, 1, mode=0o600) as listener:
        assert address.of(listener.getsockname()) == where
        with address.connect(where, 1):
            pass
        with pytest.raises(BindError, match=f"{where}: address already in use"):
            address.listen(where, 1)
    assert list(tmp_path.iterdir()) == []


def option(sock: socket.socket, level: int, name: int) -> int:
    return sock.getsockopt(level, name)


@contextmanager
def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """The server's end of a connection."""
    listener.settimeout(DEADLINE)
    where = address.of(listener.getsockname())
    with address.connect(where, DEADLINE), listener.accept()[0] as sock:
        yield sock


@pytest.mark.parametrize("host", LOOPBACK)
def test_accepted_sockets_inherit_their_options(host: str) -> None:
    """So that no option costs a system call per connection."""
    with address.listen(Address(host), 1, keepalive=60) as listener, accepted(listener) as sock:
        assert option(sock, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert option(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert option(sock, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert option(sock, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 20
        assert option(sock, socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3


def test_keepalive_can_be_off() -> None:
    with (
        address.listen(Address("127.0.0.1"), 1, keepalive=0) as listener,
        accepted(listener) as sock,
    ):
        assert option(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_a_client_too_sends_small_messages_at_once() -> None:
    with (
        address.listen(Address("127.0.0.1"), 1) as listener,
        address.connect(address.of(listener.getsockname()), 1) as client,
    ):
        assert option(client, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_the_backlog_is_the_kernels() -> None:
    with address.listen(Address("127.0.0.1"), 7) as listener:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    # Of a listener, tcpi_sacked, after 8 bytes and 5 words, is the length of its accept queue.
    assert struct.unpack_from("=I", info, 28) == (7,)


def test_a_port_is_bound_again_while_old_connections_linger() -> None:
    with address.listen(Address("127.0.0.1"), 1) as listener:
        where = address.of(listener.getsockname())
        listener.settimeout(DEADLINE)
        with address.connect(where, DEADLINE) as client:
            listener.accept()[0].close()  # the first to close has it in TIME_WAIT, tcp(7)
            assert client.recv(1) == b""
    with address.listen(where, 1) as again:
        assert option(again, socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@needs_ipv6
def test_all_of_ipv6_is_all_of_ipv4_too() -> None:
    with address.listen(address.parse("[::]:0"), 5) as listener:
        listener.settimeout(DEADLINE)
        port = listener.getsockname()[1]
        for host in LOOPBACK:
            with address.connect(Address(host, port), DEADLINE), listener.accept()[0] as sock:
                assert address.of(sock.getpeername()).host == host
                assert address.of(sock.getsockname()) == Address(host, port)


@needs_ipv6
@pytest.mark.parametrize("hosts", [(ALL_OF_IPV4, "::"), ("::", ALL_OF_IPV4), ("::", "127.0.0.1")])
def test_both_families_of_one_port_get_a_socket_each(hosts: tuple[str, str]) -> None:
    with address.listen(Address("::"), 1) as listener:
        port = listener.getsockname()[1]
    wanted = [Address(host, port) for host in hosts]
    with (
        address.listen(wanted[0], 5, others=wanted) as first,
        address.listen(wanted[1], 5, others=wanted) as second,
    ):
        listeners: dict[Any, socket.socket] = {first.family: first, second.family: second}
        for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            listeners[family].settimeout(DEADLINE)
            with address.connect(Address(host, port), DEADLINE):
                listeners[family].accept()[0].close()


@needs_ipv6
def test_an_interface_that_there_is_not_is_named() -> None:
    with pytest.raises(BindError, match=r"cannot listen on \[fe80::1%nowhere0\]:0: "):
        address.listen(address.parse("[fe80::1%nowhere0]:0"), 1)


def test_of_two_that_replace_a_stale_unix_socket_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second starts when the first has found the socket stale, and is about to remove it."""
    where = Address(path=str(tmp_path / "socket"))
    address.listen(where, 1).close()
    unlink = os.unlink

    def listen_first(path: Any) -> None:
        if threading.current_thread() is not second and not second.ident:
            second.start()
            second.join(1)  # returns early only if it does not wait for the first
        unlink(path)

    listeners: list[socket.socket | BindError] = []
    second = threading.Thread(target=lambda: listeners.append(listen_or_fail(where)))
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", listen_first)
        patched.setattr(socket_files, "_LOCK_SECONDS", DEADLINE)
        listeners.append(listen_or_fail(where))
    second.join(DEADLINE)
    opened = [each for each in listeners if isinstance(each, socket.socket)]
    for listener in opened:
        listener.close()
    assert (len(listeners), len(opened)) == (2, 1)


def listen_or_fail(where: Address) -> socket.socket | BindError:
    try:
        return address.listen(where, 1)
    except BindError as error:
        return error


@pytest.mark.parametrize(
    ("keepalive", "write_timeout", "seconds"),
    [(60, 30, 120), (1, 30, 30), (0, 30, 30), (60, 0, 0), (0, 0, 0), (1, 1e9, (2**31 - 1) / 1000)],
)
def test_a_peer_whose_kernel_acknowledges_nothing_is_given_up(
    keepalive: float, write_timeout: float, seconds: float
) -> None:
    """An accepted socket inherits the option from its listener."""
    options = address.Options(1, keepalive, write_timeout)
    ((listener, file),) = address.listen_all(Address("127.0.0.1"), options)
    assert file is None
    with listener, accepted(listener) as sock:
        milliseconds = option(sock, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert milliseconds == seconds * 1000


def test_a_directory_that_someone_else_has_locked_delays_a_unix_socket_but_does_not_prevent_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_files, "_LOCK_SECONDS", 0.05)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with address.listen(Address(path=str(tmp_path / "socket")), 1):
            assert (tmp_path / "socket").is_socket()
    finally:
        os.close(folder)
