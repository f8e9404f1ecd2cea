"""Serving an application until a signal: in this process, or in several under a supervisor."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from epollo.errors import HandlerError, SettingError
from epollo.server.handlers.application import echo, load_application
from epollo.server.handlers.handler import Handler
from epollo.server.server import Server, run_until_signalled
from epollo.server.stopping import Stop
from epollo.setting_values import Addresses, ServerValues
from epollo.settings import Settings, chosen_settings

DEVELOPMENT = {"workers": "1", "worker_timeout": "0", "drain_quiet": "0", "graceful_timeout": "1s"}
"""The defaults of settings in development: a supervisor, a reload that ends the connections of the
old code at once, and handlers that may stop at a breakpoint."""


def development_defaults(given: Mapping[str, Any]) -> dict[str, str]:
    """The `DEVELOPMENT` defaults of settings that are not ``given``, and that contradict none."""
    defaults = {name: value for name, value in DEVELOPMENT.items() if name not in given}
    if not given.keys().isdisjoint(("drain_quiet", "goodbye_over")):  # they are within that
        defaults.pop("graceful_timeout", None)
    return defaults


def serve(
    handler: Handler | str = echo,
    bind: Addresses | None = None,
    *,
    name: str | None = None,
    settings: Settings | None = None,
    **values: Unpack[ServerValues],
) -> None:
    """Serve ``handler`` on ``bind`` (127.0.0.1:8091) until SIGINT or SIGTERM, then drain.

    ``handler`` is an application, or its name as ``"module:attribute"``. With ``workers=N`` it must
    be such a name, since each worker process imports it; see the documentation of workers.

    The ready line, printed once the server listens, shows the handler as ``name``. The keyword
    arguments are the fields of `epollo.Settings`; or give all of them as ``settings``. Raises
    UsageError for invalid arguments, BindError, and WorkerError.
    """
    serve_application(handler, bind, name=name, settings=settings, **values)


def serve_application(
    handler: Handler | str = echo,
    bind: Addresses | None = None,
    *,
    name: str | None = None,
    settings: Settings | None = None,
    factory: bool = False,
    watched: Sequence[str] = (),
    **values: Unpack[ServerValues],
) -> Stop | None:
    """As `serve`, but ``handler`` may also name a ``factory`` of the application. With ``watched``,
    directories, it is imported anew when a .py file in them changes. Returns the stop of the
    server, if it ran in this process."""
    chosen = chosen_settings(settings, bind, values)
    if isinstance(handler, str) and name is None:
        name = handler
    if not chosen.workers and not watched:
        if "_EPOLLO_HANDOVER" in os.environ:
            raise SettingError("workers: a supervisor can only hand over to another; set workers")
        loaded: Handler = (
            load_application(handler, factory=factory) if isinstance(handler, str) else handler
        )
        server = Server(loaded, bind, name=name, settings=settings, **values)
        return run_until_signalled(server)
    if handler is not echo and not isinstance(handler, str):
        raise HandlerError(
            "workers: each worker imports the application: give it as 'module:attribute', not as "
            "an object"
        )
    from epollo.workers.supervisor import Supervisor
    from epollo.workers.task import Task

    path = handler if isinstance(handler, str) else None
    bind_given = bind is not None or chosen.bind != Settings().bind
    Supervisor(Task(path, factory, name, chosen), bind_given=bind_given, watched=watched).run()
    return None
