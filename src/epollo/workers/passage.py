"""Connections on their way from the supervisor, which has accepted them, to one worker.

They cross a pair of Unix sockets of their own, up to 64 in a packet (SCM_RIGHTS, unix(7)). The
worker answers each packet before it serves what is in it. Until then the supervisor keeps its own
copies, and both ends of the pair, so no connection is lost on the way:

- what the worker has not read from the pair, the supervisor can read itself, and pass to another;
- what a worker has not answered when it ends, it has not begun to serve: another worker can.

From the supervisor: the number of the packet, the address family and the number of connections. A
packet without connections asks for an answer. From the worker: the number of the packet, or 0, and
how many connections it has open.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from array import array
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from epollo.engine import EventLoop
from epollo.engine.events import READ

MOST_IN_PACKET = 64
MOST_UNANSWERED = 128
"""Connections that are passed to a worker while it answers none: more than come while a loop that
is busy makes a turn."""

_PASSED = struct.Struct("=QHH")
_ANSWER = struct.Struct("=QI")
_SPACE = socket.CMSG_SPACE(MOST_IN_PACKET * array("i").itemsize)


class Packet(NamedTuple):
    """A packet with connections, as it is read. There may be fewer ``descriptors`` than the
    ``size`` that was sent: this process may have no more."""

    number: int
    family: int
    size: int
    descriptors: array[int]


def receive(sock: socket.socket) -> Packet:
    """The next packet with connections. Raises OSError, such as BlockingIOError, and EOFError once
    the supervisor has ended."""
    data, ancillary, _, _ = sock.recvmsg(_PASSED.size, _SPACE, socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(value[: len(value) - len(value) % descriptors.itemsize])
    if not data:
        raise EOFError
    number, family, size = _PASSED.unpack(data)
    return Packet(number, family, size, descriptors)


def answer(sock: socket.socket, number: int, connections: int) -> None:
    """The worker has read packet ``number``, or was not asked if that is 0; with it, it has
    ``connections`` open. Raises OSError."""
    sock.send(_ANSWER.pack(number, connections))


class _Sent(NamedTuple):
    connections: list[socket.socket]
    at: float  # time.monotonic()


class Passage:
    """The supervisor's side of the pair of one worker."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours = ours
        self.theirs: socket.socket = theirs
        self._ours.setblocking(False)
        self.theirs.setblocking(False)
        self._unsent: deque[socket.socket] = deque()
        self._sent: dict[int, _Sent] = {}  # by number, in their order; not answered yet
        self._unanswered = 0  # connections in them
        self._number = 0
        self._open = 0  # connections, as the worker says
        self._loop: EventLoop | None = None
        self._answered: Callable[[], object] = _ignore
        self.silent: bool = False

    @property
    def load(self) -> int:
        """Connections of the worker, those on their way included."""
        return self._open + self._unanswered + len(self._unsent)

    @property
    def takes_more(self) -> bool:
        """May another connection be passed now?"""
        return not self.silent and self._unanswered + len(self._unsent) < MOST_UNANSWERED

    @property
    def waits(self) -> bool:
        """Is there a packet that is not answered?"""
        return bool(self._sent)

    def is_late(self, seconds: float) -> bool:
        """Has a packet not been answered for ``seconds``?"""
        return any(time.monotonic() - each.at >= seconds for each in islice(self._sent.values(), 1))

    def watch(self, loop: EventLoop, answered: Callable[[], object]) -> None:
        """Call ``answered`` when the worker has answered something."""
        self._loop, self._answered = loop, answered
        loop.watch(self._ours.fileno(), self, READ)

    def add(self, connection: socket.socket) -> None:
        """Pass ``connection`` at the next `flush`."""
        self._unsent.append(connection)

    def flush(self) -> list[socket.socket]:
        """Pass what was added. Returns those that cannot be passed now."""
        while self._unsent:
            first = self._unsent[0].family
            packet: list[socket.socket] = []
            while self._unsent and len(packet) < MOST_IN_PACKET:
                if self._unsent[0].family != first:
                    break
                packet.append(self._unsent.popleft())
            if not self._send(first, packet):
                left = [*packet, *self._unsent]
                self._unsent.clear()
                return left
        return []

    def probe(self) -> None:
        """Ask for an answer; the worker is ``silent`` until it comes."""
        self.silent = True
        self._send(socket.AF_UNSPEC, [])

    def _send(self, family: int, connections: list[socket.socket]) -> bool:
        head = _PASSED.pack(self._number + 1, family, len(connections))
        try:
            if connections:
                socket.send_fds(self._ours, [head], [each.fileno() for each in connections])
            else:
                self._ours.send(head)
        except OSError as error:
            # ETOOMANYREFS: this user's processes have too many descriptors on their way.
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS, errno.ENOMEM):
                raise
            return False
        self._number += 1
        self._sent[self._number] = _Sent(connections, time.monotonic())
        self._unanswered += len(connections)
        return True

    def ready(self, events: int) -> None:
        """The loop calls this."""
        if self.read_answers():
            self._answered()

    def read_answers(self) -> bool:
        """Read what the worker has answered; false if there is nothing."""
        read = False
        while self._ours.fileno() >= 0:
            try:
                data = self._ours.recv(_ANSWER.size)
            except BlockingIOError:
                break
            if not data:  # no process has the worker's end any more
                break
            number, self._open = _ANSWER.unpack(data)
            self.silent, read = False, True
            for connection in self._take(number):
                connection.close()
        return read

    def take_back(self) -> list[socket.socket]:
        """The connections that the worker has not read. It will not see them any more."""
        taken = []
        while self.theirs.fileno() >= 0:
            try:
                packet = receive(self.theirs)
            except BlockingIOError:
                break
            for fd in packet.descriptors:
                socket.close(fd)
            taken += self._take(packet.number)
        return taken

    def end(self) -> list[socket.socket]:
        """The worker has ended: close the pair. Returns the connections that it has not begun to
        serve."""
        self.read_answers()
        left = [each for sent in self._sent.values() for each in sent.connections]
        left += self._unsent
        if self._loop is not None:
            self._loop.unwatch(self._ours.fileno())
        self._ours.close()
        self.theirs.close()
        self._sent.clear()
        self._unsent.clear()
        return left

    def give_up(self, *, own: bool = False) -> None:
        """In a new worker: close the copies, except its ``own`` end of the pair."""
        self._ours.close()
        if not own:
            self.theirs.close()
        for sent in self._sent.values():
            for connection in sent.connections:
                connection.close()
        for connection in self._unsent:
            connection.close()

    def abort(self) -> None:
        """The loop is closed."""

    def _take(self, number: int) -> list[socket.socket]:
        sent = self._sent.pop(number, None)
        if sent is None:
            return []
        self._unanswered -= len(sent.connections)
        return sent.connections


def _ignore() -> None:
    pass
