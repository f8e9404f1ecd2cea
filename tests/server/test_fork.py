"""Processes that a handler forks: they have copies of every descriptor and of every signal handler.

Neither the peers nor the server may notice what becomes of those copies.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import epollo
from epollo import Connection
from tests.engines import Engine
from tests.support import (
    DEADLINE,
    Peer,
    Recorder,
    ServerProcess,
    in_a_fork,
    line_of,
    serving,
    until,
)

# A child lives until the test writes to the server's stdin, or closes it.
APP = """
import multiprocessing, os, sys

def wait(ready):
    os.write(ready, b"1")
    if os.read(0, 1):
        open("survived", "w").close()
    os._exit(0)

def begun(fork):
    ready, tell = os.pipe()
    child = fork(tell)
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    return b"%d" % child

def fork(tell):
    return os.fork() or wait(tell)

def plain(message):
    return begun(fork)

async def later(message):
    return begun(fork)

children = []

def start(tell):
    children.append(multiprocessing.get_context("fork").Process(target=wait, args=(tell,)))
    children[-1].start()
    return children[-1].pid

def by_multiprocessing(message):
    return begun(start)

async def unwinding(message):
    if message == b"fork":
        if not (child := os.fork()):
            sys.exit()  # leaves every block and function that the server is in
        os.waitpid(child, 0)
    return message
"""

HANDLERS = {
    "plain": ["forking:plain"],
    "threads": ["forking:plain", "--threads", "1"],
    "asyncio": ["forking:later", "--loop", "asyncio"],
    "uvloop": ["forking:later", "--loop", "uvloop"],
    "multiprocessing": ["forking:by_multiprocessing"],
}


@contextmanager
def forking(folder: Path, *flags: str) -> Iterator[ServerProcess]:
    if "uvloop" in flags:
        pytest.importorskip("uvloop")
    (folder / "forking.py").write_text(APP)
    with serving(*flags, cwd=folder, stdin=subprocess.PIPE) as server:
        yield server


def test_a_peer_sees_the_end_of_its_stream_though_a_forked_process_has_its_socket(
    engine: Engine, tmp_path: Path
) -> None:
    assert sees_its_end(tmp_path, *HANDLERS["plain"], *engine.flags)


@pytest.mark.parametrize("how", ["threads", "asyncio", "uvloop", "multiprocessing"])
def test_a_peer_sees_the_end_of_its_stream_however_its_handler_forks(
    tmp_path: Path, how: str
) -> None:
    assert sees_its_end(tmp_path, *HANDLERS[how])


def sees_its_end(folder: Path, *flags: str) -> bool:
    with (
        forking(folder, *flags, "--log-level", "debug") as server,
        Peer(server.address) as peer,
    ):
        assert int(peer.ask(b"fork")) > 0
        peer.end()
        until(lambda: any(": eof" in line for line in server.log))
        peer.socket.settimeout(0.1)  # it is closed already
        return peer.receive_all() == b""


def test_a_stopped_server_refuses_though_a_forked_process_has_its_listener(
    tmp_path: Path,
) -> None:
    with forking(tmp_path, *HANDLERS["plain"]) as server:
        with Peer(server.address) as peer:
            assert int(peer.ask(b"fork")) > 0
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert is_refused(server.address)


def is_refused(where: str) -> bool:
    try:
        Peer(where).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("how", ["plain", "asyncio", "multiprocessing"])
def test_a_forked_process_ends_by_the_signal_that_stops_the_server(
    tmp_path: Path, how: str
) -> None:
    with forking(tmp_path, *HANDLERS[how]) as server, Peer(server.address) as peer:
        child = int(peer.ask(b"fork"))
        ended = os.pidfd_open(child)
        try:
            os.kill(child, signal.SIGTERM)
            assert server.process.stdin is not None
            print(file=server.process.stdin, flush=True)
            assert select.select([ended], [], [], DEADLINE)[0]
        finally:
            os.close(ended)
        assert not (tmp_path / "survived").exists()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_forked_process_that_unwinds_takes_nothing_from_the_server(
    tmp_path: Path, loop: str
) -> None:
    with forking(tmp_path, "forking:unwinding", "--loop", loop) as server:
        with Peer(server.address) as peer:
            assert peer.ask(b"fork") == b"fork"
        with Peer(server.address) as peer:
            assert peer.ask(b"still there") == b"still there"


HOOKS = """
import asyncio, os, sys

def fork(how):
    if child := os.fork():
        return b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if how == b"exit":
        sys.exit(3)
    return b"from the child"  # which nobody is to see

class Plain:
    def received(self, message):
        return fork(message) if message in (b"exit", b"return") else message
    def disconnected(self, connection, reason):
        open(f"disconnected-{os.getpid()}", "w").close()
    def stopped(self, server):
        open(f"stopped-{os.getpid()}", "w").close()

class Async(Plain):
    async def received(self, message):
        return super().received(message)

class Later(Plain):
    async def received(self, message):
        await asyncio.sleep(0)
        return super().received(message)

