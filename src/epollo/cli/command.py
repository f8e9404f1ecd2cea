"""Commands that refuse what is mistyped in one line, with what to type instead.

click's own texts are replaced: they start in another style, and do not know what people type.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from epollo.errors import HandlerError, SettingError

_ONE_DASH = re.compile(r"-[A-Za-z][A-Za-z-]+")


class Command(click.Command):
    """A command with options. Raises click.UsageError for a wrong command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # the words so far, to complete the next one
            return super().parse_args(ctx, args)
        words = list(args)
        try:
            self._check_words(ctx, words)
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(self._unknown(ctx, _typed(words, error.option_name))) from None
        except click.BadParameter as error:
            raise click.UsageError(self._bad_value(ctx, error)) from None
        except click.UsageError as error:
            raise click.UsageError(_reworded(ctx, error)) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HandlerError as error:
            raise _with_traceback(ctx, error) from None
        except SettingError as error:
            raise type(error)(self.with_names(ctx, str(error))) from None

    def name_of(self, ctx: click.Context, param: click.Parameter) -> str:
        """What to call ``param`` at the start of an error."""
        return _name(param)

    def with_names(self, ctx: click.Context, text: str) -> str:
        """``text`` with flags for the names of settings."""
        flags = {option.name or "": _name(option) for option in self._options(ctx)}
        return names_in(flags).sub(
            lambda match: flags.get(match[0].replace("-", "_"), match[0]), text
        )

    def _bad_value(self, ctx: click.Context, error: click.BadParameter) -> str:
        if isinstance(error, click.MissingParameter) or error.param is None:
            return _reworded(ctx, error)
        message = error.message
        if isinstance(error.param.type, click.types.BoolParamType):
            message = re.sub("is not a valid boolean.*", "is neither yes nor no", message)
        message = re.sub(r"is not in the range (\d+)<=x<=(\d+)\.", r"is not from \1 to \2", message)
        message = re.sub(r"is not a valid integer\.", "is not a whole number", message)
        return f"{self.name_of(ctx, error.param)}: {message}"

    def _check_words(self, ctx: click.Context, words: list[str]) -> None:
        """Refuse options that click would misunderstand, and values that it would take."""
        flags = {flag for option in self._options(ctx) for flag in option.opts}
        for word in words:
            if _ONE_DASH.fullmatch(word) and f"-{word}" in flags:
                raise click.UsageError(f"{word}: write it with two dashes: -{word}")
        values, _, given = self.make_parser(ctx).parse_args(list(words))
        for option in dict.fromkeys(given):
            value = values.get(option.name or "")
            if "" in (value if isinstance(value, list | tuple) else [value]):
                raise click.UsageError(
                    f"{_name(option)}: is empty; {_fill(option)}, or leave it out"
                )

    def _unknown(self, ctx: click.Context, typed: str) -> str:
        # Imported only here: most command lines have no such error.
        from epollo.foreign_names import advice
        from epollo.suggestions import did_you_mean

        options = {flag: option for option in self._options(ctx) for flag in option.opts}
        flags = [flag for flag in options if flag.startswith("--")]
        table = ctx.command_path.split()[1] if " " in ctx.command_path else ""
        hint = advice(table, typed.lstrip("-"), _flag)
        if "_" in typed or not hint:
            hint = did_you_mean(typed, flags) or hint
        return f"no option {typed}: {hint or f'{ctx.command_path} --help lists all of them'}"

    def _options(self, ctx: click.Context) -> Iterator[click.Option]:
        return (param for param in self.get_params(ctx) if isinstance(param, click.Option))


def names_in(names: Iterable[str]) -> re.Pattern[str]:
    """What finds ``names`` of settings in a text, but not within quotes, which it finds as a whole.
    A name that is also a word is one at the start of the text, and in "give tls too"."""
    long = "|".join(name for name in names if "_" in name) or "(?!)"
    words = "|".join(name for name in names if "_" not in name)
    return re.compile(
        rf"^[\w-]+(?=:)|\b(?:{long})\b|(?<=give )(?:{words})(?= too)|--[a-z-]+|'[^']*'|\"[^\"]*\""
    )


