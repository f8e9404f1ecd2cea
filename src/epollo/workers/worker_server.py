"""The server of a worker process, which its supervisor controls."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from epollo.engine import EventLoop
from epollo.server.attacher import Attacher
from epollo.server.handlers.handler import Handler
from epollo.server.listeners import NewSource
from epollo.server.server import Server
from epollo.workers.channel import Channel, ChannelWatch, Message
from epollo.workers.intake import Intake
from epollo.workers.sockets import WorkerSocket
from epollo.workers.task import Task

_log = logging.getLogger("epollo.supervisor")


class WorkerServer(Server):
    """A server on sockets that listen already. It tells the supervisor when it serves, answers that
    it is alive, and drains when the supervisor says so, or is gone.

    SIGTERM makes it drain too, a second one makes it stop at once. One that comes with the
    supervisor's own order, as to a whole group of processes, asks for nothing more.
    """

    def __init__(
        self,
        handler: Handler,
        task: Task,
        sockets: Sequence[WorkerSocket],
        pair: socket.socket | None,
        channel: Channel,
    ) -> None:
        self._inherited_certificates = task.certificates
        super().__init__(handler, name=task.name, settings=task.settings)
        self._sockets = [each.socket for each in sockets if each.socket is not None]
        self._listeners.use(
            self._sockets,
            [each.address for each in sockets],
            None if pair is None else self._take_from(pair),
        )
        self._listeners.on_closed = self._say_released
        self._intake: Intake | None = None
        self._channel = channel
        self._watch: ChannelWatch | None = None
        self._ordered = self._signalled = False
        self.is_ready: bool = False

    def _take_from(self, pair: socket.socket) -> NewSource:
        def new_source(loop: EventLoop, attacher: Attacher) -> Intake:
            self._intake = Intake(loop, pair, attacher)
            return self._intake

        return new_source

    def _check_workers(self) -> None:
        """The supervisor has read the setting."""

    def start(self) -> None:
        super().start()
        self._watch = ChannelWatch(self._started, self._channel, self._obey, self._orphaned)
        self._started.call_threadsafe(self._say_ready)

    def signals(self) -> AbstractContextManager[None]:
        return self._signals.handled(self._on_sigterm, (signal.SIGTERM,))

    def _say_ready(self) -> None:
        """The first turn of the loop: ``started`` has returned, and connections are accepted."""
        self.is_ready = True
        self._send("ready", line=self.ready_line)

    def _obey(self, message: Message) -> None:
        values = message.values
        match message.kind:
            case "ping":
                count = self._protocol.message_count
                if self._intake is not None:
                    self._intake.report()
                self._send("alive", messages=None if count is None else count.total)
            case "drain":
                self._drain_as_ordered(values["grace"], values["queued"])
            case "abort":
                self._stop_anyway(self.stop)

    def _drain_as_ordered(self, grace: float, queued: str) -> None:
        if self._stop_requested:
            return
        self._ordered = True
        try:
            self._listeners.leave_queued(self._sockets if queued == "none" else ())
        finally:
            self._stop_anyway(lambda: self.stop(grace))

    def _say_released(self) -> None:
        self._send("released")

    def _orphaned(self) -> None:
        """The supervisor has ended without a word."""
        if not self._stop_requested:
            _log.warning("the supervisor is gone; this worker drains and ends")
            self._stop_anyway(self.stop)

    def _on_sigterm(self, _: int) -> bool:
        first, self._signalled = not self._signalled, True
        if first and self._ordered:
            return True
        self.stop()
        if first and self._loop is not None:
            self._loop.call_threadsafe(lambda: self._send("stopping"))
        return True

    def _stop_anyway(self, stop: Callable[[], object]) -> None:
        """Stop, and end the process if the application does not let the stop end."""
        self._watchdog.end_process()
        stop()

    def _send(self, kind: str, **values: Any) -> None:
        if self._watch is not None:
            self._watch.send(kind, **values)
