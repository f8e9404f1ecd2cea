"""SIGUSR2: another supervisor takes the place of this one, on the same listening sockets.

This one starts the same command again, in the same directory and environment, as a process of its
own. That reads its settings and imports the application anew, and starts its workers. When all of
them serve, it asks for the sockets. This one says "yours", lets its own workers drain, and ends. If
the new supervisor ends before, or does not serve in time, nothing has changed here.

Over the channel between both, see `epollo.workers.channel`:

    ready(taken, control)
                        from the new one: it serves. ``taken``: of each address, how many of the
                        sockets it has; ``control``: has it the control socket?
    failed(text)        from the new one: it will not serve
    yours               to the new one
    totals(slots, ended, reloads)
                        to the new one, with "yours", each second and before this one ends: what
                        was counted, as in `epollo.workers.totals`

When this one has ended, which ends the stream, the new one is alone.
"""

from __future__ import annotations

import os
import posix
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

from epollo.causes import cause_of
from epollo.control.listener import ControlListener
from epollo.engine import EventLoop
from epollo.engine.timers import Timer
from epollo.logs.logger import logger
from epollo.settings import Settings
from epollo.workers.channel import Channel, ChannelWatch, Message, channel_pair
from epollo.workers.distributor import Distributor
from epollo.workers.inheritance import VARIABLE, description
from epollo.workers.pool import KILL_SECONDS, Pool
from epollo.workers.scaling import STEERING_SECONDS
from epollo.workers.sockets import Sockets
from epollo.workers.worker import ending

START_SECONDS = 30.0
"""For the new process to read its settings and to import the package, before its workers boot."""

_TELL_SECONDS = 0.2  # at the end, for a new one that takes nothing

# For one process each, and of no use to another.
_NOT_HANDED_ON = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID")

_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}

_log = logger("epollo.supervisor")


class HandoverEvents(Protocol):
    """What the handover tells the supervisor."""

    def on_handover_failed(self, why: str) -> None:
        """The new supervisor does not serve."""

    def on_handed_over(self, pid: int, *, control: bool) -> None:
        """The new supervisor, process ``pid``, serves, and has the control socket if ``control``;
        "yours" is not said yet."""


