"""Commands whose options may be given in the environment and in a file too.

Precedence: the command line, the environment, the file, the default. click finds the values; this
finds what is misspelt, and names in each error the source of the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, TypeVar

import click

from epollo.causes import cause_of
from epollo.cli.command import names_in
from epollo.cli.completing import suggest
from epollo.cli.environment import PREFIX, check_names, load_file, split_values
from epollo.cli.origins import (
    flag,
    is_given,
    keep,
    name_as_given,
    name_like,
    places_of_variables,
    to_blame,
    use_file,
    use_variables,
)
from epollo.cli.sections import Option, Sectioned
from epollo.cli.show_config import show_config
from epollo.errors import BindError, EngineMissing, HandlerError, SettingError, UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

SECTION = "Configuration"

_SHOW = f"{__name__}.show"
_NOT_SETTINGS = {"show_config", "traceback", "help"}  # only on the command line
_NOT_IN_A_FILE = {"config", "env_file"}  # read before it is


class Configured(Sectioned):
    """A command whose options are settings.

    Each option and argument has a variable, ``prefix`` and its name in capitals, before any
    ``envvar`` that it has already, such as WEB_CONCURRENCY of other servers; and is a key of
    the file of ``--config``. ``elsewhere`` are settings that none of these can give, and what to
    write instead. The function of the command calls `is_shown` once the values are checked.
    """

    def __init__(
        self,
        *args: Any,
        prefix: str = PREFIX,
        elsewhere: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.prefix = prefix
        self.elsewhere: Mapping[str, str] = elsewhere or {}
        for param in self.settings:
            others = [param.envvar] if isinstance(param.envvar, str) else param.envvar or ()
            param.envvar = [prefix + str(param.name).upper(), *others]
            if getattr(param, "multiple", False):
                param.type = copy(param.type)
                setattr(param.type, "split_envvar_value", split_values)  # noqa: B010

    @property
    def settings(self) -> list[click.Parameter]:
        """All that may be given in the environment."""
        return [param for param in self.params if param.name not in _NOT_SETTINGS]

    @property
    def keys(self) -> list[str]:
        """The names of all that may be given in a file."""
        return [str(param.name) for param in self.settings if param.name not in _NOT_IN_A_FILE]

    @property
    def several(self) -> dict[str, str]:
        """The keys that may have several values, and what joins them; "" if they stay apart."""
        kept_apart = {str(param.name): "" for param in self.params if getattr(param, "multiple", 0)}
        return kept_apart | {
            str(param.name): "," for param in self.params if str(param.metavar).endswith(",...")
        }

    def fix(self, key: str) -> str:
        """What to write instead of ``key``, which a file cannot have."""
        # Imported only here: most files have no such error.
        from epollo.foreign_names import advice
        from epollo.suggestions import did_you_mean

        if key in self.elsewhere:
            return self.elsewhere[key]
        if key in _NOT_SETTINGS | _NOT_IN_A_FILE:
            return f"write it on the command line, as --{key.replace('_', '-')}"
        known = advice(str(self.name), key, lambda name, value: f"{name} = {value}".rstrip(" ="))
        near = did_you_mean(key, self.keys)
        return known or near or f"epollo {self.name} --show-config lists all of them"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            names = [str(param.name) for param in self.settings]
            others = [f"{PREFIX}BENCH_"] if self.prefix == PREFIX else []
            try:
                check_names(self.prefix, names, str(self.name), others, places_of_variables(ctx))
            except SettingError as error:
                raise click.UsageError(str(error)) from None
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UsageError, BindError, EngineMissing) as error:
            text = str(error)
            if not isinstance(error, SettingError | HandlerError):  # that has its names already
                text = self.with_names(ctx, text)
            raise type(error)(self._with_source(ctx, text)) from error.__cause__

    def name_of(self, ctx: click.Context, param: click.Parameter) -> str:
        return name_as_given(ctx, param)

    def with_names(self, ctx: click.Context, text: str) -> str:
        """``text`` with names and flags of settings as their users wrote them; the first one with
        its file and line."""
        params = {str(param.name): param for param in self.params}
        params |= {flag(param): param for param in self.params}
        first: list[click.Parameter] = []

        def name(match: re.Match[str]) -> str:
            param = params.get(match[0]) or params.get(match[0].replace("-", "_"))
            if param is None:
                return match[0]
            if match.start() == 0:
                first.append(param)
                return name_as_given(ctx, param)
            return name_like(ctx, param, first[0] if first else None)

        return names_in([str(param.name) for param in self.params]).sub(name, text)

    def _with_source(self, ctx: click.Context, text: str) -> str:
        """``text`` with the name of the setting that it is about, if it is not there already."""
        names = [name_as_given(ctx, param) for param in self.params if is_given(ctx, param)]
        param = None if text.startswith(tuple(names)) else to_blame(ctx, text)
        return text if param is None else f"{name_as_given(ctx, param)}: {text}"


def configured(usual: str) -> Callable[[Function], Function]:
    """The options ``--config`` and ``--show-config`` of a Configured command; ``usual`` is a name
    for its file."""

    def add(function: Function) -> Function:
        for option in (
            click.option(
                "--show-config",
                cls=Option,
                section=SECTION,
                is_flag=True,
                expose_value=False,
                callback=lambda ctx, _, value: ctx.meta.update({_SHOW: value}),
                help="print each value and its source, and exit",
            ),
            click.option(
                "--config",
                cls=Option,
                section=SECTION,
                metavar="FILE",
                is_eager=True,
                expose_value=False,
                callback=_read,
                shell_complete=suggest("FILE"),
                help=f"read settings from a TOML file, such as {usual}",
            ),
        ):
            function = option(function)
        return function

    return add


def env_file_option(function: Function) -> Function:
    """The option ``--env-file``."""
    return click.option(
        "--env-file",
        cls=Option,
        section=SECTION,
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_load,
        shell_complete=suggest("FILE"),
        help="set the environment variables in this file, except those that are set",
    )(function)


def is_shown(ctx: click.Context) -> bool:
    """Print the values, if ``--show-config`` was given."""
    command = ctx.command
    assert isinstance(command, Configured)
    shown = bool(ctx.meta.get(_SHOW))
    if shown:
        click.echo(show_config(ctx, command.settings, _NOT_IN_A_FILE))
    return shown


def _read(ctx: click.Context, param: click.Parameter, path: str | None) -> None:
    if path is None or ctx.resilient_parsing:
        return
    keep(ctx, param, path)
    command = ctx.command
    assert isinstance(command, Configured)
    # Imported only here: most command lines have no file.
    from epollo.cli.config_file import ConfigFile

    try:
        file = ConfigFile(path)
        for key in file.values:
            if key not in command.keys:
                raise SettingError(f"{file.place(key)}: no setting {key!r}: {command.fix(key)}")
        file.check_values(command.several)
    except OSError as error:
        text = f"cannot read {path!r}: {cause_of(error)}"
        raise click.BadParameter(text, ctx, param) from None
    except SettingError as error:
        raise click.UsageError(str(error)) from None
    use_file(ctx, file, command.several)


def _load(ctx: click.Context, param: click.Parameter, path: str | None) -> None:
    if path is None or ctx.resilient_parsing:
        return
    keep(ctx, param, path)
    try:
        use_variables(ctx, load_file(path))
    except SettingError as error:
        raise click.BadParameter(str(error), ctx, param) from None
