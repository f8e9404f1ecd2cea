"""What the tests of workers share: a supervisor in a process of its own, and its workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import Peer, ServerProcess, serving, until

APPLICATION = """
import os

VERSION = {version}

def handle(message):
    return f"{{VERSION}} {{os.getpid()}}".encode()
"""


class Supervised:
    """A server with workers, whose application replies with its version and its process."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.address = server.address

    @property
    def pid(self) -> int:
        return self.server.process.pid

    @property
    def workers(self) -> set[int]:
        """The processes that it has forked, and not reaped."""
        return children_of(self.pid)

    def write(self, version: int | str) -> None:
        """Other code on the disk."""
        write(self.folder, version)

    def connect(self) -> Peer:
        return Peer(self.address)

    def ask(self) -> tuple[str, int]:
        """The version and the process that answer a new connection."""
        with self.connect() as peer:
            return answer(peer)

    def signal(self, number: signal.Signals) -> None:
        self.server.signal(number)

    def logged(self, text: str, times: int = 1) -> str:
        """Wait until ``text`` is in so many lines of its log; the last of them."""
        until(lambda: len(self.lines(text)) >= times)
        return self.lines(text)[-1]

    def lines(self, text: str) -> list[str]:
        return [line for line in self.server.log if text in line]


def write(folder: Path, version: int | str) -> None:
    (folder / "app.py").write_text(APPLICATION.format(version=version))


def answer(peer: Peer) -> tuple[str, int]:
    version, process = peer.ask(b"?").split()
    return version.decode(), int(process)


def children_of(pid: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except FileNotFoundError:
        return set()


def ended(pid: int) -> bool:
    """Has the process ended? A zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def supervised(
    folder: Path,
    *flags: str,
    workers: int = 2,
    app: str = "app:handle",
    own_session: bool = False,
    **options: Any,
) -> Iterator[Supervised]:
    """``epollo serve`` with workers. Fails if one is left behind."""
    if not (folder / "app.py").exists():
        write(folder, 1)
    arguments = [app, "--workers", str(workers), "--graceful-timeout", "5s", *flags]
    with serving(*arguments, cwd=folder, start_new_session=own_session, **options) as server:
        each = Supervised(server, folder)
        children: set[int] = set()
        try:
            yield each
            children = each.workers
            each.signal(signal.SIGTERM)
            assert server.wait() == 0
        finally:
            children |= each.workers
            if not ended(each.pid):
                server.process.kill()  # then its workers find out, and drain
        until(lambda: all(map(ended, children)))


def run_python(code: str, folder: Path, *arguments: str) -> Sequence[str]:
    """The command line of a Python program in ``folder``."""
    path = folder / "program.py"
    path.write_text(code)
    return [sys.executable, os.fspath(path), *arguments]
