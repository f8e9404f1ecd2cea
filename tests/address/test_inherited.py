"""Listening sockets made by another process."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epollo import Server, address
from epollo.address import Address
from epollo.errors import BindError
from tests.engines import Engine
from tests.support import Peer, Recorder, epollo, serving

# Systemd's part: the descriptors from 3, and the id of their process, which exec(3) keeps.
ACTIVATE = """
import fcntl, os, sys
numbers, *command = sys.argv[1:]
given = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in numbers.split(",")]
for place, fd in enumerate(given, 3):
    os.dup2(fd, place)
    os.close(fd)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given)), "LISTEN_FDNAMES": "x"}
os.execv(command[0], command)
"""


def activation(*listeners: socket.socket) -> dict[str, Any]:
    """Options of a process that is started as systemd starts it."""
    numbers = [listener.fileno() for listener in listeners]
    launcher = [sys.executable, "-c", ACTIVATE, ",".join(map(str, numbers))]
    return {"launcher": launcher, "pass_fds": numbers}


def test_an_inherited_socket_is_served_at_its_address(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for where in (Address("127.0.0.1"), Address(path=str(path))):
        with address.listen(where, 5) as listener:
            bound = str(address.of(listener.getsockname()))
            bind, fd = f"fd://{listener.fileno()}", listener.fileno()
            with serving(*engine.flags, bind=bind, pass_fds=[fd]) as server:
                assert server.address == bound
                with Peer(bound) as peer:
                    assert peer.ask(b"hello") == b"hello"
                server.process.terminate()
                assert server.wait() == 0
            with Peer(bound):  # it keeps listening, for the next server
                pass
    assert path.is_socket(), "it is its maker's to remove"


def test_its_connections_get_the_options_of_others(engine: Engine) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    handler = Recorder()
    with (
        engine.server(handler, bind=f"fd://{listener.detach()}", keepalive=30) as server,
        Peer(server.addresses[0]),
    ):
        connection: Any = handler.connection()
        sock = connection.socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


def a_file(folder: Path) -> int:
    return os.open(folder / "file", os.O_CREAT | os.O_RDWR)


def a_pipe(_: Path) -> int:
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def a_datagram_socket(_: Path) -> int:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()


def a_message_socket(_: Path) -> int:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).detach()


def a_silent_socket(_: Path) -> int:
    return socket.socket().detach()


def another_family(_: Path) -> int:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).detach()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (a_file, "it is a file"),
        (a_pipe, "it is a pipe"),
        (a_datagram_socket, "it is a datagram socket"),
        (a_message_socket, "it is not a stream socket"),
        (a_silent_socket, "it is a stream socket that does not listen"),
        (another_family, "it is not a TCP or Unix socket"),
        (lambda folder: os.open(folder, os.O_RDONLY), "it is a directory"),
        (lambda _: os.open(os.devnull, os.O_RDONLY), "it is a device"),
    ],
)
def test_another_kind_of_descriptor_is_named_and_left_open(
    make: Callable[[Path], int], what: str, tmp_path: Path
) -> None:
    fd = make(tmp_path)
    why = f"cannot listen on fd://{fd}: {what}; pass a listening stream socket"
    with pytest.raises(BindError, match=why):
        address.listen(Address(fd=fd), 1)
    os.close(fd)


def test_a_descriptor_that_is_not_open_is_one_line_and_status_1() -> None:
    run = epollo("serve", "--bind", "fd://1000")
    assert run.returncode == 1
    assert run.stderr == (
        "epollo: error: cannot listen on fd://1000: no such descriptor is open; "
        "pass a listening stream socket\n"
    )


def test_sockets_from_systemd_are_served(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with (
        address.listen(Address("127.0.0.1"), 5) as tcp,
        address.listen(Address(path=str(path)), 5) as unix,
        serving(*engine.flags, bind=None, **activation(tcp, unix)) as server,
    ):
        assert server.addresses == [str(address.of(each.getsockname())) for each in (tcp, unix)]
        for where in server.addresses:
            with Peer(where) as peer:
                assert peer.ask(b"hello") == b"hello"
        server.process.terminate()
        assert server.wait() == 0
        assert server.log == []
    assert path.is_socket()


def test_children_do_not_inherit_sockets_from_systemd(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os\n"
        "def handle(message):\n"
        "    told = sorted(name for name in os.environ if name.startswith('LISTEN_'))\n"
        "    return repr((told, os.get_inheritable(3))).encode()\n"
    )
    with (
        address.listen(Address("127.0.0.1"), 5) as listener,
        serving("app:handle", bind=None, cwd=tmp_path, **activation(listener)) as server,
        Peer(server.address) as peer,
    ):
        assert peer.ask(b"") == b"([], False)"


def test_bind_overrides_systemd_and_unused_sockets_are_logged() -> None:
    with (
        address.listen(Address("127.0.0.1"), 5) as first,
        address.listen(Address("127.0.0.1"), 5) as second,
        serving("--bind", "fd://4", **activation(first, second)) as server,
    ):
        assert server.addresses[0] == str(address.of(second.getsockname()))
        assert len(server.addresses) == 2
        (line,) = server.log
        assert "not served, since bind says otherwise: fd://3, passed by systemd" in line


def test_sockets_for_another_process_are_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert address.activated() == []
    assert "LISTEN_FDS" not in os.environ


@pytest.mark.parametrize(
    ("count", "why"),
    [
        ("many", "LISTEN_FDS is 'many', not a number"),
        ("-1", "LISTEN_FDS is '-1', not a number"),
        ("1000000000000", r"LISTEN_FDS includes descriptor \d+, which is not open"),
    ],
)
def test_invalid_variables_of_systemd_are_named(
    count: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDS", count)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    with pytest.raises(BindError, match=why):
        Server().start()


def test_a_path_that_leaves_no_room_for_its_zero_is_shown(engine: Engine, tmp_path: Path) -> None:
    """108 bytes, which Python's bind refuses; the kernel then reports one more."""
    path = str(tmp_path / "s").ljust(108, "x")
    packed = socket.AF_UNIX.to_bytes(2, sys.byteorder) + path.encode()
    handler = Recorder()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as peer:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.bind(listener.fileno(), packed, len(packed)) == 0, os.strerror(
            ctypes.get_errno()
        )
        listener.listen()
        with engine.server(handler, bind=f"fd://{os.dup(listener.fileno())}"):
            assert libc.connect(peer.fileno(), packed, len(packed)) == 0
            assert handler.connection().sockname == f"unix:{path}"
