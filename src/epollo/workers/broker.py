"""The broker of a worker: what it publishes reaches the members at all other workers."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence

from epollo.engine import EventLoop
from epollo.logs.logger import logger
from epollo.server.groups.broker import Deliver
from epollo.units import format_size
from epollo.workers.link import HELLO, PeerLink, frame_of

MEETING_SECONDS = 1.0
"""For the workers that serve to answer a new one, before that accepts connections."""

_LAST_SECONDS = 0.1  # for the others to take what this worker has published, when it ends
_REPORT_SECONDS = 1.0  # between two lines of the log

_log = logger("epollo.server")


class WorkersBroker:
    """Passes messages to the other workers over ``links``, and delivers theirs.

    Each publishing thread's messages arrive in its order. Up to ``most`` bytes wait for a worker
    that does not take them; over that, messages for it are dropped. So each is delivered at most
    once, and exactly once while no worker is killed or stuck.
    """

    def __init__(self, links: Sequence[PeerLink], most: int) -> None:
        self._set_links({link.pid: link for link in links})
        self._most = most
        self._deliver: Deliver = _ignore
        self._loop: EventLoop | None = None
        self._scheduled = self._reporting = False
        self._dropped_before = 0  # for workers that have ended

    @property
    def dropped(self) -> int:
        """Messages that were dropped, one for each worker that did not get it."""
        return self._dropped_before + sum(link.dropped for link in self._sending)

    # ---- As `epollo.Broker`

    def subscribe(self, deliver: Deliver) -> None:
        """Deliver the messages of other workers to this server, from `begin` on."""
        self._deliver = deliver

    def unsubscribe(self, deliver: Deliver) -> None:
        """The server is closed: let the others take what it has published, and end the links."""
        if deliver == self._deliver and self._loop is not None:
            self._send_last()
            self._report()
            self._loop = None
            for link in self._sending:
                link.close()
            self._set_links({})

    def publish(self, group: str, message: bytes, publisher: Deliver) -> None:
        """Pass ``message`` to all other workers."""
        if not self._sending:
            return
        frame = frame_of(group, message)
        for link in self._sending:
            link.put(frame, self._most)
        loop = self._loop
        if not self._scheduled and loop is not None:
            self._scheduled = True
            loop.call_threadsafe(self._flush)

    # ---- In the loop's thread

    def begin(self, loop: EventLoop) -> None:
        """Tell the others that this worker is about to serve, and wait until those that serve have
        answered, for up to `MEETING_SECONDS`. Then use ``loop``."""
        for link in self._sending:
            link.say(HELLO)
        self._poll(select.POLLIN, lambda link: link.awaited, MEETING_SECONDS, self._receive)
        self._loop = loop
        for link in self._sending:
            link.watch(loop, self._deliver)
        self._flush()

    def add(self, pid: int, descriptor: int) -> None:
        """A new worker, and this one's end of the link with it."""
        link = PeerLink(socket.socket(fileno=descriptor), pid)
        self._set_links({**self._links, pid: link})
        if self._loop is not None:
            link.say(HELLO)
            link.watch(self._loop, self._deliver)

    def remove(self, pid: int) -> None:
        """A worker has ended. A process that it has forked may still hold its end of the link."""
        link = self._links.get(pid)
        if link is not None:
            while link.receive(self._deliver):
                pass
            self._dropped_before += link.dropped
            link.close()
            self._set_links({key: each for key, each in self._links.items() if key != pid})

    def _set_links(self, links: dict[int, PeerLink]) -> None:
        self._links = links
        self._sending = tuple(links.values())  # other threads go through it

    def _receive(self, link: PeerLink) -> None:
        link.receive(self._deliver)

    def _flush(self) -> None:
        self._scheduled = False
        for link in self._sending:
            link.flush()
        if not self._reporting:
            self._report()

    def _send_last(self) -> None:
        for link in self._sending:
            link.flush()
        self._poll(select.POLLOUT, lambda link: link.unsent > 0, _LAST_SECONDS, PeerLink.flush)

    def _poll(
        self,
        event: int,
        waits: Callable[[PeerLink], bool],
        seconds: float,
        act: Callable[[PeerLink], object],
    ) -> None:
        """Call ``act`` for each link that is ready, while one of them ``waits``."""
        deadline = time.monotonic() + seconds
        while waiting := {link.fileno(): link for link in self._sending if waits(link)}:
            poller = select.poll()
            for fd in waiting:
                poller.register(fd, event)
            left = deadline - time.monotonic()
            if left <= 0:
                return
            for fd, _ in poller.poll(1000 * left):
                act(waiting[fd])

    def _report(self) -> None:
        """Log what was dropped since the last time; once a second."""
        self._reporting = False
        for link in self._sending:
            count, link.reported = link.dropped - link.reported, link.dropped
            if count:
                self._reporting = True
                _log.warning(
                    "%d messages to groups were dropped for worker %d, which does not take them: "
                    "over max_unsent, %s, would wait (%d in all)",
                    count,
                    link.pid,
                    format_size(self._most),
                    self.dropped,
                )
        if self._reporting and self._loop is not None:
            self._loop.call_later(_REPORT_SECONDS, self._report)


def _ignore(*_: object) -> None:
    pass