class Handover:
    """Hands over to another supervisor, once it serves."""

    def __init__(
        self,
        loop: EventLoop,
        settings: Settings,
        pool: Pool,
        sockets: Sockets,
        distributor: Distributor,
        metrics: Callable[[], dict[str, Any] | None],
        systemd: Sequence[int],
        events: HandoverEvents,
        control: Callable[[], ControlListener | None],
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._pool = pool
        self._sockets = sockets
        self._distributor = distributor
        self._metrics = metrics  # describes a copy of the socket of the metrics
        self._systemd = systemd  # the descriptors that systemd has passed
        self._events = events
        self._control = control
        self._folder = _folder()
        self._pid = 0  # of the new supervisor
        self._channel: Channel | None = None
        self._watch: ChannelWatch | None = None
        self._deadline: Timer | None = None
        self._kill_reason = ""
        self.booting: bool = False  # a new supervisor is about to serve
        self.done: bool = False  # it serves

    @property
    def running(self) -> bool:
        """Is there a new supervisor that has not ended?"""
        return bool(self._pid)

    def begin(self) -> None:
        """Start the new supervisor."""
        self._sockets.alone = False  # it may add sockets to a group: they must get no connections
        self._pool.steer_anew()
        ours, theirs = channel_pair()
        try:
            self._pid = self._start(theirs)
        except OSError as error:
            ours.close()
            self._fail(f"cannot start a process: {cause_of(error)}")
            return
        finally:
            theirs.close()
        _log.info("process %d is to replace this supervisor", self._pid)
        self.booting, self._kill_reason = True, ""
        self._channel = ours
        self._pool.not_for_workers.append(ours)
        self._watch = ChannelWatch(self._loop, ours, self._received, _ignore)
        if self._settings.boot_timeout:
            seconds = START_SECONDS + self._settings.boot_timeout
            self._deadline = self._loop.call_later(seconds, partial(self._end_boot, seconds))

    def _start(self, channel: Channel) -> int:
        """Start the same command again; returns the process. It inherits our sockets at the same
        descriptor numbers. Raises OSError."""
        with ExitStack() as copies:
            metrics, control = self._describe_admin(copies)
            fds = {channel.fileno(), *self._sockets.fds, *self._systemd}
            fds.update(metrics["fds"] if metrics else (), [control["fd"]] if control else ())
            return self._fork(channel, fds, metrics, control)

    def _describe_admin(
        self, copies: ExitStack
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Describes copies of the sockets of the metrics and of the control, which ``copies``
        closes. Raises OSError."""
        metrics = self._metrics()
        for fd in metrics["fds"] if metrics else ():
            copies.callback(os.close, fd)
        listener = self._control()
        control = None if listener is None else listener.describe()
        if control is not None:
            copies.callback(os.close, control["fd"])
        return metrics, control

    def _fork(
        self,
        channel: Channel,
        fds: Collection[int],
        metrics: dict[str, Any] | None,
        control: dict[str, Any] | None,
    ) -> int:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if not pid:
                self._become_new(channel, fds, metrics, control)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid

    def _become_new(
        self,
        channel: Channel,
        fds: Collection[int],
        metrics: dict[str, Any] | None,
        control: dict[str, Any] | None,
    ) -> NoReturn:
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)  # none is caught before exec(3)
            # As it was when this process began: a file of --env-file may have other values by now.
            environment = {os.fsdecode(name): text for name, text in posix.environ.items()}
            for name in _NOT_HANDED_ON:
                environment.pop(name, None)
            environment[VARIABLE] = os.fsencode(
                description(
                    channel.fileno(),
                    self._sockets.describe(),
                    metrics,
                    control,
                    self._systemd,
                )
            )
            for fd in fds:
                os.set_inheritable(fd, True)
            os.chdir(self._folder)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            command = [sys.executable, *sys.orig_argv[1:]]
            os.execve(command[0], command, environment)  # noqa: S606 (what runs here already)
        except OSError as error:
            channel.send(
                "failed", text=f"cannot run {sys.executable} in {self._folder}: {cause_of(error)}"
            )
        finally:
            os._exit(1)

    def reap(self) -> None:
        """Look whether the new supervisor has ended."""
        if not self._pid:
            return
        ended, status = os.waitpid(self._pid, os.WNOHANG)
        if not ended:
            return
        if self._watch is not None:
            self._watch.receive()  # what it has said before
        self._pid = 0
        self._close_channel()
        if self.booting:
            how = self._kill_reason or ending(status)
            self._fail(f"process {ended} {how}, before it served")

    def stop(self) -> None:
        """This supervisor stops: the new one too, unless it serves in its place. What that says now
        comes too late."""
        if self._pid and not self.done:
            self._end_deadline()
            self.booting = False
            os.kill(self._pid, signal.SIGTERM)
            grace = self._settings.graceful_timeout + KILL_SECONDS
            self._loop.call_later(grace, partial(self._kill, self._pid))

    def signal(self, number: int) -> None:
        """Hand a signal on to the new supervisor."""
        if self._pid:
            os.kill(self._pid, number)

    def tell_totals(self, totals: Mapping[str, Any]) -> None:
        """Tell the new supervisor, if it serves, what this one and its workers have
        counted."""
        if self.done and self._watch is not None:
            self._watch.send("totals", **totals)

    def tell_last(self, totals: Mapping[str, Any]) -> None:
        """As `tell_totals`, before this supervisor ends."""
        self.tell_totals(totals)
        if self._channel is not None:
            self._channel.flush_within(_TELL_SECONDS)

    def _received(self, message: Message) -> None:
        match message.kind:
            case "failed" if self.booting:
                self._fail(message.values["text"])
            case "ready" if self.booting:
                values = message.values
                self._hand_over(values["taken"], control=values.get("control", False))

    def _hand_over(self, taken: list[int], *, control: bool) -> None:
        assert self._watch is not None
        self._end_deadline()
        self.booting, self.done = False, True
        self._pool.steering = False
        queued = self._sockets.hand_over(taken)
        self._distributor.listen(self._sockets.exact)  # not from those that it has
        self._events.on_handed_over(self._pid, control=control)
        self._watch.send("yours")
        drain = partial(self._drain, queued)
        if any(queued(slot.index) for slot in self._pool.slots):
            # It steers new connections away from these sockets now. TCP handshakes that have begun
            # end in the meantime.
            self._loop.call_later(STEERING_SECONDS, drain)
        else:
            drain()

    def _drain(self, queued: Callable[[int], list[int]]) -> None:
        self._pool.accept_last(self._settings.backlog)
        self._sockets.close()
        self._pool.retire(queued)

    def _end_boot(self, seconds: float) -> None:
        if self.booting:
            self._kill_reason = f"was killed: it did not serve within {seconds:g} s"
            self._kill(self._pid)

    def _kill(self, pid: int) -> None:
        """Its workers find out, drain and end."""
        if self._pid == pid:
            os.kill(pid, signal.SIGKILL)

    def _fail(self, why: str) -> None:
        self._end_deadline()
        self.booting = False
        # The groups may have sockets of the new one until its last worker has ended: so new
        # connections are steered to our own from now on, though all of these accept.
        self._events.on_handover_failed(why)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_channel(self) -> None:
        if self._watch is not None:
            self._watch.unwatch()
            self._watch = None
        if self._channel is not None:
            self._pool.not_for_workers.remove(self._channel)
            self._channel.close()
            self._channel = None


def _ignore() -> None:
    """The end of the stream says nothing that the end of the process does not say."""


def _folder() -> str:
    """The current directory, by the name under which the shell entered it: with a symbolic link
    in it, that may lead to another directory by the time of a handover."""
    here, named = Path.cwd(), os.environ.get("PWD", "")
    try:
        return named if named.startswith("/") and Path(named).samefile(here) else str(here)
    except OSError:
        return str(here)
