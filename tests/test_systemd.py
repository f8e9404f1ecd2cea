"""What systemd is told (sd_notify(3)), by one process and by a supervisor with workers."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from epollo.systemd import Notifier
from tests.engines import Engine
from tests.support import DEADLINE, Peer, frame, needed_by_python, python, serving, until
from tests.workers.support import children_of, ended, supervised, write

WORKERS = pytest.mark.parametrize("flags", [[], ["--workers", "2"]], ids=["one", "workers"])


class Manager:
    """The part of systemd: it receives the messages of a service."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        name = sock.getsockname()
        self.address = f"@{name[1:].decode()}" if isinstance(name, bytes) else name

    @property
    def environ(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address}

    def message(self) -> dict[str, str]:
        """The next one."""
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().split("\n"))

    def told(self, name: str) -> dict[str, str]:
        """The next message with this variable."""
        late = time.monotonic() + DEADLINE
        while time.monotonic() < late:
            message = self.message()
            if name in message:
                return message
        raise AssertionError(f"no {name}")

    def nothing(self) -> bool:
        """Is there no message?"""
        if not select.select([self._socket], [], [], 0)[0]:
            return True
        self._socket.recv(4096)
        return False


@contextmanager
def manager(path: str | Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE)
        sock.bind(os.fspath(path))
        yield Manager(sock)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Manager]:
    with manager(tmp_path / "notify") as each:
        yield each


@WORKERS
def test_it_is_told_the_beginning_and_the_end(
    systemd: Manager, engine: Engine, flags: list[str]
) -> None:
    with serving(*engine.flags, *flags, env=systemd.environ) as server:
        ready = systemd.message()
        assert ready["READY"] == "1"
        assert ready["STATUS"] == server.ready_line.removeprefix("epollo: ").rstrip()
        server.signal(signal.SIGTERM)
        assert systemd.message() == {"STOPPING": "1", "STATUS": "stopping"}
        assert server.wait() == 0
        assert systemd.nothing()


def test_an_abstract_socket() -> None:
    with manager(f"\0epollo-{os.getpid()}") as systemd, serving(env=systemd.environ):
        assert systemd.message()["READY"] == "1"


@pytest.mark.parametrize("asynchronous", ["", "async "], ids=["plain", "async"])
def test_it_is_ready_when_started_has_returned(
    systemd: Manager, tmp_path: Path, asynchronous: str
) -> None:
    (tmp_path / "app.py").write_text(
        "import os, time\n"
        "class Slow:\n"
        f"    {asynchronous}def started(self, server):\n"
        "        while os.path.exists('wait'): time.sleep(0.01)\n"
        f"    {asynchronous}def received(self, message): return message\n"
        "handle = Slow()\n"
    )
    (tmp_path / "wait").touch()
    with serving("app:handle", env=systemd.environ, cwd=tmp_path) as server:
        until(server.sleeps)
        assert systemd.nothing()
        (tmp_path / "wait").unlink()
        assert systemd.message()["READY"] == "1"


@WORKERS
def test_the_watchdog_is_fed(systemd: Manager, flags: list[str]) -> None:
    with serving(*flags, env=systemd.environ | {"WATCHDOG_USEC": "100000"}):
        assert systemd.message()["READY"] == "1"
        for _ in range(3):
            assert systemd.message() == {"WATCHDOG": "1"}


def test_the_watchdog_is_not_fed_while_the_loop_is_blocked(
    systemd: Manager, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(
        "import os, time\n"
        "def handle(message):\n"
        "    while os.path.exists('wait'): time.sleep(0.01)\n"
        "    return message\n"
    )
    (tmp_path / "wait").touch()
    environ = systemd.environ | {"WATCHDOG_USEC": "20000"}
    with serving("app:handle", env=environ, cwd=tmp_path) as server, Peer(server.address) as peer:
        peer.send(frame(b"x"))
        until(lambda: not _fed(systemd))
        (tmp_path / "wait").unlink()
        assert peer.message() == b"x"
        assert systemd.message() == {"WATCHDOG": "1"}


def _fed(systemd: Manager) -> bool:
    """Was there a message within twenty periods?"""
    while not systemd.nothing():
        pass
    time.sleep(0.2)
    return not systemd.nothing()


@pytest.mark.parametrize("environ", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {}])
def test_a_watchdog_of_another_process_is_not_fed(
    systemd: Manager, environ: dict[str, str]
) -> None:
    given = {"WATCHDOG_USEC": "10000"} | environ if environ else {}
    assert Notifier(systemd.environ | given).watchdog_period == 0


