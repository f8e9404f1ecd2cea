"""``epollo serve``: its command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any

import click

from epollo import serving
from epollo.cli.command import traceback_option
from epollo.cli.completing import directories, modules, suggest
from epollo.cli.configured import Configured, configured, env_file_option, is_shown
from epollo.cli.log_config import configure_log
from epollo.cli.origins import use_defaults
from epollo.cli.sections import Option
from epollo.errors import SettingError
from epollo.server.handlers.application import echo
from epollo.server.stopping import exit_within
from epollo.settings import Settings, given_by_commands, settings_from, takes_several

_EXIT_SECONDS = 0.4  # for the interpreter to exit after the deadline of a stop

APPLICATION = "Application"


class _Value(click.types.UnprocessedParamType):
    """A value of a setting, in the type that a file has for it: its own parser takes that."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each field of Settings; the field has its parser and its help."""
    section, options = "", []
    for setting in given_by_commands():
        section = setting.metadata["section"] or section
        options.append(_option(setting, section))
    for option in reversed(options):
        command = option(command)
    return command


def _option(
    setting: Field[Any], section: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    names = [f"--{setting.name.replace('_', '-')}", setting.name]
    if setting.metadata["flag"]:
        names.insert(0, setting.metadata["flag"])
    return click.option(
        *names,
        cls=Option,
        section=section,
        type=_Value(),
        multiple=takes_several(setting),
        metavar=setting.metadata["metavar"],
        envvar="WEB_CONCURRENCY" if setting.name == "workers" else None,
        help=setting.metadata["about"],
        usual=setting.default or "",
        hide=setting.metadata["hide"],
        shell_complete=suggest(setting.metadata["metavar"], setting.metadata["choices"]),
    )


@click.command(
    cls=Configured,
    elsewhere={"tls": "only Python can set it; write tls_cert and tls_key"},
    epilog="Times take ms, s, m or h; sizes KiB, MiB or GiB; counts k or m. Each option is also "
    "EPOLLO_ and its name in the environment, as EPOLLO_MAX_FRAME, and a key in the file.",
)
@click.argument("app", required=False, metavar="[APP]", shell_complete=modules)
@click.option(
    "--app-dir",
    cls=Option,
    section=APPLICATION,
    metavar="DIR",
    help="look for APP in this directory",
    usual="the current one",
    shell_complete=directories,
)
@click.option(
    "--factory",
    cls=Option,
    section=APPLICATION,
    is_flag=True,
    help="APP is a function without parameters that returns the handler",
)
@click.option(
    "--reload",
    cls=Option,
    section=APPLICATION,
    is_flag=True,
    help="for development: import APP anew when a .py file changes; needs watchfiles",
)
@click.option(
    "--reload-dir",
    cls=Option,
    section=APPLICATION,
    metavar="DIR",
    multiple=True,
    help="watch the .py files in this directory and below; may be repeated",
    usual="the current one, and --app-dir",
    shell_complete=directories,
)
@_options
@click.option(
    "--log-config",
    cls=Option,
    section="Log",
    metavar="FILE",
    help="configure logging from a .json, .yaml or .ini file",
    shell_complete=suggest("FILE"),
)
@env_file_option
@configured("epollo.toml")
@traceback_option
@click.pass_context
def serve(
    ctx: click.Context,
    /,
    app: str | None,
    app_dir: str | None,
    factory: bool,
    reload: bool,
    reload_dir: tuple[str, ...],
    log_config: str | None,
    **given: Any,
) -> None:
    """Serve APP, a handler written as module:attribute; by default the built-in echo."""
    values = {name: value for name, value in given.items() if value not in (None, ())}
    if reload:
        values |= use_defaults(ctx, serving.development_defaults(values), "with reload")
    settings = settings_from(**values)
    watched = _watched(app, app_dir, reload_dir, settings) if reload else ()
    if reload_dir and not reload:
        raise SettingError("reload_dir: does nothing by itself; give reload too, or leave it out")
    if is_shown(ctx):
        return
    configure_log(
        settings.log_level,
        log_config,
        level_given="log_level" in values,
        form=settings.log_format,
        file=settings.log_file,
        with_process=bool(settings.workers),
    )
    if app_dir is not None:
        _import_from(app_dir)
    serve_application(app, factory, values, watched)


def serve_application(
    app: str | None, factory: bool, values: dict[str, Any], watched: Sequence[str] = ()
) -> None:
    """Serve ``app``, or the echo, with the settings ``values`` until a signal. It is imported anew
    when a .py file in the directories ``watched`` changes."""
    stop = serving.serve_application(
        echo if app is None else app, factory=factory, watched=watched, **values
    )
    if stop is not None:
        exit_within(_EXIT_SECONDS, stop)


def _watched(
    app: str | None, app_dir: str | None, reload_dir: Sequence[str], settings: Settings
) -> Sequence[str]:
    """The directories to watch."""
    if app is None:
        raise SettingError("reload: the built-in echo does not change; name an application: APP")
    if not settings.workers:
        raise SettingError("workers: a reload needs one at least; leave it out")
    for directory in reload_dir:
        if not Path(directory).is_dir():
            raise SettingError(f"reload_dir: {directory!r} is not a directory")
    return reload_dir or [".", *([app_dir] if app_dir else [])]


def _import_from(directory: str) -> None:
    if not Path(directory).is_dir():
        raise SettingError(f"app_dir: {directory!r} is not a directory")
    sys.path.insert(0, str(Path(directory).resolve()))
