"""The listening sockets of all slots: the supervisor owns them, so they outlive every worker."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from typing import Any, NamedTuple

from epollo import address
from epollo.errors import BindError
from epollo.logs.logger import logger
from epollo.server.listeners import options_of
from epollo.settings import MOST_WORKERS, Settings
from epollo.workers import steering
from epollo.workers.inheritance import Inheritance, InheritedListener

_log = logger("epollo.supervisor")


class WorkerSocket(NamedTuple):
    """One address that a worker serves, and its socket; None if the supervisor accepts."""

    address: str
    socket: socket.socket | None


class SlotSockets:
    """The sockets of one address that is listened on: one for each slot, or one that is ``exact``.

    A TCP address has a group of sockets (SO_REUSEPORT), each with an accept queue of its own. Unix
    sockets know no such groups, and an inherited socket is one. From these, and with exact balance
    from all, the supervisor accepts.
    """

    def __init__(
        self,
        bind: address.Address,
        place: int,
        first: address.Bound,
        options: address.Options,
        others: Sequence[socket.socket] | None = None,
        *,
        exact: bool = False,
    ) -> None:
        """``others`` are the sockets after the first, if another supervisor has made them."""
        self._bind = bind
        self._place = place
        self._first = first
        self._options = options
        self._name = str(address.of(first.socket.getsockname()))
        self._single = bind.fd is not None or first.socket.family == socket.AF_UNIX  # in no group
        self.exact: bool = exact or self._single
        self._sockets = [first.socket, *(others or ())]
        self.inherited: bool = others is not None
        self.handed_over: bool = False
        self._file = first.file

    @property
    def first(self) -> socket.socket:
        """The first socket, or the only one."""
        return self._first.socket

    @property
    def slots(self) -> int:
        """How many slots have a socket, or need none."""
        return MOST_WORKERS if self.exact else len(self._sockets)

    @property
    def fds(self) -> list[int]:
        """Their descriptors, in the order of the group."""
        return [sock.fileno() for sock in self._sockets]

    def describe(self) -> dict[str, Any]:
        """For another supervisor: see `InheritedListener`."""
        return {
            "bind": str(self._bind),
            "place": self._place,
            "fds": self.fds,
            "file": self._file and astuple(self._file),
        }

    def adopt(self) -> None:
        """Apply the settings to sockets that were made with other ones. Raises OSError."""
        for sock in self._sockets:
            address.adopt(sock, self._options, self._file, relisten=self._bind.fd is None)

    def add(self, *, steered: bool = False) -> None:
        """One more slot, which gets no new connections before `steer` says so; ``steered`` if the
        kernel has a program for that already. Raises OSError."""
        if not self.exact:
            if not steered:
                with suppress(OSError):  # without it, they wait until a worker serves the slot
                    steering.steer(self._first.socket, range(len(self._sockets)))
            self._sockets.append(address.listen_beside(self._first.socket, self._options))

    def of(self, index: int) -> WorkerSocket:
        """The socket of the slot at ``index``."""
        return WorkerSocket(self._name, None if self.exact else self._sockets[index])

    def close_others(self, index: int) -> None:
        """Close all copies except the one of the slot at ``index``."""
        kept = self.of(index).socket
        for sock in self._sockets:
            if sock is not kept:
                sock.close()

    def remove_last(self) -> None:
        """Close the supervisor's copy of the last slot's socket."""
        if not self.exact:
            self._sockets.pop().close()

    def steer(self, indices: Sequence[int], *, alone: bool) -> None:
        """New connections go to the slots at ``indices``; ``alone`` if no other supervisor has
        sockets in the group. Raises OSError."""
        if self._single:
            return
        if self.exact:
            indices = [0]
        if alone and len(indices) == len(self._sockets):
            steering.steer_to_all(self._first.socket)
        else:
            steering.steer(self._first.socket, indices)

    def leave_file(self) -> None:
        """The file of a Unix socket is another supervisor's."""
        self._file = None

    def hand_over(self) -> None:
        """Another supervisor serves the address: its are the file, and the queue of a socket that
        is ``exact``."""
        self.leave_file()
        self.handed_over = True

    @property
    def file(self) -> str:
        """The path of a Unix socket that is this supervisor's; empty if there is none."""
        return "" if self._file is None else self._file.path

    def close(self) -> None:
        """Remove the file of a Unix socket; close the supervisor's copies."""
        try:
            if self._file is not None:
                self._file.remove()
        except OSError as error:
            _log.warning("%s is left behind: %s", self._file, error.strerror)
        for sock in self._sockets:
            sock.close()


