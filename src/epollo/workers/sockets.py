"""The listening sockets of all slots: the supervisor owns them, so they outlive every worker."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Collection, Sequence

from epollo import address
from epollo.errors import BindError
from epollo.server.listeners import options_of
from epollo.settings import Settings
from epollo.workers import steering

_log = logging.getLogger("epollo.supervisor")


class SlotSockets:
    """The sockets of one address that is listened on: one for each slot, or one that all share.

    A TCP address has a group of sockets (SO_REUSEPORT), each with an accept queue of its own. Unix
    sockets know no such groups, and an inherited socket is one: all workers accept from it.
    """

    def __init__(self, first: address.Bound, options: address.Options, *, inherited: bool) -> None:
        self._first = first
        self._options = options
        self.shared: bool = inherited or first.socket.family == socket.AF_UNIX
        self._sockets = [first.socket]
        if not self.shared:
            # Only now: bound without it, the socket is refused if another program listens there,
            # and another program that lacks the option is refused as well.
            first.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def add(self) -> None:
        """One more slot. Raises OSError."""
        if not self.shared:
            self._sockets.append(address.listen_beside(self._first.socket, self._options))

    def of(self, index: int) -> socket.socket:
        """The socket of the slot at ``index``."""
        return self._sockets[0 if self.shared else index]

    def close_others(self, index: int) -> None:
        """Close all copies except the one of the slot at ``index``."""
        kept = self.of(index)
        for sock in self._sockets:
            if sock is not kept:
                sock.close()

    def remove_last(self) -> None:
        """Close the supervisor's copy of the last slot's socket."""
        if not self.shared:
            self._sockets.pop().close()

    def steer(self, indices: Sequence[int], slots: int) -> None:
        """New connections go to the slots at ``indices``, of ``slots`` in all. Raises OSError."""
        if self.shared or slots == 1:
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
        options = options_of(self._settings)
        for bind in self._binds:
            for bound in address.listen_all(bind, options, self._binds, _log.warning):
                inherited = bind.fd is not None
                self._addresses.append(SlotSockets(bound, options, inherited=inherited))
        for _ in range(1, slots):
            self.add_slot()

    def add_slot(self) -> None:
        """Listen for one more slot. Raises BindError."""
        try:
            for each in self._addresses:
                each.add()
        except OSError as error:
            raise BindError(
                f"cannot listen for one more worker: {os.strerror(error.errno or 0)}"
            ) from error
        self._slots += 1

    def of(self, index: int) -> list[tuple[socket.socket, bool]]:
        """The sockets of the slot at ``index``; true for those that it shares with all others."""
        return [(each.of(index), each.shared) for each in self._addresses]

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
