"""A server that follows a behaviour to the microsecond, and records what it did.

    python -m tests.bench.truth.server BEHAVIOUR       # as JSON

It shares no code with epollo; it knows only the header of a message (`payload.py`: number,
connection, due time), and uses u32. The first line on stdout is its port; the second is written
when the announced message has come. When stdin ends, it writes its record as JSON, and ends: a list
for each message that came, of its number, connection and due time, when it arrived, when its reply
was due and when that was sent, in ns of CLOCK_MONOTONIC, and its deed.

It takes a core for itself if there is one, and polls instead of sleeping while a reply is due soon,
because a sleeping process is woken too late to be exact.
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import struct
import sys
from heapq import heappop, heappush
from time import monotonic_ns

from tests.bench.truth.behaviour import DEEDS, SECOND, Behaviour, Timing
from tests.bench.truth.cores import come_first, servers_core

HEAD = struct.Struct("<QIQ")
NEVER = 1 << 62

_AWAKE = 50_000, 300_000  # ns before a reply is due from which on it is not slept: first, or not
_MOST = 1 << 20  # bytes of a read


class Connection:
    """One peer: what of a frame has come, and the reply that waits to be overtaken."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.input = b""
        self.passed: tuple[int, bytes] | None = None  # place in the record, reply

    def messages(self) -> list[bytes]:
        """What one read brings, cut; an EOFError at the end of the stream."""
        data = self.sock.recv(_MOST)
        if not data:
            raise EOFError
        data = self.input + data
        found, start = [], 0
        while len(data) >= start + 4:
            end = start + 4 + int.from_bytes(data[start : start + 4], "big")
            if len(data) < end:
                break
            found.append(data[start + 4 : end])
            start = end
        self.input = data[start:]
        return found


class Server:
    """The loop, and the record."""

    def __init__(self, behaviour: Behaviour, comes_first: bool) -> None:
        self._behaviour = behaviour
        self._awake = _AWAKE[0 if comes_first else 1]
        self._timing = Timing(behaviour)
        self._record: list[list[int]] = []
        self._due: list[tuple[int, int, int, Connection, bytes]] = []  # a heap
        self._connections: dict[int, Connection] = {}
        self._poll = select.epoll()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(0, select.EPOLLIN)

    def run(self) -> None:
        """Serve until stdin ends."""
        say(str(self._listener.getsockname()[1]))
        while True:
            self._send_what_is_due()
            # epoll's own timeout counts in milliseconds.
            select.select([self._poll], [], [], self._poll_timeout())
            for descriptor, _ in self._poll.poll(0):
                if descriptor == 0:
                    return
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._read(self._connections[descriptor])

    def write_record(self) -> None:
        """All that came, on stdout."""
        print(json.dumps(self._record))

    def _poll_timeout(self) -> float | None:
        """How long to sleep, in seconds; None: until something comes."""
        if not self._due:
            return None
        left = self._due[0][0] - monotonic_ns() - self._awake
        return max(0.0, left / SECOND)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[sock.fileno()] = Connection(sock)
        self._poll.register(sock, select.EPOLLIN)

    def _read(self, connection: Connection) -> None:
        arrived = monotonic_ns()  # before the read: the message was there
        try:
            messages = connection.messages()
        except (EOFError, ConnectionError):
            self._close(connection)
            return
        for message in messages:
            self._take(message, connection, arrived)

    def _close(self, connection: Connection) -> None:
        del self._connections[connection.sock.fileno()]
        self._poll.unregister(connection.sock)
        connection.sock.close()

    def _take(self, message: bytes, connection: Connection, arrived: int) -> None:
        if len(self._record) + 1 == self._behaviour.announced:
            say("it came")
        number, index, intended = HEAD.unpack_from(message)
        due = self._timing.due(intended if self._behaviour.virtual else arrived)
        deed = self._behaviour.deed(len(self._record) + 1)
        place = len(self._record)
        self._record.append([number, index, intended, arrived, due, NEVER, deed])
        self._answer(place, message, connection)

    def _answer(self, place: int, message: bytes, connection: Connection) -> None:
        """Behaviour the reply, and what is done to it."""
        entry = self._record[place]
        deed = DEEDS[entry[6] - 1] if entry[6] else ""
        if deed == "swap":
            connection.passed = place, message
            return
        if deed == "swallow":
            return
        if deed == "late":
            entry[4] += round(self._behaviour.late * SECOND)
        self._plan_reply(place, 2 * place, connection, frames(deed, message))
        if connection.passed is not None:
            before, overtaken = connection.passed
            connection.passed = None
            self._record[before][4] = entry[4]
            self._plan_reply(before, 2 * place + 1, connection, frames("", overtaken))

    def _plan_reply(self, place: int, rank: int, connection: Connection, reply: bytes) -> None:
        """``rank`` says who is first of those that are due at the same time."""
        heappush(self._due, (self._record[place][4], rank, place, connection, reply))

    def _send_what_is_due(self) -> None:
        """Replies of one connection that are due together leave together."""
        now = monotonic_ns()
        ready: dict[Connection, list[tuple[int, bytes]]] = {}
        while self._due and self._due[0][0] <= now:
            _, _, place, connection, reply = heappop(self._due)
            ready.setdefault(connection, []).append((place, reply))
        for connection, replies in ready.items():
            sent = monotonic_ns()  # before the send: nobody can have the reply earlier
            try:
                connection.sock.sendall(b"".join(reply for _, reply in replies))
            except OSError:  # closed meanwhile, by either side: it was not sent
                continue
            for place, _ in replies:
                self._record[place][5] = sent


def frames(deed: str, message: bytes) -> bytes:
    """What is sent for a message, by what is done to it."""
    replies = {
        "flip": [message[:-1] + bytes([message[-1] ^ 1])],
        "flip_number": [bytes([message[0] ^ 1]) + message[1:]],
        "shorten": [message[:-1]],
        "repeat": [message, message],
        "extra": [message, b"nobody asked for this"],
    }.get(deed, [message])
    return b"".join(len(reply).to_bytes(4, "big") + reply for reply in replies)


def say(line: str) -> None:
    """A line on stdout, at once."""
    os.write(1, line.encode() + b"\n")


def be_exact() -> bool:
    """As little as possible comes between: no other core, no collector, nobody before it; False:
    the last is not allowed."""
    core = servers_core()
    if core is not None:
        os.sched_setaffinity(0, {core})
    gc.disable()
    return come_first()


def main(behaviour: str) -> None:
    """The program."""
    wanted = Behaviour(**json.loads(behaviour))
    server = Server(wanted, wanted.exact and be_exact())
    server.run()
    server.write_record()


if __name__ == "__main__":
    main(*sys.argv[1:])
