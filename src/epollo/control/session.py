"""One client of the control socket: requests in, answers out, a JSON object a line.

It is no connection of the server: nothing of it is counted, limited or drained with those.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator

from epollo.control.commands import Commands
from epollo.control.inquirer import Values
from epollo.engine import EventLoop, Timer
from epollo.engine.events import READ, WRITE
from epollo.errors import FrameError
from epollo.framing import parse

MOST_REQUEST = 4 << 10  # bytes: to parse more would make a turn of the loop longer
MOST_ANSWER = 4 << 20  # bytes
REQUEST_SECONDS = 60.0  # from the last answer to the end of the next request
ANSWER_SECONDS = 5.0  # for the client to take an answer
ROWS = 8  # of a list, encoded in one turn of the loop
PAUSE_SECONDS = 0.02  # between two requests of one client: none keeps the loop busy

_RECEIVED = 1 << 16  # bytes at a time
_SENT = 1 << 16  # bytes at a time
_FRAMING = parse("line", MOST_REQUEST)


class Session:
    """Answers one client, a request at a time; while it is at one, it reads no other. Raises
    PollerFull and OSError if the loop cannot watch its socket."""

    def __init__(
        self,
        loop: EventLoop,
        sock: socket.socket,
        commands: Callable[[Callable[[], bool]], Commands],
        ended: Callable[[Session], object],
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._socket = sock
        self._commands = commands(lambda: not self.gone)
        self._on_ended = ended
        self._decoder = _FRAMING.decoder()
        self._requests: deque[bytes] = deque()
        self._unsent = memoryview(b"")
        self._pending = False  # a request is being done
        self._last = False  # no further request is read
        self._events = 0
        self._timer: Timer | None = None
        self._pause_until = 0.0
        self._update()
        self._limit(REQUEST_SECONDS)

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    @property
    def gone(self) -> bool:
        """Is it closed, here or by the client? One that only sends no more is not."""
        if self.closed:
            return True
        poller = select.poll()
        poller.register(self._socket, 0)  # a hang-up is always reported (poll(2))
        return bool(poller.poll(0))

    def refuse(self, text: str) -> None:
        """Say only this, and close."""
        self._last = True
        self._send({"error": text})
        self._loop.call_later(0.0, self._next)

    def ready(self, events: int) -> None:
        """The loop calls this."""
        if self._unsent:
            self._flush()
        if not self.closed and self._events & READ:
            self._receive()
        self._next()

    def abort(self) -> None:
        """Close now. The loop calls it too, when it is closed."""
        if self.closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._events:
            self._loop.unwatch(self._socket.fileno())
            self._events = 0
        self._socket.close()
        self._on_ended(self)

    def give_up(self) -> None:
        """In a process that was forked: close the copy of the socket, and leave the loop alone,
        which is the other process's."""
        self._socket.close()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_RECEIVED)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        if not data:
            self._last = True
            return
        try:
            self._requests += self._decoder.feed(data)
        except FrameError:
            self._requests.clear()
            self.refuse(f"a request of more than {MOST_REQUEST} bytes")

    def _next(self) -> None:
        """Do the next request, unless one is being done or its answer is not taken."""
        if self.closed or self._pending or self._unsent:
            self._update()
            return
        pause = self._pause_until - time.monotonic()
        if self._requests and pause > 0:
            self._pending = True
            self._loop.call_later(pause, self._resume)
        elif self._requests:
            self._pending = True
            self._limit(None)
            self._run(self._requests.popleft())
        elif self._last:
            self.abort()
        self._update()

    def _run(self, request: bytes) -> None:
        try:
            self._commands.run(request, self._answer)
        except Exception as error:
            self._loop.report(error, "a request at the control socket was not handled")
            self._answer({"error": "the request was not handled; the log of the server says why"})

    def _resume(self) -> None:
        self._pending = False
        self._next()

    def _answer(self, values: Values) -> None:
        self._encode(encoded(values), [])

    def _encode(self, left: Iterator[str], done: list[str]) -> None:
        """One part in each turn of the loop, which may serve connections meanwhile."""
        if self.closed:
            return
        part = next(left, None)
        if part is not None:
            done.append(part)
            self._loop.call_threadsafe(lambda: self._encode(left, done))
            return
        self._pending = False
        self._pause_until = time.monotonic() + PAUSE_SECONDS
        self._send_line("".join(done))
        self._loop.call_later(0.0, self._next)

    def _send(self, values: Values) -> None:
        self._send_line(json.dumps(values))

    def _send_line(self, text: str) -> None:
        if len(text) > MOST_ANSWER:
            text = json.dumps({"error": f"an answer of more than {MOST_ANSWER} bytes"})
        self._unsent = memoryview(text.encode() + b"\n")
        self._limit(ANSWER_SECONDS)
        self._flush()
        self._update()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._unsent[:_SENT])
        except BlockingIOError:
            return
        except OSError:  # the client has gone
            self._unsent = memoryview(b"")
            self.abort()
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._limit(REQUEST_SECONDS)

    def _limit(self, seconds: float | None) -> None:
        """The next step may take ``seconds``; for ever with None."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self.abort)

    def _update(self) -> None:
        if self.closed:
            return
        wanted = WRITE if self._unsent else 0
        if not wanted and not self._pending and not self._requests and not self._last:
            wanted = READ
        if wanted == self._events:
            return
        if wanted:
            self._loop.watch(self._socket.fileno(), self, wanted)
        else:  # not with no events: a peer that has gone would be reported again and again
            self._loop.unwatch(self._socket.fileno())
        self._events = wanted


def encoded(values: Values) -> Iterator[str]:
    """The object ``values`` in JSON, in parts: each has up to `ROWS` items of one of its lists."""
    text = "{"
    for number, (name, value) in enumerate(values.items()):
        text += f"{', ' if number else ''}{json.dumps(name)}: "
        if isinstance(value, list) and len(value) > ROWS:
            for start in range(0, len(value), ROWS):
                items = json.dumps(value[start : start + ROWS])[1:-1]
                yield f"{text}{', ' if start else '['}{items}"
                text = ""
            text = "]"
        else:
            text += json.dumps(value)
    yield text + "}"
