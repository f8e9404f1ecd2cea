"""The link between two workers: a pair of Unix sockets, over which published messages go.

Each message is a frame: a u64 with the size of what follows, a u32 with the size of the group's
name, the name, the payload. Two frames of one byte are about the link itself:

    HELLO   the sender serves, or is about to: send what you publish
    ACK     the answer: from now on you are sent what I publish

So a worker that boots, and does not read yet, makes no other one keep messages for it; and one that
has its answers before it accepts connections misses nothing for their members.

What the other worker does not take is queued, up to a limit; over it, messages are dropped and
counted. A frame that its sender has not finished, as it died, is dropped too.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable

from epollo.engine import EventLoop
from epollo.engine.events import READ, WRITE
from epollo.framing import parse
from epollo.framing.base import MAX_LENGTH

HELLO, ACK = b"h", b"a"

_HEADER = struct.Struct("!QI")
_SIZE, _GROUP_SIZE = struct.Struct("!Q"), struct.Struct("!I")
_FRAMING = parse("u64", MAX_LENGTH)
_RECEIVED = 1 << 18  # bytes at a time
_SENT = 1 << 17  # bytes of short frames in one call

Deliver = Callable[[str, bytes], object]


def frame_of(group: str, message: bytes) -> bytes:
    """The frame that carries ``message``, published to ``group``."""
    name = group.encode("utf-8", "surrogatepass")
    size = _GROUP_SIZE.size + len(name) + len(message)
    return b"".join((_HEADER.pack(size, len(name)), name, message))


class PeerLink:
    """One end of the link with the worker ``pid``. With ``awaited``, that one serves already, so it
    is worth a wait until it has answered.

    `put` may be called in any thread. All else is for the loop's.
    """

    def __init__(self, sock: socket.socket, pid: int, *, awaited: bool = False) -> None:
        sock.setblocking(False)
        self.pid: int = pid
        self.awaited: bool = awaited  # is its ACK worth a wait?
        self.dropped: int = 0  # messages
        self.reported: int = 0  # of them in the log
        self.closed: bool = False
        self._socket = sock
        self._open = False  # has it said HELLO?
        self._lock = threading.RLock()  # a signal handler may publish while it is held
        self._queue: deque[bytes] = deque()
        self._unsent = 0  # bytes, in `_queue` and `_part`
        self._part = memoryview(b"")  # what the kernel gets next
        self._decoder = _FRAMING.decoder()
        self._loop: EventLoop | None = None
        self._events = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        """Bytes that the other worker has not taken."""
        return self._unsent

    def put(self, frame: bytes, most: int) -> None:
        """Queue ``frame``, unless more than ``most`` bytes would wait. One frame may always."""
        with self._lock:
            if self.closed or not self._open:
                return
            if self._unsent and self._unsent + len(frame) > most:
                self.dropped += 1
            else:
                self._enqueue(frame)

    def _enqueue(self, frame: bytes) -> None:
        self._queue.append(frame)
        self._unsent += len(frame)

    def say(self, word: bytes) -> None:
        """Send HELLO or ACK."""
        with self._lock:
            self._enqueue(_SIZE.pack(len(word)) + word)
        self.flush()

    def flush(self) -> None:
        """Send what is queued, as far as the other worker takes it."""
        while self._unsent and not self.closed:
            if not self._part:
                self._part = memoryview(self._take())
            try:
                sent = self._socket.send(self._part)
            except BlockingIOError:
                break
            except OSError:  # it has ended: the receiving side says so
                self._clear()
                break
            self._part = self._part[sent:]
            with self._lock:
                self._unsent -= sent
        self._update()

    def _take(self) -> bytes:
        """The next frames, together; one that is large alone."""
        frames = [self._queue.popleft()]
        size = len(frames[0])
        while self._queue and size + len(self._queue[0]) <= _SENT:
            frames.append(self._queue.popleft())
            size += len(frames[-1])
        return b"".join(frames)

    def _clear(self) -> None:
        with self._lock:
            self._open = False
            self._queue.clear()
            self._part = memoryview(b"")
            self._unsent = 0

    # ---- Receiving

    def receive(self, deliver: Deliver) -> bool:
        """Read once, and deliver what has arrived whole. False if there is nothing more now."""
        if self.closed:
            return False
        try:
            data = self._socket.recv(_RECEIVED)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        for body in self._decoder.feed(data):
            self._handle(body, deliver)
        return True

    def _handle(self, body: bytes, deliver: Deliver) -> None:
        if body == HELLO:
            with self._lock:
                self._open = True
            self.awaited = True
            self.say(ACK)
        elif body == ACK:
            self.awaited = False
        else:
            end = _GROUP_SIZE.size + _GROUP_SIZE.unpack_from(body)[0]
            deliver(body[_GROUP_SIZE.size : end].decode("utf-8", "surrogatepass"), body[end:])

    # ---- In a loop

    def watch(self, loop: EventLoop, deliver: Deliver) -> None:
        """Receive in ``loop`` from now on."""
        self._loop, self._deliver = loop, deliver
        self._update()

    def ready(self, events: int) -> None:
        """The loop calls this."""
        self.flush()
        self.receive(self._deliver)

    def abort(self) -> None:
        """The loop is closed."""

    def close(self) -> None:
        """The other worker has ended, or this one does."""
        self.awaited = False
        self._clear()
        if self._loop is not None and self._events:
            self._loop.unwatch(self._socket.fileno())
        self.closed, self._events = True, 0
        self._socket.close()

    def _update(self) -> None:
        wanted = READ | (WRITE if self._unsent else 0)
        if self._loop is not None and not self.closed and wanted != self._events:
            self._loop.watch(self._socket.fileno(), self, wanted)
            self._events = wanted
