"""``epollo serve``: its command line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any

import click

from epollo.cli.command import Command, traceback_option
from epollo.server.handlers.application import echo
from epollo.server.stopping import exit_within
from epollo.serving import serve_application
from epollo.settings import Settings, settings_from, takes_several

_EXIT_SECONDS = 0.4  # for the interpreter to exit after the deadline of a stop


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each field of Settings; the field has its parser and its help."""
    for setting in reversed(fields(Settings)):
        if setting.metadata["metavar"]:  # without one, only Python can set it: an object
            command = _option(setting)(command)
    return command


def _option(setting: Field[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    names = [f"--{setting.name.replace('_', '-')}", setting.name]
    if setting.metadata["flag"]:
        names.insert(0, setting.metadata["flag"])
    return click.option(
        *names,
        multiple=takes_several(setting),
        metavar=setting.metadata["metavar"],
        envvar="WEB_CONCURRENCY" if setting.name == "workers" else None,
        help=setting.metadata["about"],
    )


@click.command(
    cls=Command, epilog="Times take ms, s, m or h; sizes KiB, MiB or GiB; counts k or m."
)
@click.argument("app", required=False, metavar="[APP]")
@_options
@traceback_option
def serve(app: str | None, **given: Any) -> None:
    """Serve APP, a handler written as module:attribute; by default the built-in echo."""
    settings = {name: value for name, value in given.items() if value not in (None, ())}
    checked = settings_from(**settings)
    process = "[%(process)d] " if checked.workers else ""
    form = f"%(asctime)s {process}%(levelname)s %(message)s"
    logging.basicConfig(level=checked.log_level.upper(), format=form)
    stop = serve_application(echo if app is None else app, **settings)
    if stop is not None:
        exit_within(_EXIT_SECONDS, stop)
