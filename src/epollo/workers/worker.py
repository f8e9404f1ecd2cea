"""One worker, as the supervisor sees it."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from epollo import errors
from epollo.control.inquirer import Values
from epollo.engine import EventLoop
from epollo.errors import EpolloError, WorkerError
from epollo.server.resident_memory import resident_bytes
from epollo.workers.channel import Channel, ChannelWatch, Message
from epollo.workers.passage import Passage

JITTER = 0.1  # limits of a worker are lowered by up to this part: not all reach them at once


class Stage(Enum):
    """What a worker does: each goes from one to the next."""

    BOOTING = "boots"
    SERVING = "serves"
    DRAINING = "drains"


class RemoteTraceback(Exception):
    """The cause of an error in a worker; its text is the traceback (as in concurrent.futures)."""

    __module__ = "builtins"  # which a traceback does not print


class Worker:
    """A worker process, from its fork until the supervisor has reaped it.

    ``generation`` counts the reloads before its fork: two workers of the same have the same code.
    """

    def __init__(
        self,
        pid: int,
        generation: int,
        channel: Channel,
        cell: int | None = None,
        passage: Passage | None = None,
    ) -> None:
        self.pid: int = pid
        self.passage: Passage | None = passage  # if the supervisor accepts connections for it
        self.generation: int = generation
        self.stage: Stage = Stage.BOOTING
        self.ready_line: str = ""
        self.failure: EpolloError | None = None  # why it cannot serve, as it says itself
        self.kill_reason: str = ""  # why the supervisor has killed it
        self.outdated: bool = False  # its code has changed while it booted, so it was killed
        self.unanswered: int = 0  # pings in a row
        self.messages: int = 0  # that it has received, if they are counted
        self.figures: Values | None = None  # the last that it has told
        self.cell: int | None = cell  # of the counts that all workers share
        self.limit_share: float = 1 - JITTER * random.random()  # noqa: S311 (spreads, hides nothing)
        self._channel = channel
        self._watch: ChannelWatch | None = None
        self._born = time.monotonic()

    def keep(self, figures: Values) -> None:
        """Remember what it has told of its figures, unless that is an error."""
        if "error" not in figures:
            self.figures = figures

    @property
    def age(self) -> float:
        """Seconds since the fork."""
        return time.monotonic() - self._born

    @property
    def answers(self) -> bool:
        """Does its loop run, as far as is known?"""
        return self.stage is not Stage.BOOTING and self.unanswered < 2 and not self.kill_reason

    @property
    def memory(self) -> int:
        """Resident bytes; 0 if they are not known."""
        return resident_bytes(self.pid)

    def watch(self, loop: EventLoop, received: Callable[[Worker, Message], object]) -> None:
        """Call ``received`` for each message. The end of its stream says nothing that the end of
        the process does not say."""
        self._watch = ChannelWatch(
            loop, self._channel, lambda message: received(self, message), _ignore
        )

    def send(self, kind: str, **values: Any) -> None:
        if self._watch is not None:
            self._watch.send(kind, **values)

    def give(self, kind: str, sock: socket.socket, **values: Any) -> None:
        """Send a message with ``sock``, and close that."""
        if self._watch is None:
            sock.close()
        else:
            self._watch.give(kind, sock, **values)

    def receive_last(self) -> None:
        """It has ended: handle what it has said before, and close the channel."""
        if self._watch is not None:
            self._watch.receive()
            self._watch.unwatch()
        self._channel.close()

    def close_channel(self) -> None:
        """In a process that was forked later: close the copy."""
        self._channel.close()

    def kill(self, number: signal.Signals, reason: str = "") -> None:
        """Send it a signal. It is not reaped yet, so no other process has its number."""
        self.kill_reason = self.kill_reason or reason
        os.kill(self.pid, number)

    def fail(self, text: str, error: str, traceback: str) -> None:
        """It cannot serve: remember the error, as one of the same type if that is epollo's own."""
        kind = getattr(errors, error, None) if error in vars(errors) else None
        known = isinstance(kind, type) and issubclass(kind, EpolloError)
        self.failure = kind(text) if known and kind is not None else WorkerError(text)
        if traceback:
            self.failure.__cause__ = RemoteTraceback(f"\n{traceback}")


END_CAUSES = ("drained", "failed", "boot_failed", "signal", "supervisor")
"""Why workers have ended, in metrics. ``signal``: someone else has killed it, such as the kernel
for lack of memory. ``supervisor``: it was stuck, or did not stop within the grace."""


def end_cause(worker: Worker, status: int) -> str:
    """The one of ``worker``, which has ended with that wait status."""
    if worker.kill_reason:
        return "supervisor"
    if os.WIFSIGNALED(status):
        return "supervisor" if worker.outdated else "signal"
    if worker.stage is Stage.BOOTING:
        return "boot_failed"
    return "failed" if status else "drained"


def ending(status: int) -> str:
    """How a process has ended, by its wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    return f"was killed by {name}"


def _ignore() -> None:
    pass
