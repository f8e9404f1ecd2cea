"""Several workers serve one address, start together and end together."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import epollo
from epollo import HandlerError, SettingError
from tests.engines import Engine
from tests.support import DEADLINE, Peer, epollo_here, frame, python, serving, until
from tests.support import epollo as run
from tests.workers.support import answer, ended, sockets_of, supervised, write


def test_the_ready_line_comes_when_all_workers_serve(engine: Engine, tmp_path: Path) -> None:
    with supervised(tmp_path, *engine.flags, workers=3) as server:
        assert server.server.ready_line.endswith(", 3 workers)\n")
        assert len(server.lines(" serves")) == len(server.workers) == 3
        assert {server.ask()[1] for _ in range(200)} == server.workers


def test_one_worker_has_a_supervisor_too(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=1) as server:
        assert ", 1 worker)" in server.server.ready_line
        assert {server.ask()[1]} == server.workers


def test_connections_are_spread_over_the_workers(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=4) as server:
        served = Counter(server.ask()[1] for _ in range(400))
        assert len(served) == 4
        assert min(served.values()) > 50  # 100 on average; fewer than 51 by chance: 1 in 10**9


def test_the_number_of_workers_may_come_from_the_environment(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with serving("app:handle", env={"WEB_CONCURRENCY": "2"}, cwd=tmp_path) as server:
        assert ", 2 workers)" in server.ready_line
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_the_built_in_echo_has_workers_too() -> None:
    with serving("--workers", "2") as server:
        with Peer(server.address) as peer:
            assert peer.ask(b"hello") == b"hello"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_an_async_handler_has_workers(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import asyncio, os\n"
        "async def handle(message):\n"
        "    await asyncio.sleep(0)\n"
        "    return f'a {os.getpid()}'.encode()\n"
    )
    with supervised(tmp_path) as server:
        assert server.ask()[1] in server.workers
        before = server.workers
        server.signal(signal.SIGHUP)
        server.logged("reload done: 2 workers")
        assert server.ask()[1] not in before


def test_python_serves_an_application_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, 7)
    code = "import epollo; epollo.serve('app:handle', '127.0.0.1:0', workers=2)"
    with python("-c", code, cwd=tmp_path) as server:
        assert "serving app:handle on" in server.ready_line
        assert ", 2 workers)" in server.ready_line
        with Peer(server.address) as peer:
            assert answer(peer)[0] == "7"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_a_callable_cannot_be_imported_by_workers() -> None:
    with pytest.raises(HandlerError, match="give it as 'module:attribute', not as an object"):
        epollo.serve(lambda message: message, workers=2)


def test_a_server_is_one_process() -> None:
    with pytest.raises(SettingError, match="workers: a Server is one process; call "):
        epollo.Server(workers=2)


# ---- It cannot start


@pytest.mark.parametrize(
    ("code", "status", "why"),
    [
        ("import nothing_here", 2, "cannot be imported: ModuleNotFoundError: .*app.py:1"),
        ("handel = None", 2, "module 'app' has no 'handle'; did you mean handel"),
        ("import os; os._exit(3)", 1, "worker [0-9]+ ended with status 3, before it served"),
        ("import os; os.kill(os.getpid(), 9)", 1, "was killed by SIGKILL, before it served"),
        (
            "class handle:\n"
            "    def started(self, server): raise ValueError('no database')\n"
            "    def received(self, message): ...",
            1,
            "the application raised ValueError: no database .*app.py:2",
        ),
        (
            "import os\n"
            "class handle:\n"
            "    def started(self, server): os.environ['NOTHING_SUCH']\n"
            "    def received(self, message): ...",
            1,
            "the application raised KeyError: 'NOTHING_SUCH' .*app.py:3",
        ),
        (
            "import threading, time\n"
            "threading.Thread(target=time.sleep, args=(3600,)).start()\n"
            "1 / 0",
            2,
            "cannot be imported: ZeroDivisionError: division by zero .*app.py:3",
        ),
    ],
)
def test_an_application_that_does_not_boot(
    tmp_path: Path, code: str, status: int, why: str
) -> None:
    (tmp_path / "app.py").write_text(code)
    result = run("serve", "app:handle", "--workers", "3", "--bind", "127.0.0.1:0", cwd=tmp_path)
    assert result.returncode == status
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("epollo: error: ")
    assert re.search(why, line)


def test_the_traceback_of_a_worker_is_shown_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def load():\n    1 / 0\nload()\n")
    flags = ("--workers", "2", "--bind", "127.0.0.1:0", "--traceback")
    lines = run("serve", "app:handle", *flags, cwd=tmp_path).stderr.splitlines()
    assert lines[-1].startswith("epollo: error: handler module 'app' cannot be imported")
    assert sum("in load" in line for line in lines) == 1
    assert not any("importlib" in line for line in lines)


def test_settings_are_checked_as_without_workers() -> None:
    for flags in (["--in-flight", "4"], ["--framing", "u33"], ["--tls-cert", "/nowhere"]):
        with_workers = run("serve", "--workers", "2", "--bind", "127.0.0.1:0", *flags)
        without = run("serve", "--bind", "127.0.0.1:0", *flags)
        assert (with_workers.returncode, with_workers.stderr) == (2, without.stderr)


@pytest.mark.parametrize("count", ["2000", "many", "-1"])
def test_an_impossible_number_of_workers(count: str) -> None:
    result = epollo_here("serve", "--workers", count)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("epollo: error: --workers")


@pytest.mark.parametrize("flags", [[], ["--workers", "2"]], ids=["one", "workers"])
def test_a_port_with_workers_is_in_use(tmp_path: Path, flags: list[str]) -> None:
    with supervised(tmp_path) as server:
        result = run("serve", "--bind", server.address, *flags)
        assert result.returncode == 1
        assert result.stderr == (
            f"epollo: error: cannot listen on {server.address}: address already in use; stop the "
            "process that listens there, or take another port\n"
        )
        assert server.ask()[1] in server.workers


# ---- Addresses


def test_workers_share_a_unix_socket(tmp_path: Path) -> None:
    bind = f"unix:{tmp_path}/socket"
    with supervised(tmp_path, bind=bind) as server:
        assert server.ask()[1] in server.workers
        server.signal(signal.SIGHUP)
        server.logged("reload done")
        assert server.ask()[1] in server.workers
    assert not (tmp_path / "socket").exists()


def test_workers_share_an_inherited_socket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        with supervised(tmp_path, bind=f"fd://{fd}", pass_fds=[fd]) as server:
            assert server.ask()[1] in server.workers


def test_several_addresses_have_the_same_port_in_every_worker(tmp_path: Path) -> None:
    with supervised(tmp_path, "--bind", f"unix:{tmp_path}/socket", workers=3) as server:
        assert len(server.server.addresses) == 2
        for address in server.server.addresses:
            for _ in range(20):
                with Peer(address) as peer:
                    assert answer(peer)[1] in server.workers


def test_a_worker_has_no_descriptors_of_the_others(tmp_path: Path) -> None:
    """While it held a copy, another's close would not be one."""
    with supervised(tmp_path, workers=4) as server:
        server.signal(signal.SIGHUP)
        server.logged("reload done")
        until(lambda: len(server.workers) == 4)
        sockets = {pid: sockets_of(pid) for pid in server.workers}
        for pid, own in sockets.items():
            for other, others in sockets.items():
                assert pid == other or not own & others
            # Its listener, and those that only it has: its channel, and what wakes its loop.
            assert len(own & sockets_of(server.pid)) == 1