class Group(click.Group):
    """A command with commands of its own. Raises click.UsageError for one that it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(self._unknown(ctx, error.option_name)) from None
        except click.UsageError:
            raise click.UsageError(self._unknown(ctx, args[0])) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(self._unknown(ctx, error.option_name)) from None

    def _unknown(self, ctx: click.Context, typed: str) -> str:
        known = self.list_commands(ctx)
        kind = "option" if typed.startswith("-") else "command"
        if kind == "option" and ctx.parent is not None and self.params:
            known = [flag for each in self.params for flag in each.opts]
        hint = _meant(ctx, typed, known) or f"there are {', '.join(known)}"
        where = f" of {ctx.command_path}" if ctx.parent is not None else ""
        return f"no {kind} {typed}{where}: {hint}"


def traceback_option(command: Any) -> Any:
    """The option ``--traceback`` of a command that loads the user's code."""
    return click.option(
        "--traceback",
        is_flag=True,
        expose_value=False,
        callback=lambda ctx, _, value: ctx.meta.update({__name__: value}),
        help="show the traceback if your module cannot be imported",
    )(command)


def _with_traceback(ctx: click.Context, error: HandlerError) -> HandlerError:
    """Print what the user's code raised, if that is wanted; otherwise name the option."""
    cause = error.__cause__
    if cause is None:
        return error
    if not ctx.meta.get(__name__):
        return HandlerError(f"{error}; --traceback shows all of it")
    import traceback  # here, so that other commands start without it

    from epollo.importing import from_the_user_on

    frames = from_the_user_on(cause.__traceback__)
    traceback.print_exception(cause.with_traceback(frames), file=sys.stderr)
    return error


def _meant(ctx: click.Context, typed: str, known: list[str]) -> str:
    from epollo.foreign_names import advice, command_for, command_of_ctl_for
    from epollo.suggestions import did_you_mean

    if ctx.parent is not None:  # epollo ctl or epollo lab
        meant = command_of_ctl_for(typed) if ctx.info_name == "ctl" else ""
        return f"write epollo ctl {meant}" if meant else did_you_mean(typed, known)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", typed):
        return f"to serve it, write epollo serve {typed}"
    if re.search(r":\d+$|^unix:", typed):
        return f"to test a server there, write epollo bench {typed}"
    command = command_for(typed)
    if command:
        return f"write epollo {command}"
    if typed.startswith("-"):
        for name in ("serve", "bench"):
            text = advice(name, typed.lstrip("-"), _flag)
            if text:
                return f"options follow the command; for epollo {name}: {text}"
        return "options follow the command, as in epollo serve --bind ADDRESS"
    return did_you_mean(typed, known)


def _typed(words: list[str], found: str) -> str:
    """The word in which click found the unknown option: in -qps it is -p."""
    short = found[1:] if len(found) == 2 else ""
    for word in words:
        if short and _ONE_DASH.fullmatch(word) and short in word:
            return word
    return found


def _reworded(ctx: click.Context, error: click.UsageError) -> str:
    """One of click's errors, in the form of the others: first the thing, then the fix."""
    if isinstance(error, click.MissingParameter):
        return f"{_name(error.param)}: is missing; write {ctx.command_path} {_name(error.param)}"
    if isinstance(error, click.BadOptionUsage):
        for option in ctx.command.get_params(ctx):
            if error.option_name in option.opts:
                return _misused(option)
    extra = re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", error.message, re.DOTALL)
    return error.message if extra is None else _superfluous(ctx, extra[1])


def _misused(option: click.Parameter) -> str:
    if isinstance(option, click.Option) and option.is_flag:
        return f"{_name(option)}: takes no value; write only {_name(option)}"
    return f"{_name(option)}: has no value; {_fill(option)}"


def _superfluous(ctx: click.Context, extra: str) -> str:
    takes = [param for param in ctx.command.params if isinstance(param, click.Argument)]
    if not takes:
        return f"{extra}: {ctx.command_path} takes options only; leave it out"
    name = takes[0].make_metavar(ctx).strip("[]")
    fix = "write an address as --bind ADDRESS" if name == "APP" else "leave it out"
    return f"{extra}: {ctx.command_path} takes only one {name}; {fix}"


def _name(param: click.Parameter | None) -> str:
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return "" if param is None else (param.metavar or str(param.name)).strip("[]")


def _fill(param: click.Parameter | None) -> str:
    """What to write for a parameter that has no value."""
    if isinstance(param, click.Option):
        return f"write {_name(param)} {param.metavar or 'VALUE'}"
    return f"write {_name(param)}"


def _flag(setting: str, value: str) -> str:
    return f"--{setting.replace('_', '-')} {value}".rstrip()
