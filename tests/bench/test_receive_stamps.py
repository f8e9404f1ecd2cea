"""The kernel's receive stamps, and the processes of a server: what the sampler asks the kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from epollo import address
from epollo.bench.run.processor import OtherThreads, Pressure, RunQueue
from epollo.bench.run.receive_stamps import ReceiveStamps
from epollo.bench.run.server_processes import server_processes
from tests.support import DEADLINE, SHORTLY, serving, until

LATE = 50_000_000  # ns


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as one,
        listener.accept()[0] as two,
    ):
        yield one, two


@pytest.fixture
def stamps() -> Iterator[ReceiveStamps]:
    with closing(ReceiveStamps()) as found:
        if not (found.available and stamping(found)):
            pytest.skip("this kernel does not stamp what comes over loopback (SO_TIMESTAMPING)")
        yield found


def stamping(stamps: ReceiveStamps) -> bool:
    """Does the kernel stamp by now? It begins a moment after the first socket has the option."""
    deadline = time.monotonic() + SHORTLY
    with pair() as (one, two):
        while time.monotonic() < deadline:
            one.sendall(b"x")
            readable(two)
            stamps.want(two)
            if stamps.waiting(two) is not None:
                return True
            two.recv(1)
    return False


def readable(sock: socket.socket) -> None:
    sock.settimeout(DEADLINE)
    sock.recv(1, socket.MSG_PEEK)


def test_a_reader_who_is_50_ms_late_is_seen_to_be(stamps: ReceiveStamps) -> None:
    with pair() as (one, two):
        began = time.monotonic_ns()
        one.sendall(b"late")
        readable(two)
        arrived = time.monotonic_ns()
        time.sleep(LATE / 1e9)
        stamps.want(two)
        before = time.monotonic_ns()
        waited = stamps.waiting(two)
        after = time.monotonic_ns()
        assert waited is not None
        assert before - arrived <= waited <= after - began
        assert two.recv(10) == b"late"  # it was only looked at


def test_the_first_unread_byte_counts(stamps: ReceiveStamps) -> None:
    with pair() as (one, two):
        one.sendall(b"x" * 50_000)
        readable(two)
        first = time.monotonic_ns()
        time.sleep(LATE / 1e9)
        one.sendall(b"y" * 50_000)
        until(lambda: len(two.recv(100_000, socket.MSG_PEEK)) > 50_000)
        stamps.want(two)
        before = time.monotonic_ns()
        waited = stamps.waiting(two)
        assert waited is not None
        assert waited >= before - first


def test_what_has_no_stamp_is_not_known(stamps: ReceiveStamps) -> None:
    with pair() as (_, two):
        stamps.want(two)
        assert stamps.waiting(two) is None  # nothing has come
    one, two = socket.socketpair()
    with one, two:
        one.sendall(b"x")
        stamps.want(two)
        assert stamps.waiting(two) is None  # a Unix socket


def test_a_reset_is_told(stamps: ReceiveStamps) -> None:
    with pair() as (one, two):
        stamps.want(two)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.close()
        with pytest.raises(ConnectionResetError):
            until(lambda: stamps.waiting(two))


def test_without_the_option_nothing_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with closing(ReceiveStamps()) as stamps:
        assert not stamps.available


# -- whose processes, and how long they waited


@pytest.mark.parametrize("name", ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"])
def test_the_process_that_listens_is_found(name: str) -> None:
    family = socket.AF_INET6 if "[" in name else socket.AF_INET
    host = address.parse(name).host
    with socket.create_server((host, 0), family=family) as listener:
        local = "::1" if "[" in name else "127.0.0.1"
        target = address.of((local, listener.getsockname()[1]))
        assert server_processes(target) == [os.getpid()]
        away = address.parse(f"192.0.2.1:{target.port}")
        assert server_processes(away) == []  # another machine's


@pytest.mark.parametrize("name", ["\0epollo-test", "path"])
def test_the_process_that_listens_on_a_unix_socket_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name if "\0" in name else str(tmp_path / name))
        listener.listen()
        assert server_processes(address.Address(path=name)) == [os.getpid()]


def test_the_process_of_a_server_is_found() -> None:
    with serving() as server:
        assert server_processes(address.parse(server.address)) == [server.process.pid]


def test_a_port_where_nobody_listens_belongs_to_nobody() -> None:
    assert server_processes(address.parse("127.0.0.1:1")) == []


def test_threads_that_wait_for_a_processor_are_seen(tmp_path: Path) -> None:
    """Four that share one core each wait for most of the time."""
    program = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\n"
    program += "while True: pass"
    core = str(max(os.sched_getaffinity(0)))
    with ExitStack() as stack:
        hogs = []
        for _ in range(4):
            command = [sys.executable, "-S", "-c", program, core]
            hog = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(hog.kill)
            assert hog.stdout is not None
            hog.stdout.readline()
            hogs.append(hog.pid)
        threads, pressure = OtherThreads(hogs), Pressure()
        time.sleep(0.5)
        part = threads.without_core()
        assert part is not None
        assert part > 0.5
        some = pressure.part()
        assert some is None or some > 0.5


def test_processes_that_have_ended_are_not_known() -> None:
    assert OtherThreads([2**22 + 1]).without_core() is None
    assert OtherThreads([]).without_core() is None


def test_the_own_wait_grows() -> None:
    with closing(RunQueue()) as queue:
        first, second = queue.waited, queue.waited
    if first is not None:
        assert second is not None
        assert second >= first >= 0
    assert queue.waited is None  # closed
