"""The addresses at which a running server is asked about itself, and steered."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import ExitStack

from epollo import address
from epollo.control.commands import Commands
from epollo.control.inquirer import Inquirer
from epollo.control.listener import ControlListener, listen_at
from epollo.control.operations import Operations
from epollo.control.pace import Pace
from epollo.engine import EventLoop
from epollo.process_identity import identity
from epollo.settings import Settings


class Admin:
    """What ``metrics`` and ``control`` of the settings ask for, on the loop of a server or of a
    supervisor. Raises BindError.

    ``inherited`` is the control socket of another supervisor, if it is the one that the settings
    ask for: see `epollo.workers.inheritance`.
    """

    def __init__(
        self,
        loop: EventLoop,
        settings: Settings,
        inquirer: Inquirer,
        operations: Operations,
        inherited: address.Bound | None = None,
    ) -> None:
        self.control: ControlListener | None = None
        with ExitStack() as opened:
            if settings.control:
                pace = Pace(loop, inquirer)
                self.control = ControlListener(
                    loop,
                    inherited or listen_at(settings.control),
                    lambda wanted: Commands(pace.inquirer_for(wanted), operations),
                    _users(settings),
                    owned=inherited is None,
                )
                opened.callback(self.control.close)
            self._opened = opened.pop_all()

    def begin(self) -> None:
        """Answer from now on."""
        if self.control is not None:
            self.control.begin()

    @property
    def files(self) -> list[str]:
        """The paths of Unix sockets that were made: they are for the user that serves."""
        control = self.control
        return [control.file.path] if control and control.file and control.owned else []

    def give_up(self) -> None:
        """In a worker, which was forked from a supervisor: close the copies."""
        if self.control is not None:
            self.control.give_up()

    def close(self) -> None:
        """Answer nothing more. In the loop's thread, or once it is over."""
        self._opened.close()


def _users(settings: Settings) -> Collection[int]:
    """Those that may control the server, besides root: its own, and the one that it becomes."""
    wanted = identity(settings.user, settings.group)
    return {os.geteuid()} if wanted is None else {os.geteuid(), wanted.uid}