def test_a_watchdog_of_this_process() -> None:
    environ = {
        "NOTIFY_SOCKET": "/x",
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    assert Notifier(environ).watchdog_period == 1.5
    assert Notifier({"WATCHDOG_USEC": "3000000"}).watchdog_period == 0


def test_a_reload_has_a_beginning_and_an_end(systemd: Manager, tmp_path: Path) -> None:
    """As Type=notify-reload wants it: see systemd.service(5)."""
    with supervised(tmp_path, env=systemd.environ) as server:
        assert systemd.message()["READY"] == "1"
        for code in (2, "1 / 0"):
            server.write(code)
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            server.signal(signal.SIGHUP)
            message = systemd.message()
            assert message["RELOADING"] == "1"
            assert before <= int(message["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert systemd.message()["READY"] == "1"


def test_a_handover_names_the_new_main_process(systemd: Manager, tmp_path: Path) -> None:
    environ = systemd.environ | {"WATCHDOG_USEC": "400000"}
    with supervised(tmp_path, env=environ) as server:
        systemd.told("READY")
        server.write("1 / 0")
        server.signal(signal.SIGUSR2)
        systemd.told("RELOADING")
        assert "MAINPID" not in systemd.told("READY")
        until(lambda: len(server.workers) == 2)
        server.write(2)
        server.signal(signal.SIGUSR2)
        systemd.told("RELOADING")
        main = int(systemd.told("MAINPID")["MAINPID"])
        assert systemd.told("READY")["STATUS"].startswith("serving app:handle")
        server.took_over()
        assert server.pid == main
        until(lambda: server.server.process.poll() == 0)
        for _ in range(3):
            systemd.told("WATCHDOG")  # by the new one


def test_a_manager_that_is_gone_is_one_line_in_the_log(tmp_path: Path) -> None:
    with serving(env={"NOTIFY_SOCKET": str(tmp_path / "gone")}) as server:
        with Peer(server.address) as peer:
            assert peer.ask(b"x") == b"x"
        [line] = server.log
        assert line.endswith("systemd was not told READY=1: No such file or directory")


def test_a_socket_of_another_kind_is_named(tmp_path: Path) -> None:
    with serving(env={"NOTIFY_SOCKET": "vsock:2:1"}) as server:
        [line] = server.log
        assert "NOTIFY_SOCKET is 'vsock:2:1', not a Unix socket" in line


# ---- The real tools


def _activated(folder: Path, *flags: str, address: str) -> list[str]:
    tool = shutil.which("systemd-socket-activate")
    assert tool is not None, "apt install systemd"
    return [tool, "-l", address, sys.executable, "-m", "epollo", "serve", "app:handle", *flags]


@WORKERS
def test_systemd_socket_activate(tmp_path: Path, flags: list[str]) -> None:
    """The real tool listens, and starts the server at the first connection; workers share it."""
    write(tmp_path, 1)
    path = tmp_path / "socket"
    command = _activated(tmp_path, *flags, address=str(path))
    command[3:3] = [f"--setenv={name}={value}" for name, value in needed_by_python().items()]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        until(lambda: "Listening on" in (tmp_path / "log").read_text())
        with Peer(f"unix:{path}") as peer:
            assert peer.ask(b"x").startswith(b"1 ")
        pid, said = process.pid, tmp_path / "log"
        until(lambda: "epollo: serving" in said.read_text())
        assert f"on unix:{path} (" in said.read_text()
        if flags:
            os.kill(pid, signal.SIGUSR2)
            until(lambda: "serves in place" in said.read_text())
            found = re.search(r"process ([0-9]+) serves in place", said.read_text())
            assert found is not None
            assert process.wait(DEADLINE) == 0
            pid = int(found[1])
            with Peer(f"unix:{path}") as peer:
                assert peer.ask(b"x").startswith(b"1 ")
        children = children_of(pid)
        os.kill(pid, signal.SIGTERM)
        process.wait(DEADLINE)
        until(lambda: ended(pid) and all(map(ended, children)))
    finally:
        process.kill()
        process.wait()


def test_python_notifies_too(systemd: Manager) -> None:
    code = "import epollo; epollo.serve(bytes.upper, '127.0.0.1:0')"
    with python("-c", code, env=systemd.environ):
        assert systemd.message()["READY"] == "1"


def test_an_embedded_server_is_not_the_service(systemd: Manager) -> None:
    code = """
import epollo
with epollo.Server(bind="127.0.0.1:0") as server:
    print("ready on", server.addresses[0], flush=True)
    input()
"""
    with python("-c", code, env=systemd.environ, stdin=subprocess.PIPE):
        pass
    assert systemd.nothing()
