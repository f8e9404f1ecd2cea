"""Where the control socket is: the options of `epollo ctl` and `epollo top`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from epollo.causes import cause_of
from epollo.cli.completing import suggest
from epollo.errors import SettingError

Function = TypeVar("Function", bound=Callable[..., Any])

VARIABLE = "EPOLLO_CONTROL"
_FILE_VARIABLE = "EPOLLO_CONFIG"
_PATH, _FILE = f"{__name__}.path", f"{__name__}.file"


def control_options(function: Function) -> Function:
    """The options ``--control`` and ``--config``, of a command or of a group of commands."""
    for name, metavar, key, about in (
        ("--config", "FILE", _FILE, "take the path from this TOML file of the server's settings"),
        ("--control", "PATH", _PATH, f"the control socket of the server  [env: {VARIABLE}]"),
    ):
        function = click.option(
            name,
            metavar=metavar,
            expose_value=False,
            callback=_keep(key),
            shell_complete=suggest("FILE"),
            help=about,
        )(function)
    return function


def control_path(ctx: click.Context) -> str:
    """The path of the control socket: from the command line, the environment, or the file. Raises
    SettingError."""
    path = ctx.meta.get(_PATH)
    file = ctx.meta.get(_FILE)
    if path is None and file is None:
        path = os.environ.get(VARIABLE)
        file = os.environ.get(_FILE_VARIABLE)
    found = path or (_path_in(file) if file else "")
    if not found:
        raise SettingError(
            f"no control socket is named; write --control PATH, or set {VARIABLE}, as for "
            "epollo serve"
        )
    return str(found)


def _keep(key: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta[key] = value

    return callback


def _path_in(file: str) -> str:
    # Imported only here: most command lines have no file.
    from epollo.cli.config_file import ConfigFile

    try:
        path = ConfigFile(file).values.get("control")
    except OSError as error:
        raise SettingError(f"--config: cannot read {file!r}: {cause_of(error)}") from None
    if not isinstance(path, str) or not path:
        raise SettingError(f'{file}: has no control; add control = "PATH", or write --control')
    return path
