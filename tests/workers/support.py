"""What the tests of workers share: a supervisor in a process of its own, and its workers."""

from __future__ import annotations

import os
import signal
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.support import Peer, ServerProcess, serving, until

APPLICATION = """
import os

VERSION = {version}

def handle(message):
    return f"{{VERSION}} {{os.getpid()}}".encode()
"""


GREETING = """
import os

VERSION = {version}

class Greeting:
    def connected(self, connection):
        connection.send(f"{{VERSION}} {{os.getpid()}}".encode())

    def received(self, message):
        return message

handle = Greeting()
"""


class Supervised:
    """A server with workers, whose application replies with its version and its process."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.address = server.address
        self.pid = server.process.pid  # of the supervisor; of the last one, after handovers
        self.handovers = 0
        self._over = False

    @property
    def workers(self) -> set[int]:
        """The processes that it has forked, and not reaped."""
        return children_of(self.pid)

    def write(self, version: int | str, code: str = APPLICATION) -> None:
        """Other code on the disk."""
        write(self.folder, version, code)

    def connect(self) -> Peer:
        return Peer(self.address)

    def ask(self) -> tuple[str, int]:
        """The version and the process that answer a new connection."""
        with self.connect() as peer:
            return answer(peer)

    def signal(self, number: signal.Signals) -> None:
        if self._over:
            return
        if self.handovers:
            os.kill(self.pid, number)
        else:
            self.server.signal(number)

    def ended(self) -> None:
        """It ends with status 0; the context sends it no further signal."""
        assert self.server.wait() == 0
        self._over = True

    def hand_over(self) -> int:
        """Let another supervisor take the place, and wait for that; returns the one before."""
        self.signal(signal.SIGUSR2)
        return self.took_over()

    def took_over(self) -> int:
        """Wait for the ready line of the new supervisor, and until workers of the one before accept
        no more."""
        before, workers = self.pid, self.workers
        self.handovers += 1
        line = self.logged(" serves in place of this supervisor", self.handovers)
        self.pid = int(line.split(" INFO process ")[1].split()[0])
        self.ready_line = self.server.line()
        workers.discard(self.pid)
        until(lambda: not any(map(_listens, workers)))
        return before

    def logged(self, text: str, times: int = 1) -> str:
        """Wait until ``text`` is in so many lines of its log; the last of them."""
        try:
            until(lambda: len(self.lines(text)) >= times)
        except AssertionError:
            raise AssertionError(f"{text!r} is not in the log: {self.server.log}") from None
        return self.lines(text)[-1]

    def lines(self, text: str) -> list[str]:
        return [line for line in self.server.log if text in line]


def write(folder: Path, version: int | str, code: str = APPLICATION) -> None:
    (folder / "app.py").write_text(code.format(version=version))


def answer(peer: Peer) -> tuple[str, int]:
    version, process = peer.ask(b"?").split()
    return version.decode(), int(process)


def children_of(pid: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except FileNotFoundError:
        return set()


def sockets_of(pid: int) -> set[str]:
    """The sockets that a process has open."""
    folder = f"/proc/{pid}/fd"
    links = (os.readlink(f"{folder}/{name}") for name in os.listdir(folder))  # noqa: PTH115, PTH208
    return {link for link in links if link.startswith("socket:")}


def _listens(pid: int) -> bool:
    """Does it have a socket that listens?"""
    try:
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6", "unix")]
        own = sockets_of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    listening = set()
    for table in tables[:2]:
        listening |= {line.split()[9] for line in table.splitlines()[1:] if line.split()[3] == "0A"}
    listening |= {  # with the flag SO_ACCEPTCON
        line.split()[6] for line in tables[2].splitlines()[1:] if line.split()[3] == "00010000"
    }
    return any(f"socket:[{inode}]" in own for inode in listening)


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
            if each.handovers == 0:
                each.signal(signal.SIGTERM)
            assert server.wait() == 0
            if each.handovers:  # else it may have ended, and its number be that of another
                assert not ended(each.pid)
                each.signal(signal.SIGTERM)
                until(lambda: ended(each.pid))
        finally:
            children |= each.workers
            if not ended(each.pid):
                os.kill(each.pid, signal.SIGKILL)  # then its workers find out, and drain
        until(lambda: all(map(ended, children)))


class Storm:
    """Threads that connect, again and again, and wait for the greeting of `GREETING`. Every worker
    sends that to each connection it accepts, so one without is lost."""

    def __init__(self, server: Supervised, threads: int = 3) -> None:
        self.versions: Counter[str] = Counter()
        self.errors: list[str] = []
        self._server = server
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    @property
    def count(self) -> int:
        return sum(self.versions.values())

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with self._server.connect() as peer:
                    self.versions[peer.message().split()[0].decode()] += 1
            except (OSError, struct.error) as error:
                self.errors.append(repr(error))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        until(lambda: self.count > 100)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
