"""The server of a worker process, which its supervisor controls."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from epollo.control.inquirer import Values
from epollo.engine import EventLoop
from epollo.logs.logger import logger
from epollo.server.attacher import Attacher
from epollo.server.groups.broker import Broker, Brokers
from epollo.server.handlers.handler import Handler
from epollo.server.listeners import NewSource
from epollo.server.server import Server
from epollo.workers.broker import WorkersBroker
from epollo.workers.channel import ChannelWatch, Message
from epollo.workers.inherited import Inherited
from epollo.workers.intake import Intake
from epollo.workers.task import Task

_TELL_SECONDS = 0.2  # at the end, for a supervisor that takes nothing
_SIGN_SECONDS = 0.2  # between two signs, at most, that an answer will come
_SPARE_SECONDS = 1.0  # added to a delay that the supervisor ends, so that it does so first

_log = logger("epollo.supervisor")


class WorkerServer(Server):
    """A server on sockets that listen already. It tells the supervisor when it serves, answers that
    it is alive, and drains when the supervisor says so, or is gone.

    SIGTERM makes it drain too, after ``drain_delay``. A second one ends that delay or, if there is
    none, makes it stop at once. A signal that comes with the supervisor's own order, as to a whole
    group of processes, asks for nothing more.

    After a signal of its own, it accepts until the supervisor has answered: what that passes, or
    the kernel puts into a queue from which nobody else accepts, would be lost after the close.
    """

    def __init__(
        self,
        handler: Handler,
        task: Task,
        inherited: Inherited,
    ) -> None:
        self._inherited_certificates = task.certificates
        self._cell = inherited.cell
        self._broker = WorkersBroker(inherited.links, task.settings.max_unsent)
        self._node = task.node
        super().__init__(handler, name=task.name, broker=self._broker, settings=task.settings)
        self._sockets = inherited.sockets
        pair = inherited.pair
        self._listeners.use(
            [each.socket for each in self._sockets if each.socket is not None],
            [each.address for each in self._sockets],
            None if pair is None else self._take_from(pair),
        )
        self._listeners.on_closed = self._say_released
        self._intake: Intake | None = None
        self._channel = inherited.channel
        self._watch: ChannelWatch | None = None
        self._process_settings_apply = True  # the supervisor has applied them
        self._signals_here = 0  # those to stop
        self._signals_there = 0  # the same of the supervisor, when it gave its last order
        self._shutdown.when_may_close = self._when_may_close
        self._may_close = False  # the supervisor passes nothing more
        self._awaiting: Callable[[], object] | None = None  # is called when that is so
        self._abort_ordered = self._telling = False
        self.is_ready: bool = False

    def _take_from(self, pair: socket.socket) -> NewSource:
        def new_source(loop: EventLoop, attacher: Attacher) -> Intake:
            self._intake = Intake(loop, pair, attacher)
            return self._intake

        return new_source

    def _open_admin(self, loop: EventLoop) -> None:
        """The supervisor answers for all workers."""

    def _chosen_broker(self, given: Broker | None) -> Broker:
        """Workers have each other's messages over their links, also while NATS is away; with a
        broker in the settings, other nodes have them from that."""
        if not self.settings.broker:
            return self._broker
        return Brokers(self._broker, self._cluster_broker(self._node))

    def _check_workers(self) -> None:
        """The supervisor has read the setting."""

    def start(self) -> None:
        super().start()
        self._watch = ChannelWatch(self._started, self._channel, self._obey, self._orphaned)
        self._watch.receive()  # links with workers that were forked meanwhile
        self._broker.begin(self._started)
        self._started.call_threadsafe(self._say_ready)

    def run(self) -> None:
        process = os.getpid()
        try:
            super().run()
        finally:
            if os.getpid() == process:  # not in one that the application has forked
                self._tell_last()

    @property
    def _is_watched(self) -> bool:
        """Does somebody look at what it counts?"""
        return bool(self.settings.metrics or self.settings.control)

    def _tell_figures(self) -> None:
        """In pieces, as the answer to a question; one after the other."""

        def tell(values: Values) -> None:
            self._telling = False
            self._send("figures", values=values)

        if self._is_watched and not self._telling:
            self._telling = True
            self._inspection.tell("figures", lambda _: None, tell)

    def _tell_last(self) -> None:
        """All connections are closed: tell what was counted, for the totals of the slot."""
        if self._is_watched:
            self._channel.send("figures", values=self._inspection.figures())
            self._channel.flush_within(_TELL_SECONDS)

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
                messages = None if count is None else count.total
                self._send("alive", messages=messages)
                self._tell_figures()
            case "drain":
                self._drain_as_ordered(**values)
            case "may_close":
                self._let_close()
            case "link":
                self._link(values["worker"], message.descriptors)
            case "unlink":
                self._broker.remove(values["worker"])
            case "ask":
                self._answer(**values)
            case "reopen_logs":
                self.reopen_logs()
            case "abort":
                self._abort_ordered = True
                self._signals_there = values["signals"]
                self._stop_anyway(self.stop)

    def _link(self, worker: int, descriptors: Sequence[int]) -> None:
        """A further worker has started. The kernel drops a descriptor for which this process has no
        room."""
        if descriptors:
            self._broker.add(worker, *descriptors)
        else:
            _log.error(
                "no link with worker %d: no descriptors left; raise ulimit -n. Messages to groups "
                "do not pass between the two",
                worker,
            )

    def _answer(self, number: int, question: str, arguments: dict[str, Any]) -> None:
        """In pieces: a long list takes many turns, in which connections are served, too."""

        def tell(values: Values) -> None:
            self._send("answer", number=number, question=question, values=values)

        told = time.monotonic()

        def tell_rows(rows: list[Values]) -> None:
            nonlocal told
            now = time.monotonic()
            if rows or now - told > _SIGN_SECONDS:
                told = now
                self._send("rows", number=number, rows=rows)

        self._inspection.tell(question, tell_rows, tell, **arguments)

    def _drain_as_ordered(
        self, grace: float, queued: str | list[int], delay: float, quick: bool, signals: int
    ) -> None:
        self._signals_there = signals
        if not self._shutdown.asked:
            self._begin_drain(grace, queued, delay, quick)
        elif self._shutdown.delayed and not delay:
            self.stop(grace, quick=quick)
        elif quick:
            self._shutdown.hurry()
        if not delay:
            self._let_close()

    def _begin_drain(
        self, grace: float, queued: str | list[int], delay: float, quick: bool
    ) -> None:
        spare = _SPARE_SECONDS if delay else 0.0
        try:
            self._listeners.leave_queued(
                [
                    each.socket
                    for index, each in enumerate(self._sockets)
                    if each.socket is not None and not _accepts(queued, index)
                ]
            )
        finally:
            self._stop_anyway(lambda: self.stop(grace, delay=delay + spare, quick=quick))

    def _when_may_close(self, close: Callable[[], object]) -> None:
        if self._may_close or not self._signals_here:
            close()
        else:  # the supervisor will answer, unless it is stuck
            self._awaiting = close
            self._started.call_later(self.settings.graceful_timeout / 2, self._let_close)

    def _let_close(self) -> None:
        self._may_close = True
        close, self._awaiting = self._awaiting, None
        if close is not None:
            close()

    def _say_released(self) -> None:
        self._send("released")

    def _orphaned(self) -> None:
        """The supervisor has ended without a word."""
        if not self._shutdown.asked:
            _log.warning("the supervisor is gone; this worker drains and ends")
            self._stop_anyway(self.stop)
        self._let_close()

    def _on_sigterm(self, _: int) -> bool:
        """Returns false if it has ended a delay, here or by the supervisor's order."""
        self._signals_here += 1
        if self._signals_here > 1 and self._signals_here <= self._signals_there:
            return self._abort_ordered
        delayed = self._shutdown.delayed
        if self._signals_here > 1:
            self.stop()
            return not delayed
        if not self._shutdown.asked:
            self.stop(delay=self.settings.drain_delay)
            if self._loop is not None:
                self._loop.call_threadsafe(lambda: self._send("stopping"))
        return True

    def _stop_anyway(self, stop: Callable[[], object]) -> None:
        """Stop, and end the process if the application does not let the stop end."""
        self._watchdog.end_process()
        stop()

    def _send(self, kind: str, **values: Any) -> None:
        if self._watch is not None:
            self._watch.send(kind, **values)


def _accepts(queued: str | list[int], index: int) -> bool:
    """Does it accept what is in the queue of the socket at ``index``?"""
    return index in queued if isinstance(queued, list) else queued == "all"
