"""Many members of one chat, as clients: each joins, gets all that is said, and moves when its node
says so. Written on sockets alone: what it finds does not depend on epollo's own code.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from tests.support import DEADLINE

JOINED, MOVE = b"in ", b"move"


class Line:
    """One connection of a member: what came over it, in order."""

    def __init__(self, member: Member, address: tuple[str, int]) -> None:
        self.member = member
        self.node = ""  # that serves it; empty until it has joined
        self.over = False
        self.moves = False  # was it told to go elsewhere?
        self.got: list[bytes] = []
        self.socket = socket.create_connection(address, timeout=DEADLINE)
        self.socket.setblocking(False)
        self._rest = b""

    def receive(self) -> None:
        """Take what has come."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.over = True
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(JOINED):
                self.node = line.removeprefix(JOINED).decode()
            elif line == MOVE:
                self.moves = True
            else:
                self.got.append(line)

    def say(self, text: bytes) -> None:
        self.socket.sendall(text + b"\n")


class Member:
    """One of the crowd, with its connections, the present one last."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    @property
    def line(self) -> Line:
        return self.lines[-1]

    @property
    def got(self) -> list[bytes]:
        """What came over any of its connections, the same over two of them once."""
        if len(self.lines) == 1:
            return self.line.got
        return list(dict.fromkeys(text for line in self.lines for text in line.got))


class Crowd:
    """All members behind one address."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = host, int(port)
        self._selector = selectors.EpollSelector()
        self._open: set[Line] = set()
        self.members: list[Member] = []

    def close(self) -> None:
        for line in list(self._open):
            self._end(line)
        self._selector.close()

    def enter(self, count: int) -> list[Member]:
        """More members, each when it has joined."""
        came = [Member() for _ in range(count)]
        self.members += came
        for at in range(0, count, 100):  # the accept queue is no part of this
            lines = [self.connect(member) for member in came[at : at + 100]]
            self.until(lambda lines=lines: all(line.node for line in lines))  # type: ignore[misc]
        return came

    def connect(self, member: Member) -> Line:
        """Another connection of ``member``, which is its present one from now on."""
        line = Line(member, self._address)
        member.lines.append(line)
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        self._open.add(line)
        return line

    def until(self, condition: Callable[[], object], seconds: float = DEADLINE) -> None:
        """Receive until ``condition``."""
        late = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < late, "the deadline passed"
            self.receive(0.1)

    def receive(self, seconds: float) -> None:
        """What comes within ``seconds``, or one round if something does."""
        for key, _ in self._selector.select(seconds):
            line: Line = key.data
            line.receive()
            if line.over:
                self._end(line)

    def lost(self) -> list[Member]:
        """Those without a connection."""
        return [member for member in self.members if member.line.over]

    def end(self, line: Line) -> None:
        """Take what has come, and end the connection, as a client does."""
        line.receive()
        self._end(line)

    def _end(self, line: Line) -> None:
        if line in self._open:
            line.over = True
            self._open.remove(line)
            self._selector.unregister(line.socket)
            line.socket.close()

    def at(self, node: str) -> list[Member]:
        """Those whose present connection is at ``node``."""
        return [member for member in self.members if member.line.node == node]

    def nodes(self) -> Counter[str]:
        """How many are at each node."""
        return Counter(member.line.node for member in self.members if not member.line.over)


def by_sender(texts: Iterable[bytes]) -> dict[bytes, list[int]]:
    """The numbers of each sender, in order; a text is a sender's name and a number."""
    found: dict[bytes, list[int]] = defaultdict(list)
    for text in texts:
        name, number = text.split()
        found[name].append(int(number))
    return dict(found)
