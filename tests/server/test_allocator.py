"""What happens to the memory of large messages in a process that is only there to serve."""

from __future__ import annotations

import json
import mmap
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from epollo import Server
from epollo.engine import EventLoop
from epollo.server import allocator
from tests.engines import Engine
from tests.support import Peer, frame, python, serving, until

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is tuned"
)

APPLICATION = """
import json, mmap, resource
from pathlib import Path


class Application:
    def started(self, server):
        self.server = server

    def received(self, message):
        return json.dumps({
            "held": sum(each.buffered for each in self.server.connections),
            "faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt,
            "resident": int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE,
        }).encode()
"""

SOON = """
import sys
import epollo
from epollo.server import allocator

allocator.PERIOD = 0.05
epollo.serve("app:Application", "127.0.0.1:0", engine=sys.argv[1])
"""

SIZE = 512 << 10
PEERS = 32
PAGES = PEERS * SIZE // mmap.PAGESIZE


class Load:
    """Connections that have large messages arrive at the same time."""

    def __init__(self, address: str, stack: ExitStack) -> None:
        self._peers = [stack.enter_context(Peer(address)) for _ in range(PEERS)]
        self._asker = stack.enter_context(Peer(address))

    def look(self) -> dict[str, int]:
        seen: dict[str, int] = json.loads(self._asker.ask(b""))
        return seen

    def begin(self) -> None:
        """All but the last byte of each message has arrived."""
        for peer in self._peers:
            peer.send(frame(bytes(SIZE))[:-1])
        until(lambda: self.look()["held"] >= PEERS * (SIZE - 1))

    def end(self) -> None:
        for peer in self._peers:
            peer.send(b"\0")
            peer.message()

    def faults(self) -> int:
        """The page faults of one message on each connection, once others have come and gone. The
        fewest of three times: memory may be returned before one of them."""
        for _ in range(2):
            self.begin()
            self.end()
        return min(self._faults_once() for _ in range(3))

    def _faults_once(self) -> int:
        before = self.look()["faults"]
        self.begin()
        self.end()
        return self.look()["faults"] - before


@contextmanager
def load_on(address: str) -> Iterator[Load]:
    with ExitStack() as stack:
        yield Load(address, stack)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    return tmp_path


@pytest.mark.parametrize("workers", ["0", "1"])
def test_large_messages_use_the_pages_of_earlier_ones(
    engine: Engine, folder: Path, workers: str
) -> None:
    options = ["app:Application", *engine.flags, "--workers", workers]
    with serving(*options, cwd=folder) as server, load_on(server.address) as load:
        assert load.faults() < PAGES // 4


def test_freed_memory_is_returned(engine: Engine, folder: Path) -> None:
    with python("-c", SOON, engine.name, cwd=folder) as server, load_on(server.address) as load:
        before = load.look()["resident"]
        load.begin()
        assert load.look()["resident"] > before + PEERS * SIZE // 2
        load.end()
        until(lambda: load.look()["resident"] < before + PEERS * SIZE // 4)


def test_an_embedded_server_leaves_malloc_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(allocator, "keep_freed", calls.append)
    with Server(bind="127.0.0.1:0") as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"hello") == b"hello"
    assert calls == []


@pytest.mark.parametrize(
    "variable", ["MALLOC_TRIM_THRESHOLD_=131072", "GLIBC_TUNABLES=glibc.malloc.top_pad=131072"]
)
def test_what_the_environment_says_of_malloc_holds(
    monkeypatch: pytest.MonkeyPatch, loop: EventLoop, variable: str
) -> None:
    monkeypatch.setattr("epollo.server.allocator.CDLL", lambda _: Glibc())
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")  # which is something else
    with pytest.raises(Called):
        allocator.keep_freed(loop)
    monkeypatch.setenv(*variable.split("=", 1))
    allocator.keep_freed(loop)


def test_another_libc_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, loop: EventLoop) -> None:
    monkeypatch.setattr("epollo.server.allocator.CDLL", lambda _: object())
    allocator.keep_freed(loop)


def test_a_static_program_serves_too(monkeypatch: pytest.MonkeyPatch, loop: EventLoop) -> None:
    def load(_: None) -> None:
        raise OSError("Dynamic loading not supported")

    monkeypatch.setattr("epollo.server.allocator.CDLL", load)
    allocator.keep_freed(loop)


class Called(Exception):
    """A setting of malloc was changed."""


class Glibc:
    """Its malloc must not be changed."""

    def mallopt(self, parameter: int, value: int) -> int:
        raise Called

    def malloc_trim(self, pad: int) -> int:
        raise Called
