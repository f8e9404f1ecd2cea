"""The channel between the supervisor and one worker: messages, and descriptors that go with them.

A message is a kind and values, as JSON. It crosses a pair of Unix sockets that keep the boundaries
of packets (SOCK_SEQPACKET, unix(7)), in one packet or, if it is large, in several. Each packet
starts with a byte that says whether it is the last one of its message. Descriptors travel with the
last packet (SCM_RIGHTS).

The end of the stream means that the other process has ended, in whatever way: the kernel closes its
socket. Neither side waits for the other: what the other does not take is queued.

From the supervisor:

    ping                        answer with alive
    drain(grace, queued, delay, quick, signals)
                                stop within ``grace`` seconds. Before that, accept what is in the
                                accept queues of ``queued``: all of its sockets, none, which leaves
                                it to others, or those at these indices. With a ``delay``, go on
                                accepting until another drain comes, or for that many seconds and
                                one. If ``quick``, without a quiet period, and not spread.
                                ``signals``: how many to stop the supervisor has had
    abort                       stop at once
    link(worker)                a further worker, by its process, and one end of the link with it
    unlink(worker)              that worker has ended
    ask(number, question, arguments)
                                answer, with that number: see `epollo.server.inspection`

From a worker:

    ready(line)                 it serves; ``line`` is its ready line
    failed(text, error, traceback)
                                it cannot serve, and ends: ``text`` says why, ``error`` is the type
    alive(messages)             its loop runs; ``messages`` it has received, if they are counted
    rows(number, rows)          a part of the answer to a question, which follows; perhaps empty
    answer(number, question, values)
                                to a question
    figures(values)             what it has counted, if somebody looks at that: soon after
                                ``alive``, and when it has closed all connections, and ends
    stopping                    it drains, without being asked by the supervisor
    released                    it has closed its listeners

From the process that watches files:

    watching                    no change is missed from now on
    changed(files)              files have changed
    failed(text)                it cannot watch, and ends

Two supervisors speak over such a channel too: `epollo.workers.handover`.
"""

from __future__ import annotations

import json
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from epollo.engine import EventLoop
from epollo.engine.events import READ, WRITE

PACKET = 1 << 16  # bytes of a message in one packet; the kernel's buffer holds several
MOST_DESCRIPTORS = 64  # in one message; the kernel allows 253 (SCM_MAX_FD, unix(7))
_SPACE = socket.CMSG_SPACE(MOST_DESCRIPTORS * array("i").itemsize)
_MORE, _LAST = b"+", b"."


class _Packet(NamedTuple):
    data: bytes
    descriptors: tuple[int, ...] = ()
    given: socket.socket | None = None  # to close when it is sent, or never will be

    def close(self) -> None:
        if self.given is not None:
            self.given.close()


class Message(NamedTuple):
    """One message. The receiver owns the ``descriptors``, which no child process inherits."""

    kind: str
    values: dict[str, Any]
    descriptors: tuple[int, ...] = ()


