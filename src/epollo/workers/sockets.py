"""The listening sockets of all slots: the supervisor owns them, so they outlive every worker."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from epollo import address
from epollo.errors import BindError
from epollo.server.listeners import options_of
from epollo.settings import Settings
from epollo.workers import steering

_log = logging.getLogger("epollo.supervisor")


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

    def __init__(self, first: address.Bound, options: address.Options, *, exact: bool) -> None:
        self._first = first
        self._options = options
        self._name = str(address.of(first.socket.getsockname()))
        self.exact: bool = exact or first.socket.family == socket.AF_UNIX
        self._sockets = [first.socket]

    @property
    def first(self) -> socket.socket:
        """The first socket, or the only one."""
        return self._first.socket

    def add(self) -> None:
        """One more slot, which gets no new connections before `steer` says so. Raises OSError."""
        if not self.exact:
            with suppress(OSError):  # without steering, they wait until a worker serves the slot
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

    def steer(self, indices: Sequence[int], slots: int) -> None:
        """New connections go to the slots at ``indices``, of ``slots`` in all. Raises OSError."""
        if self.exact:
            return
        if len(indices) == slots:
            steering.steer_to_all(self._first.socket)
        else:
            steering.steer(self._first.socket, indices)

    def close(self) -> None:
        """Remove the file of a Unix socket; close the supervisor's copies."""
        try:
            if self._first.file is not None:
                self._first.file.remove()
        except OSError as error:
            _log.warning("%s is left behind: %s", self._first.file, error.strerror)
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

    def open(self, slots: int) -> None:
        """Listen on every address, for ``slots`` slots. Raises BindError."""
        all_exact = self._settings.balance == "exact"
        options = replace(options_of(self._settings), grouped=not all_exact)
        for bind in self._binds:
            for bound in address.listen_all(bind, options, self._binds, _log.warning):
                exact = all_exact or bind.fd is not None
                self._addresses.append(SlotSockets(bound, options, exact=exact))
        for _ in range(1, slots):
            self.add_slot()

    def add_slot(self) -> None:
        """Listen for one more slot. Raises BindError, and then listens for none more."""
        added = []
        try:
            for each in self._addresses:
                each.add()
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
        return [each.first for each in self._addresses if each.exact]

    def of(self, index: int) -> list[WorkerSocket]:
        """The addresses and sockets of the slot at ``index``."""
        return [each.of(index) for each in self._addresses]

    def close_other_slots(self, index: int) -> None:
        """In the worker of the slot at ``index``: close its copies of other slots' sockets."""
        for each in self._addresses:
            each.close_others(index)

    def steer(self, indices: Collection[int]) -> None:
        """New connections go to the slots at ``indices``; to all if there are none. If the kernel
        cannot do this, connections of the other slots wait in their accept queues."""
        chosen = sorted(indices) or range(self._slots)
        if not self._can_steer:
            return
        try:
            for each in self._addresses:
                each.steer(chosen, self._slots)
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
            each.close()
        self._addresses.clear()
