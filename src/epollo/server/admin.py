"""The addresses at which a running server is asked about itself, and steered."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from epollo.address import Bound
from epollo.control.commands import Commands
from epollo.control.inquirer import Inquirer
from epollo.control.listener import ControlListener, listen_at
from epollo.control.operations import Operations
from epollo.control.pace import Pace
from epollo.control.side_loop import SideLoop
from epollo.engine import EventLoop
from epollo.errors import AddressError, BindError, SettingError
from epollo.logs.logger import logger
from epollo.process_identity import identity
from epollo.settings import Settings

if TYPE_CHECKING:
    from epollo.metrics.listener import MetricsListener
    from epollo.metrics.watched import WatchedServer

_PACKAGES = ("prometheus_client", "h11")  # of the extra ``metrics``

_log = logger("epollo.server")

Existing = Callable[[Any], Bound | None]
"""The socket that this process has already for a socket address."""


class Admin:
    """What ``metrics`` and ``control`` of the settings ask for, with the loop of a server or of a
    supervisor. It listens at once, and answers from `begin` on. Raises BindError, and
    SettingError if a package is missing.

    ``existing`` finds the socket of the metrics that another supervisor has handed over, and
    ``inherited`` is its control socket, if the settings ask for it: see
    `epollo.workers.inheritance`.
    """

    def __init__(
        self,
        loop: EventLoop,
        settings: Settings,
        inquirer: Inquirer,
        server: WatchedServer,
        operations: Operations,
        existing: Existing = lambda _: None,
        inherited: Bound | None = None,
    ) -> None:
        self._outer = loop
        self._side: SideLoop | None = None
        self._metrics: MetricsListener | None = None
        self.control: ControlListener | None = None
        with ExitStack() as opened:
            if settings.metrics:
                self._side = SideLoop(loop)
                opened.callback(self._side.close)
                self._metrics = _metrics_listener(
                    self._side.loop, settings.metrics, inquirer, server, existing
                )
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
        self.metrics_url: str = "" if self._metrics is None else self._metrics.url
        self.leave_file: bool = False
        """Are the socket of ``metrics`` and its file another process's? Then nothing is answered
        yet, and the file stays at the end."""

    @property
    def metrics_socket(self) -> Bound | None:
        """What listens for ``metrics``; None if nothing does."""
        return None if self._metrics is None else self._metrics.bound

    def begin(self) -> None:
        """Answer. In the loop's thread, or before it runs; this process is the one to serve."""
        self.leave_file = False
        if self._side is not None and self._metrics is not None:
            self._side.begin()
            self._metrics.begin()
            _log.info("metrics on %s", self.metrics_url)
        if self.control is not None:
            self.control.begin()

    def hand_over(self, *, control: bool) -> None:
        """Another process answers from now on: it has the socket of ``metrics``, and perhaps the
        one of ``control``."""
        if self._metrics is not None:
            self._metrics.end(leave_file=True)
        if self.control is not None:
            self.control.owned = not control
            self.control.close()

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
        if self._metrics is not None and not self._outer.inherited:
            self._metrics.close(leave_file=self.leave_file)
        self._opened.close()


def _metrics_listener(
    loop: EventLoop, bind: str, inquirer: Inquirer, server: WatchedServer, existing: Existing
) -> MetricsListener:
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise SettingError(f"metrics: needs {package}: pip install 'epollo[metrics]'")
    # Here, since these packages are optional.
    from epollo.metrics.listener import MetricsListener, listening_on
    from epollo.metrics.server_pages import ServerPages

    try:
        bound = listening_on(bind, existing)
    except AddressError as error:
        raise SettingError(f"metrics: {error}") from error
    except BindError as error:
        raise BindError(f"metrics: {error}") from error
    return MetricsListener(loop, bound, ServerPages(loop, inquirer, server).pages)


def _users(settings: Settings) -> Collection[int]:
    """Those that may control the server, besides root: its own, and the one that it becomes."""
    wanted = identity(settings.user, settings.group)
    return {os.geteuid()} if wanted is None else {os.geteuid(), wanted.uid}