class Sockets:
    """The sockets of all addresses and slots."""

    def __init__(self, settings: Settings, binds: Sequence[address.Address]) -> None:
        self._settings = settings
        self._binds = binds
        self._addresses: list[SlotSockets] = []
        self._slots = 1
        self._can_steer = True
        self._inheritance: Inheritance | None = None  # what another supervisor still owns
        self.alone: bool = True  # no other supervisor has sockets in the groups

    @property
    def binds(self) -> Sequence[address.Address]:
        return self._binds

    @property
    def borrowed(self) -> bool:
        """Are these still the sockets of another supervisor, which runs?"""
        return self._inheritance is not None and not self._inheritance.over

    def open(self, slots: int, inheritance: Inheritance | None = None) -> None:
        """Listen on every address, for ``slots`` slots, with the sockets of the ``inheritance`` if
        they fit. Raises BindError."""
        self._inheritance = inheritance
        self.alone = inheritance is None
        # Grouped with exact balance too: a supervisor after may have the other balance.
        options = replace(options_of(self._settings), grouped=True)
        for place, bind in enumerate(self._binds):
            self._open(place, bind, options, slots)
        if inheritance is not None:
            inheritance.close_others()
        for _ in range(1, slots):
            self.add_slot()

    def _open(
        self, place: int, bind: address.Address, options: address.Options, slots: int
    ) -> None:
        """Listen on one address."""
        handed = self._inheritance
        others: dict[socket.socket, list[socket.socket]] = {}  # those after an inherited one
        exact = self._settings.balance == "exact"

        def take(listener: InheritedListener) -> address.Bound:
            first, *others[first] = listener.take(1 if exact else slots)
            return address.Bound(first, listener.file)

        def existing(sockaddr: Any) -> address.Bound | None:
            listener = None if handed is None else handed.on(sockaddr)
            return None if listener is None else take(listener)

        bounds = [] if handed is None else [take(each) for each in handed.of(bind)]
        if not bounds:
            if handed is not None and bind.fd in handed.fds:
                raise BindError(f"cannot listen on {bind}: no such descriptor is open")
            bounds = address.listen_all(bind, options, self._binds, _log.warning, existing=existing)
        for bound in bounds:
            rest = others.get(bound.socket)
            self._addresses.append(SlotSockets(bind, place, bound, options, rest, exact=exact))

    def own(self) -> None:
        """All that was inherited is this supervisor's from now on."""
        handed, self._inheritance = self._inheritance, None
        try:
            if handed is not None:
                for each in self._addresses:
                    if each.inherited:
                        each.adopt()
        except OSError as error:
            _log.warning("settings of inherited sockets are as before: %s", error.strerror)

    def describe(self) -> list[dict[str, Any]]:
        """All addresses, for another supervisor."""
        return [each.describe() for each in self._addresses]

    @property
    def fds(self) -> list[int]:
        """All descriptors."""
        return [fd for each in self._addresses for fd in each.fds]

    def hand_over(self, taken: Sequence[int]) -> Callable[[int], list[int]]:
        """Another supervisor serves, and the sockets of this one are to be closed. ``taken``: of
        each address, how many of them the other one has. Returns a function of the index of a slot:
        the indices of its sockets whose queue only the workers of this supervisor accept."""
        for each, count in zip(self._addresses, taken, strict=True):
            if count:
                each.hand_over()
        served = [
            MOST_WORKERS if count and each.exact else count
            for each, count in zip(self._addresses, taken, strict=True)
        ]
        return lambda slot: [index for index, count in enumerate(served) if slot >= count]

    def add_slot(self) -> None:
        """Listen for one more slot. Raises BindError, and then listens for none more."""
        added = []
        try:
            for each in self._addresses:
                if each.slots <= self._slots:
                    each.add(steered=not self.alone)
                    added.append(each)
        except OSError as error:
            for each in added:
                each.remove_last()
            raise BindError(
                f"cannot listen for one more worker: {os.strerror(error.errno or 0)}"
            ) from error
        self._slots += 1

    @property
    def exact(self) -> list[socket.socket]:
        """Those from which the supervisor accepts."""
        return [each.first for each in self._addresses if each.exact and not each.handed_over]

    def of(self, index: int) -> list[WorkerSocket]:
        """The addresses and sockets of the slot at ``index``."""
        return [each.of(index) for each in self._addresses]

    @property
    def files(self) -> list[str]:
        """The paths of Unix sockets that were made."""
        return [each.file for each in self._addresses if each.file]

    def close_other_slots(self, index: int) -> None:
        """In the worker of the slot at ``index``: close its copies of other slots' sockets."""
        for each in self._addresses:
            each.close_others(index)

    def steer(self, indices: Collection[int]) -> None:
        """New connections go to the slots at ``indices``; to all if there are none. If the kernel
        cannot do this, connections of the other slots wait in their accept queues."""
        chosen = sorted(indices) or range(self._slots)
        if not self._can_steer or self._inheritance is not None:
            return
        try:
            for each in self._addresses:
                each.steer(chosen, alone=self.alone)
        except OSError as error:
            self._can_steer = False
            _log.warning("cannot steer new connections to other workers: %s", error.strerror)

    def remove_last_slot(self) -> None:
        """Close the copies of the last slot's sockets."""
        for each in self._addresses:
            each.remove_last()
        self._slots -= 1

    def close(self) -> None:
        """Close all. Workers may still have copies."""
        for each in self._addresses:
            if each.inherited and self.borrowed:
                each.leave_file()
            each.close()
        self._addresses.clear()
