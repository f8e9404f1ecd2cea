"""Where the value of an option is from: the command line, the environment, a file, or a default."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import click
from click.core import ParameterSource

from epollo.cli.config_file import ConfigFile

_FILE = f"{__name__}.file"
_VARIABLES = f"{__name__}.variables"
_DEFAULTS = f"{__name__}.defaults"


def use_file(ctx: click.Context, file: ConfigFile, several: Mapping[str, str]) -> None:
    """Take the defaults of the command from ``file``. An array for a key in ``several`` is joined
    by that text, if there is one."""
    ctx.meta[_FILE] = file
    ctx.default_map = {
        key: _as_on_the_command_line(value, several.get(key)) for key, value in file.values.items()
    }


def variable(param: click.Parameter) -> str:
    """The variable that gives the value of ``param``; if none is set, the one that could."""
    names = [param.envvar] if isinstance(param.envvar, str) else list(param.envvar or ())
    return next((name for name in names if os.environ.get(name)), names[0])


def use_variables(ctx: click.Context, places: Mapping[str, str]) -> None:
    """Remember the file and line of variables that are from a file."""
    ctx.meta[_VARIABLES] = places


def use_defaults(ctx: click.Context, defaults: dict[str, str], reason: str) -> dict[str, str]:
    """Remember ``defaults`` that another option, as ``reason`` says, has changed; returns them."""
    ctx.meta[_DEFAULTS] = {name: (value, reason) for name, value in defaults.items()}
    return defaults


def default_of(ctx: click.Context, param: click.Parameter) -> tuple[str, str]:
    """The default of an option, in words, and why it has that: "default", or another option."""
    changed = ctx.meta.get(_DEFAULTS, {}).get(param.name)
    if changed is None:
        return str(getattr(param, "usual", "")), "default"
    value, reason = changed
    return value, f"default {reason}"


def places_of_variables(ctx: click.Context) -> Mapping[str, str]:
    """The file and line of each variable that is from a file."""
    places: Mapping[str, str] = ctx.meta.get(_VARIABLES, {})
    return places


def _as_on_the_command_line(value: Any, joined_by: str | None) -> Any:
    if joined_by is None:
        return value
    values = value if isinstance(value, list) else [value]
    return joined_by.join(map(str, values)) if joined_by else values


def keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep the value of an option that the function of its command does not take."""
    ctx.meta[f"{__name__}.{param.name}"] = value


def value_of(ctx: click.Context, param: click.Parameter) -> Any:
    """Its value, kept or not."""
    return ctx.params.get(str(param.name), ctx.meta.get(f"{__name__}.{param.name}"))


def origin(ctx: click.Context, param: click.Parameter) -> str:
    """A flag or "argument", the name of a variable, the file and line, or "default"."""
    match ctx.get_parameter_source(param.name or ""):
        case ParameterSource.COMMANDLINE:
            return flag(param) if isinstance(param, click.Option) else "argument"
        case ParameterSource.ENVIRONMENT:
            name = variable(param)
            place = places_of_variables(ctx).get(name)
            return f"{place}: {name}" if place else name
        case ParameterSource.DEFAULT_MAP:
            file: ConfigFile = ctx.meta[_FILE]
            return file.place(param.name or "")
    return "default"


def is_given(ctx: click.Context, param: click.Parameter) -> bool:
    """Was it given in any way?"""
    source = ctx.get_parameter_source(param.name or "")
    return source not in (None, ParameterSource.DEFAULT)


def name_as_given(ctx: click.Context, param: click.Parameter) -> str:
    """What to call it at the start of an error: as its user wrote it, with the file and line."""
    match ctx.get_parameter_source(param.name or ""):
        case ParameterSource.ENVIRONMENT:
            return origin(ctx, param)
        case ParameterSource.DEFAULT_MAP:
            return f"{origin(ctx, param)}: {param.name}"
    return flag(param)


def name_like(ctx: click.Context, param: click.Parameter, first: click.Parameter | None) -> str:
    """What to call it within an error about ``first``: as its user wrote it; if it was not given,
    as it is written where ``first`` was."""
    source = ctx.get_parameter_source(param.name or "")
    if not is_given(ctx, param) and first is not None:
        source = ctx.get_parameter_source(first.name or "")
    match source:
        case ParameterSource.ENVIRONMENT:
            return variable(param)
        case ParameterSource.DEFAULT_MAP:
            return str(param.name)
    return flag(param)


def to_blame(ctx: click.Context, text: str) -> click.Parameter | None:
    """The option from the environment or a file whose value ``text``, an error, quotes. One from
    the command line needs no name: its user has just typed it."""
    quoted = [
        (len(value), param)
        for param in ctx.command.get_params(ctx)
        if ctx.get_parameter_source(param.name or "")
        in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
        for value in _texts(value_of(ctx, param))
        if repr(value) in text or (":" in value and value in text)  # or an address as it is
    ]
    return max(quoted, key=lambda found: found[0])[1] if quoted else None


def flag(param: click.Parameter) -> str:
    """The long flag of an option; the metavar of an argument."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return (param.metavar or str(param.name)).strip("[]")


def _texts(value: object) -> Iterator[str]:
    """The texts in the value of an option; of module:attribute, also the module."""
    if isinstance(value, tuple | list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str) and value:
        yield value
        module = value.partition(":")[0]
        if module != value and module.isidentifier():
            yield module