class Channel:
    """One end of a channel. It is closed once the other end is, or the other process has ended."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._unsent: deque[_Packet] = deque()
        self._partial = bytearray()  # of a message whose last packet has not come
        self.closed: bool = False

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def unsent(self) -> bool:
        """Are there packets that the other process has not taken?"""
        return bool(self._unsent)

    def send(self, kind: str, descriptors: Sequence[int] = (), **values: Any) -> None:
        """Send a message, or queue it. The descriptors must stay open while `unsent`. Does nothing
        if the channel is closed."""
        self._send(kind, values, tuple(descriptors), None)

    def give(self, kind: str, sock: socket.socket, **values: Any) -> None:
        """Send a message with ``sock``, which the channel closes here."""
        self._send(kind, values, (sock.fileno(),), sock)

    def _send(
        self,
        kind: str,
        values: dict[str, Any],
        descriptors: tuple[int, ...],
        given: socket.socket | None,
    ) -> None:
        if self.closed:
            if given is not None:
                given.close()
            return
        data = json.dumps({"kind": kind, **values}).encode()
        while len(data) > PACKET:
            self._unsent.append(_Packet(_MORE + data[:PACKET]))
            data = data[PACKET:]
        self._unsent.append(_Packet(_LAST + data, descriptors, given))
        self.flush()

    def flush(self) -> None:
        """Send what is queued, as far as the other process takes it."""
        while self._unsent and not self.closed:
            packet = self._unsent[0]
            try:
                if packet.descriptors:
                    socket.send_fds(self._socket, [packet.data], packet.descriptors)
                else:
                    self._socket.send(packet.data)
            except BlockingIOError:
                return
            except OSError:  # the other process has ended: the receiving side says so
                self._clear()
                return
            self._unsent.popleft().close()

    def flush_within(self, seconds: float) -> None:
        """Send what is queued, and wait for the other process to take it, but no longer than
        that."""
        late = time.monotonic() + seconds
        self.flush()
        while self._unsent and not self.closed and (left := late - time.monotonic()) > 0:
            select.select((), (self._socket,), (), left)
            self.flush()

    def _clear(self) -> None:
        while self._unsent:
            self._unsent.popleft().close()

    def receive(self) -> list[Message]:
        """The messages that have arrived; marks the channel closed at the end of the stream."""
        messages = []
        reset = False
        while not self.closed:
            try:
                packet, descriptors = self._receive_packet()
            except BlockingIOError:
                break
            except ConnectionError:
                # It ended with packets unread. The kernel says so once, before it hands over the
                # packets that the process itself has sent.
                if not reset:
                    reset = True
                    continue
                packet = b""
            if not packet:
                self.closed = True
                break
            self._partial += packet[1:]
            if packet[:1] == _LAST:
                values = json.loads(self._partial)
                self._partial.clear()
                messages.append(Message(values.pop("kind"), values, descriptors))
        return messages

    def _receive_packet(self) -> tuple[bytes, tuple[int, ...]]:
        # Not socket.recv_fds, which ignores its flags.
        packet, ancillary, _, _ = self._socket.recvmsg(1 + PACKET, _SPACE, socket.MSG_CMSG_CLOEXEC)
        descriptors = array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        return packet, tuple(descriptors)

    def close(self) -> None:
        self.closed = True
        self._clear()
        self._socket.close()


def channel_pair() -> tuple[Channel, Channel]:
    """Both ends of a new channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)


class ChannelWatch:
    """Watches one end of a channel in a loop: calls ``received`` for each message, and ``ended``
    once, at the end of the stream."""

    def __init__(
        self,
        loop: EventLoop,
        channel: Channel,
        received: Callable[[Message], object],
        ended: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._received = received
        self._ended = ended
        self._unwatched = False
        self._events = 0
        self._update()

    def send(self, kind: str, descriptors: Sequence[int] = (), **values: Any) -> None:
        """As `Channel.send`. In the loop's thread."""
        self._channel.send(kind, descriptors, **values)
        self._update()

    def give(self, kind: str, sock: socket.socket, **values: Any) -> None:
        """As `Channel.give`. In the loop's thread."""
        self._channel.give(kind, sock, **values)
        self._update()

    def ready(self, events: int) -> None:
        """The loop calls this."""
        if self._channel.fileno() < 0:
            return
        self._channel.flush()
        self.receive()
        self._update()

    def receive(self) -> None:
        """Handle what has arrived."""
        was_closed = self._channel.closed
        for message in self._channel.receive():
            try:
                self._received(message)
            except Exception as error:
                self._loop.report(error, f"a message of kind {message.kind} was not handled")
        if self._channel.closed and not was_closed:
            self.unwatch()
            self._ended()

    def abort(self) -> None:
        """The loop is closed."""

    def unwatch(self) -> None:
        """Watch it no more. Its owner closes it."""
        if self._events and self._channel.fileno() >= 0:
            self._loop.unwatch(self._channel.fileno())
        self._events = 0
        self._unwatched = True

    def _update(self) -> None:
        wanted = READ | (WRITE if self._channel.unsent else 0)
        if not self._unwatched and not self._channel.closed and wanted != self._events:
            self._loop.watch(self._channel.fileno(), self, wanted)
            self._events = wanted
