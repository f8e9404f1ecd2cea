"""The connections that the supervisor passes to this worker."""

from __future__ import annotations

import socket

from epollo.engine import EventLoop
from epollo.engine.events import READ, WRITE
from epollo.engine.timers import Timer
from epollo.server.attacher import Attacher
from epollo.workers.passage import Packet, answer, receive

REPORT_SECONDS = 0.02
"""After a connection has ended, until the supervisor is told: many ends are one report."""

_PACKETS_PER_TURN = 16


class Intake:
    """Takes connections from this worker's end of the pair (`epollo.workers.passage`), as if this
    process had accepted them itself."""

    path = ""

    def __init__(self, loop: EventLoop, pair: socket.socket, attacher: Attacher) -> None:
        self.listener: socket.socket = pair
        self._loop = loop
        self._attacher = attacher
        self._counters = attacher.limiter.counters
        self._unanswered: Packet | None = None  # is read, but the answer cannot be sent yet
        self._report_timer: Timer | None = None
        self._closed = False
        self._counters.on_gone = self._note_gone
        loop.watch(pair.fileno(), self, READ)

    def ready(self, events: int) -> None:
        """The loop calls this."""
        self._take(_PACKETS_PER_TURN)

    def close(self, most: int = 0) -> None:
        """Take what the supervisor has passed, if ``most`` is not 0, then no more."""
        if self._closed:
            return
        self._closed = True
        if most:
            self._take(most)
        if self._unanswered is not None:  # so it is another worker's
            for fd in self._unanswered.descriptors:
                socket.close(fd)
        self._loop.unwatch(self.listener.fileno())
        self.listener.close()

    def abort(self) -> None:
        """The loop is closed."""

    def report(self) -> None:
        """Tell the supervisor how many connections are open."""
        self._report_timer = None
        if self._closed or self._unanswered is not None:
            return
        try:
            answer(self.listener, 0, self._counters.open)
        except OSError:  # it reads nothing now, and will be told with the next answer
            pass

    def _note_gone(self) -> None:
        if self._report_timer is None and not self._closed:
            self._report_timer = self._loop.call_later(REPORT_SECONDS, self.report)

    def _take(self, most: int) -> None:
        for _ in range(most):
            packet = self._unanswered
            try:
                if packet is None:
                    packet = receive(self.listener)
            except ConnectionResetError:
                continue  # answers were unread: said once, before what was passed is handed over
            except EOFError:
                self.close()
                return
            except OSError:
                return
            if not self._answer(packet):
                return
            self._attach(packet)

    def _answer(self, packet: Packet) -> bool:
        """Answer first. If this process ends before, others serve what is in the packet; if after,
        it was this worker's."""
        try:
            answer(self.listener, packet.number, self._counters.open + packet.size)
        except BlockingIOError:
            if self._unanswered is None and not self._closed:
                self._loop.watch(self.listener.fileno(), self, WRITE)
            self._unanswered = packet
            return False
        except OSError:
            pass
        if self._unanswered is not None and not self._closed:
            self._loop.watch(self.listener.fileno(), self, READ)
        self._unanswered = None
        return True

    def _attach(self, packet: Packet) -> None:
        attach = self._attacher.attach
        for fd in packet.descriptors:
            try:
                attach(socket.socket(packet.family, socket.SOCK_STREAM, 0, fd))
            except BaseException as error:
                self._loop.report(error, "a connection could not be accepted")
        missing = packet.size - len(packet.descriptors)
        if missing:
            self._attacher.refuse_for_descriptors(missing)