# ---- The end


SLOW = """
import asyncio, os, sys

class Slow:
    async def received(self, message):
        print("begun", flush=True)
        await asyncio.sleep(float(message))
        return b"done"

    def stopped(self, server):
        print("stopped", flush=True)

handle = Slow()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to_group", [False, True], ids=["supervisor", "group"])
def test_a_signal_lets_all_workers_drain(
    tmp_path: Path, number: signal.Signals, to_group: bool
) -> None:
    """To the group, as a terminal and systemd send it, it is the same signal, not a second one."""
    (tmp_path / "app.py").write_text(SLOW)
    with supervised(tmp_path, own_session=True) as server, server.connect() as peer:
        peer.send(frame(b"0.7"))
        assert server.server.line() == "begun\n"
        if to_group:
            os.killpg(server.pid, number)
        else:
            server.signal(number)
        assert peer.message() == b"done"
        assert server.server.wait() == 0
        assert [server.server.line() for _ in range(2)] == ["stopped\n"] * 2


def test_a_signal_that_follows_the_supervisors_order_is_the_same_one(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SLOW)
    with supervised(tmp_path) as server, server.connect() as peer:
        peer.send(frame(b"0.7"))
        assert server.server.line() == "begun\n"
        server.signal(signal.SIGTERM)
        until(lambda: len(server.workers) == 1)  # the idle one has ended, so this one drains
        os.kill(min(server.workers), signal.SIGTERM)
        assert peer.message() == b"done"
        assert server.server.wait() == 0


def test_a_second_signal_aborts(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SLOW)
    with supervised(tmp_path, "--graceful-timeout", "1h") as server, server.connect() as peer:
        peer.send(frame(b"3600"))
        assert server.server.line() == "begun\n"
        server.signal(signal.SIGTERM)
        until(lambda: len(server.workers) == 1)
        server.signal(signal.SIGTERM)
        assert peer.receive_until_gone() == b""
        assert server.server.wait() == 0


def test_a_third_signal_kills(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import time\nhandle = lambda m: time.sleep(3600)\n")
    with serving("app:handle", "-w", "2", "--graceful-timeout", "1h", cwd=tmp_path) as server:
        with Peer(server.address) as peer:
            peer.send(frame(b"x"))
            until(lambda: len(server.log) >= 2)
            workers = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
            children = list(map(int, workers.read_text().split()))
            while server.process.poll() is None:
                server.signal(signal.SIGINT)
                try:
                    server.process.wait(0.05)
                except subprocess.TimeoutExpired:
                    pass
        assert server.wait() in (-signal.SIGINT, 0)
        until(lambda: all(map(ended, children)))


def test_workers_drain_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with serving("app:handle", "-w", "3", cwd=tmp_path) as server:
        pid = server.process.pid
        workers = Path(f"/proc/{pid}/task/{pid}/children")
        children = list(map(int, workers.read_text().split()))
        assert len(children) == 3
        server.signal(signal.SIGKILL)
        server.wait()
        until(lambda: all(map(ended, children)))
        assert sum("the supervisor is gone" in line for line in server.log) == 3


def test_exit_functions_of_the_application_run_once_in_each_worker(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import atexit\natexit.register(print, 'exit', flush=True)\nhandle = lambda m: m\n"
    )
    with supervised(tmp_path, workers=2) as server:
        server.signal(signal.SIGTERM)
        assert server.server.wait() == 0
        assert server.server.process.stdout is not None
        assert server.server.process.stdout.read() == "exit\n" * 2


def test_a_supervisor_needs_the_main_thread(tmp_path: Path) -> None:
    code = """
import threading, epollo
def serve():
    try:
        epollo.serve(workers=2)
    except epollo.UsageError as error:
        print(error)
thread = threading.Thread(target=serve)
thread.start()
thread.join()
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert result.stdout == "workers: their supervisor handles signals; run it in the main thread\n"