plain, first_step, later = Plain(), Async(), Later()
"""


@pytest.mark.parametrize("how", [b"exit", b"return"])
@pytest.mark.parametrize(
    "flags",
    [
        ["hooks:plain"],
        ["hooks:plain", "--threads", "2"],
        ["hooks:first_step", "--loop", "asyncio"],
        ["hooks:first_step", "--loop", "uvloop"],
        ["hooks:later", "--loop", "asyncio"],
        ["hooks:later", "--loop", "uvloop"],
    ],
    ids=" ".join,
)
def test_a_forked_process_that_leaves_its_handler_ends_without_a_word_to_anybody(
    engine: Engine, tmp_path: Path, flags: list[str], how: bytes
) -> None:
    """It calls no hook, sends nothing, and the server goes on with its idle and its new peers."""
    if "uvloop" in flags:
        pytest.importorskip("uvloop")
    (tmp_path / "hooks.py").write_text(HOOKS)
    with serving(*flags, *engine.flags, cwd=tmp_path) as server:
        with Peer(server.address) as peer, Peer(server.address) as idle:
            assert idle.ask(b"hello") == b"hello"
            status = int(peer.ask(how))
            assert peer.ask(b"still there") == b"still there"
            assert idle.ask(b"still there") == b"still there"
            with Peer(server.address) as newcomer:
                assert newcomer.ask(b"new") == b"new"
        if "--threads" not in flags:  # a process that ends with a thread has the status 0
            assert status == (3 if how == b"exit" else 1)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    pid = server.process.pid
    told = {path.name for path in tmp_path.glob("*-*")}
    assert told == {f"disconnected-{pid}", f"stopped-{pid}"}


def test_what_a_forked_process_has_of_a_server_is_nothing(engine: Engine) -> None:
    """No socket of its, no epoll instance that it uses, and no timer."""
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        loop = server._started
        ours = {str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in descriptors_of(loop)}
        assert len(ours) == 4
        in_a_fork(lambda: check_given_up(ours, connection))
        assert peer.ask(b"still there") == b"still there"


def descriptors_of(loop: Any) -> list[int]:
    found = [loop.wakeup_fd]
    for source in loop.sources():
        found += source.descriptors() if hasattr(source, "descriptors") else [source.fd]
    return found


def check_closed(ours: set[str]) -> None:
    names = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    assert not ours & names


def check_given_up(ours: set[str], connection: Connection) -> None:
    check_closed(ours)
    assert connection.closed
    with pytest.raises(epollo.ConnectionClosed):
        connection.send(b"hello")


DAEMON = """
import os, signal, sys, epollo

def plain(message):
    return message

async def later(message):
    return message

handler, engine, poller = sys.argv[1:]
server = epollo.Server(globals()[handler], "127.0.0.1:0", engine=engine, poller=poller)
server.start()
child = os.fork()
if not child:
    server.run()
    os._exit(7)
server.close()  # takes nothing from the child
print(server.addresses[0], flush=True)
os.read(0, 1)
os.kill(child, signal.SIGTERM)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("handler", ["plain", "later"])
def test_a_server_that_was_started_before_the_fork_runs_in_the_child(
    engine: Engine, handler: str
) -> None:
    """As in a daemon. The parent may close its own, and the child still stops by a signal."""
    command = [sys.executable, "-c", DAEMON, handler, engine.name, engine.poller]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        where = line_of(process.stdout)
        with Peer(where.strip()) as peer:
            assert peer.ask(b"hello") == b"hello"
        process.communicate("\n", timeout=DEADLINE)
        assert process.returncode == 7


class ForksWhenStarted(Recorder):
    """Forks before the first turn of the loop, when the server is running."""

    gives_up = False

    def started(self, server: epollo.Server) -> None:
        loop = server._started
        ours = {str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in descriptors_of(loop)}
        in_a_fork(lambda: check_closed(ours))
        self.gives_up = True


def test_a_process_forked_by_started_has_nothing_of_the_server(engine: Engine) -> None:
    handler = ForksWhenStarted()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        assert handler.gives_up
        assert peer.ask(b"hello") == b"hello"


def test_a_process_forked_without_a_free_descriptor_gives_all_up(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        assert peer.ask(b"hello") == b"hello"  # so that the turn that accepted it is over
        fork_without_a_free_descriptor(server, connection)
        assert peer.ask(b"still there") == b"still there"


def test_a_process_forked_without_a_free_descriptor_and_without_connections_gives_all_up(
    engine: Engine,
) -> None:
    with engine.server(Recorder()) as server:
        fork_without_a_free_descriptor(server)
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"still there") == b"still there"


def fork_without_a_free_descriptor(server: epollo.Server, *closed: Connection) -> None:
    ours = {str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in descriptors_of(server._started)}

    def check() -> None:
        for fd in full:
            os.close(fd)
        check_closed(ours)
        assert all(connection.closed for connection in closed)

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    full: list[int] = []
    try:
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, limits[1]))
        with suppress(OSError):
            while True:
                full.append(os.dup(0))
        in_a_fork(check)
    finally:
        for fd in full:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


CLIENTS = {
    "Client": """
import os, sys, epollo
client = epollo.connect(sys.argv[1])
client.request(b"hello")
if not os.fork():
    os.read(0, 1)
    os._exit(0)
client.close()
print("closed", flush=True)
os.read(0, 1)
""",
    "AsyncClient": """
import asyncio, os, sys, epollo
async def main():
    client = await epollo.AsyncClient.connect(sys.argv[1])
    await client.request(b"hello")
    if not os.fork():
        os.read(0, 1)
        os._exit(0)
    await client.close()
asyncio.run(main())
print("closed", flush=True)
os.read(0, 1)
""",
}


@pytest.mark.parametrize("program", CLIENTS.values(), ids=CLIENTS)
def test_a_server_sees_the_end_of_a_client_though_a_forked_process_has_its_socket(
    program: str,
) -> None:
    handler = Recorder()
    with epollo.Server(handler, "127.0.0.1:0") as server:
        command = [sys.executable, "-c", program, server.addresses[0]]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as client:
            assert client.stdout is not None
            assert line_of(client.stdout) == "closed\n"
            with Peer(server.addresses[0]) as peer:
                for _ in range(3):  # turns of the loop
                    assert peer.ask(b"turn") == b"turn"
                assert not handler.ends.empty()
