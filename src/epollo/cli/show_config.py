"""``--show-config``: each value of a command and its source, as a file of settings.

A default is shown as a comment: in a file it would be given, and contradict other settings. A
password is not shown.
"""

from __future__ import annotations

import json

import click

from epollo.cli.origins import default_of, is_given, origin, value_of

_ESCAPES = {0x7F: "\\u007f"}  # json does not escape it, TOML wants it escaped


def show_config(ctx: click.Context, params: list[click.Parameter], not_in_file: set[str]) -> str:
    """The lines for ``params``; those named in ``not_in_file`` are comments in any case."""
    rows = [_row(ctx, param, comment=str(param.name) in not_in_file) for param in params]
    width = max(len(shown) for shown, _ in rows)
    return "\n".join(f"{shown:<{width}}  # {source}" for shown, source in rows)


def _row(ctx: click.Context, param: click.Parameter, *, comment: bool) -> tuple[str, str]:
    name = str(param.name)
    if is_given(ctx, param):
        value, source = value_of(ctx, param), origin(ctx, param)
        hide = getattr(param, "hide", None)
        if hide is not None and hide(str(value)) != value:
            value, source = hide(str(value)), f"{source}; write the password in place of ***"
        shown = f"{name} = {toml_value(value)}"
        return (f"# {shown}" if comment else shown), source
    usual, default = default_of(ctx, param)
    if getattr(param, "is_flag", False):
        return f"# {name} = false", default
    if not usual:
        return f"# {name}", "not set"
    if " " in usual:  # words about a default that depends on something
        return f"# {name}", f"default: {usual}"
    return f"# {name} = {usual if usual.isdecimal() else toml_value(usual)}", default


def toml_value(value: object) -> str:
    """A text, number, boolean or several of them, as TOML has it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).translate(_ESCAPES)
