"""The new supervisor's side of a handover: the listening sockets that it inherits from the one
before, and the channel between both.

The supervisor before has started this process (SIGUSR2), with the sockets open at the same
descriptor numbers. An environment variable says which these are, and to what addresses they belong.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from epollo import address
from epollo.engine import EventLoop
from epollo.workers.channel import Channel, ChannelWatch, Message

VARIABLE = "_EPOLLO_HANDOVER"
"""JSON: ``from`` and ``for``, the process before and this one; ``channel``, a descriptor;
``listeners``, a list of the values of `InheritedListener`; ``metrics``, such values or null;
``control``, the descriptor and the file of the control socket, or null; ``systemd``, the
descriptors that systemd has passed."""


@dataclass
class InheritedListener:
    """The sockets of one address: one for each slot, in the order of their group, or one only.
    ``bind`` is the address as the settings before had it, the one at ``place``: a name may have
    several listeners, and one port 0 is another than the next."""

    bind: str
    place: int
    fds: list[int]
    file: address.SocketFile | None
    taken: int = field(default=0)  # of the sockets, by this supervisor

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """The one that these ``values`` describe."""
        file = values["file"] and address.SocketFile(*values["file"])
        return cls(values["bind"], values["place"], values["fds"], file)

    def has(self, sockaddr: Any) -> bool:
        """Do these sockets listen on ``sockaddr``?"""
        if self.file is None:
            name = self._name
            if isinstance(name, tuple) and isinstance(sockaddr, tuple):
                return bool(name[:2] == sockaddr[:2])
            return bool(name == sockaddr)
        try:
            there = address.SocketFile.at(self.file.path) == self.file
        except OSError:
            return False
        return there and not isinstance(sockaddr, tuple) and self.file.is_at(sockaddr)

    @property
    def _name(self) -> Any:
        sock = socket.socket(fileno=self.fds[0])
        try:
            name = sock.getsockname()
        finally:
            sock.detach()
        return os.fsdecode(name) if isinstance(name, bytes) else name

    def take(self, slots: int) -> list[socket.socket]:
        """The sockets for ``slots`` slots, at most. The others are closed: the workers before
        accept what is in their queues."""
        kept = self.fds[:slots]
        self.taken = len(kept)
        for fd in self.fds[slots:]:
            os.close(fd)
        return [socket.socket(fileno=fd) for fd in kept]


class Inheritance:
    """What the supervisor before, process ``pid``, hands on. It is this one's when the one before
    says so after `claim`, or has ended."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.pid: int = values["from"]
        """Of the supervisor before."""
        self.systemd: list[address.Address] = [address.Address(fd=fd) for fd in values["systemd"]]
        self.listeners: list[InheritedListener] = [
            InheritedListener.of(each) for each in values["listeners"]
        ]
        metrics = values.get("metrics")
        self.metrics: InheritedListener | None = metrics and InheritedListener.of(metrics)
        self.fds: set[int] = {fd for each in self.listeners for fd in each.fds}
        self.fds.update(values["systemd"])
        others = self.metrics.fds if self.metrics else []
        for fd in (*self.fds, *others, values["channel"]):
            os.set_inheritable(fd, False)
        self._control: dict[str, Any] | None = values.get("control")  # not of an older epollo
        if self._control is not None:
            os.set_inheritable(self._control["fd"], False)
        self.channel: Channel = Channel(socket.socket(fileno=values["channel"]))
        self.over: bool = False  # the supervisor before has ended
        self.has_control: bool = False  # this supervisor has taken the control socket
        self._watch: ChannelWatch | None = None
        self._on_owned: Callable[[], object] = _nothing
        self._on_over: Callable[[], object] = _nothing
        self._on_totals: Callable[[dict[str, Any]], object] = _nothing
        self._claimed = self._owned = False

    def of(self, bind: address.Address) -> list[InheritedListener]:
        """What listens for ``bind``, if that names no address of its own: a port that the kernel
        has chosen, or a descriptor."""
        if bind.path or bind.port:
            return []
        found = [each for each in self.listeners if each.bind == str(bind) and not each.taken]
        return [each for each in found if each.place == found[0].place]

    def on(self, sockaddr: Any) -> InheritedListener | None:
        """What listens on ``sockaddr``."""
        free = (each for each in self.listeners if not each.taken)
        return next((each for each in free if each.has(sockaddr)), None)

    def metrics_for(self, bind: str) -> Callable[[Any], address.Bound | None]:
        """For a socket address that ``bind`` of the metrics has: the socket of the metrics before,
        if it listens there."""

        def existing(sockaddr: Any) -> address.Bound | None:
            listener = self.metrics
            if listener is None or not (listener.bind == bind or listener.has(sockaddr)):
                return None
            return address.Bound(listener.take(1)[0], listener.file)

        return existing

    def shares_metrics(self, fd: int) -> bool:
        """Is ``fd``, the socket of this supervisor's metrics, the one of the metrics before? If it
        is not, that one is closed here."""
        if self.metrics is None:
            return False
        if fd not in self.metrics.fds:
            os.close(self.metrics.fds[0])
            self.metrics = None
            return False
        return True

    def close_others(self) -> None:
        """Close what was not taken: the new settings have no use for it. The workers before accept
        what is in its queues."""
        kept = {fd for each in self.listeners if each.taken for fd in each.fds}
        for fd in self.fds - kept:
            os.close(fd)

    def take_control(self, path: str) -> address.Bound | None:
        """The control socket, if it is the one at ``path``; otherwise it is closed here."""
        if self._control is None:
            return None
        file = address.SocketFile(*self._control["file"])
        sock = socket.socket(fileno=self._control["fd"])
        self._control = None
        try:
            there = bool(path) and file.is_at(path) and address.SocketFile.at(path) == file
        except OSError:
            there = False
        if not there:
            sock.close()
            return None
        sock.setblocking(False)
        self.has_control = True
        return address.Bound(sock, file)

    def watch(
        self,
        loop: EventLoop,
        on_owned: Callable[[], object],
        on_over: Callable[[], object],
        on_totals: Callable[[dict[str, Any]], object],
    ) -> None:
        """Call ``on_owned`` once all is this supervisor's, and ``on_over`` when the one before has
        ended; ``on_totals`` with what that one has counted, again and again."""
        self._on_owned, self._on_over, self._on_totals = on_owned, on_over, on_totals
        self._watch = ChannelWatch(loop, self.channel, self._received, self._ended)

    def claim(self) -> None:
        """All workers serve: ask for what this supervisor has taken."""
        self._claimed = True
        if self.over:
            self._own()
        elif self._watch is not None:
            taken = [each.taken for each in self.listeners]
            self._watch.send("ready", taken=taken, control=self.has_control)

    def refuse(self, text: str) -> None:
        """This supervisor cannot serve: ``text`` says why."""
        self.channel.send("failed", text=text)

    def _received(self, message: Message) -> None:
        match message.kind:
            case "yours":
                self._own()
            case "totals":
                self._on_totals(message.values)

    def _own(self) -> None:
        if not self._owned:
            self._owned = True
            self._on_owned()

    def _ended(self) -> None:
        self.over = True
        self.channel.close()
        if self._claimed:
            self._own()
        self._on_over()


def _nothing(*_: object) -> None:
    pass


def inheritance() -> Inheritance | None:
    """What a supervisor hands on to this process; None if there is none. The variable is removed
    from the environment: no other process can take it."""
    values = json.loads(os.environ.pop(VARIABLE, "null"))
    if values is None or values["for"] != os.getpid():
        return None
    return Inheritance(values)


def refuse(text: str) -> None:
    """This process will not come to serve: tell a supervisor that waits for it, if there is one."""
    handed = inheritance()
    if handed is not None:
        handed.refuse(text)


def description(
    channel: int,
    listeners: Sequence[dict[str, Any]],
    metrics: dict[str, Any] | None,
    control: dict[str, Any] | None,
    systemd: Sequence[int],
) -> str:
    """The value of the variable, in the new process."""
    values = {
        "from": os.getppid(),
        "for": os.getpid(),
        "channel": channel,
        "listeners": listeners,
        "metrics": metrics,
        "systemd": systemd,
        "control": control,
    }
    return json.dumps(values)
