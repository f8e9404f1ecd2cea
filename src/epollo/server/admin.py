"""The addresses at which a running server is asked about itself, and steered."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from epollo.address import Bound
from epollo.control.inquirer import Inquirer
from epollo.control.side_loop import SideLoop
from epollo.engine import EventLoop
from epollo.errors import BindError, SettingError
from epollo.logs.logger import logger
from epollo.settings import Settings

if TYPE_CHECKING:
    from epollo.metrics.listener import MetricsListener
    from epollo.metrics.watched import WatchedServer

_PACKAGES = ("prometheus_client", "h11")  # of the extra ``metrics``

_log = logger("epollo.server")

Existing = Callable[[Any], Bound | None]
"""The socket that this process has already for a socket address."""


class Admin:
    """What ``metrics`` and ``control`` of the settings ask for, next to the loop of a server or of
    a supervisor. It listens at once, and answers from `begin` on. Raises BindError, and
    SettingError if a package is missing."""

    def __init__(
        self,
        loop: EventLoop,
        settings: Settings,
        inquirer: Inquirer,
        server: WatchedServer,
        existing: Existing = lambda _: None,
    ) -> None:
        self._outer = loop
        self._side: SideLoop | None = None
        self._metrics: MetricsListener | None = None
        with ExitStack() as opened:
            if settings.metrics:
                self._side = SideLoop(loop)
                opened.callback(self._side.close)
                self._metrics = _metrics_listener(
                    self._side.loop, settings.metrics, inquirer, server, existing
                )
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
        if self._side is not None and self._metrics is not None:
            self._side.begin()
            self._metrics.begin()
            _log.info("metrics on %s", self.metrics_url)

    def hand_over(self) -> None:
        """Another process has the socket of ``metrics``, and answers from now on."""
        if self._metrics is not None:
            self._metrics.end(leave_file=True)

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
    except BindError as error:
        raise BindError(f"metrics: {error}") from error
    return MetricsListener(loop, bound, ServerPages(loop, inquirer, server).pages)
