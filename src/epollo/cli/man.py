"""``epollo man``: prints the manual page, made from the help of all commands.

In the language of man(7). click-man writes a page for each command, without the sections on the
environment, the files, the exit status and the examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import click

import epollo
from epollo.cli.command import Command
from epollo.cli.configured import Configured
from epollo.cli.sections import in_sections

NAME = "epollo \\- serve a Python function as a message server, and test servers under load"

ENVIRONMENT = """\
An option of a command that takes settings may be given as a variable of the environment, named as
the option is, in capitals. The command line comes first, then the environment, then the file of
--config, then the default. Options that may be repeated take several values, divided by commas or
spaces, or an array in JSON: ["my cert.pem", "other.pem"]. An empty variable counts as not set. A
variable with the prefix and an unknown name is an error."""

FILES = (
    (
        "FILE of --config",
        'Settings in TOML: a line NAME = VALUE for each, such as idle_timeout = "30s", or [VALUE, '
        "VALUE] for an option that may be repeated. The names are those of the options, with _ "
        "instead of -.",
    ),
    (
        "FILE of --env-file",
        "Lines NAME=VALUE, for variables of the environment that are not set.",
    ),
)

EXIT_STATUS = (
    ("0", "The command has done what it was asked to do."),
    ("1", "The run failed, or a limit of --fail-if was broken."),
    ("2", "The command line, the environment or a file was wrong: one line on stderr says what."),
    ("130", "Interrupted by Ctrl-C."),
)

EXAMPLES = (
    ("Serve the function handle of hello.py", "epollo serve hello:handle --bind 0.0.0.0:8091"),
    ("Show each setting and its source", "epollo serve --config epollo.toml --show-config"),
    ("Load-test a server", "epollo bench 127.0.0.1:8091 --duration 10s"),
    (
        "Fail if 1 % of the replies take longer than 5 ms",
        "epollo bench 127.0.0.1:8091 --rate 10k --fail-if 'p99>5ms'",
    ),
    ("Read this page", "epollo man | man -l -"),
)


@click.command(cls=Command, epilog="To read it: epollo man | man -l -")
@click.pass_context
def man(ctx: click.Context) -> None:
    """Print the manual page, for man -l or for a file epollo.1."""
    click.echo("\n".join(_page(ctx.find_root())))


def _page(root: click.Context) -> Iterator[str]:
    commands = list(_commands(root))
    yield f'.TH EPOLLO 1 "" "epollo {epollo.__version__}" "User Commands"'
    yield from (".SH NAME", NAME)
    yield ".SH SYNOPSIS"
    for ctx in commands:
        yield from (f".B {_text(ctx.command_path)}", _text(_usage(ctx)), ".br")
    yield ".SH DESCRIPTION"
    yield from _paragraphs(root.command.help or "")
    for ctx in commands:
        yield from _item(ctx.command_path, ctx.command.get_short_help_str(limit=300))
    yield ".SH OPTIONS"
    for ctx in commands:
        yield from _options(ctx)
    yield ".SH ENVIRONMENT"
    yield from _paragraphs(ENVIRONMENT)
    yield from _variables(commands)
    yield ".SH FILES"
    for name, about in FILES:
        yield from _item(name, about)
    yield ".SH EXIT STATUS"
    for name, about in EXIT_STATUS:
        yield from _item(name, about)
    yield ".SH EXAMPLES"
    for about, command in EXAMPLES:
        yield from (".PP", f"{_text(about)}:", ".PP", ".nf", ".RS", _text(command), ".RE", ".fi")


def _commands(ctx: click.Context) -> Iterator[click.Context]:
    """The context of each command that is no group, in the order of the help."""
    group = ctx.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(ctx):
        _, command, _ = group.resolve_command(ctx, [name])
        assert command is not None
        inner = click.Context(command, info_name=name, parent=ctx)
        if isinstance(command, click.Group):
            yield from _commands(inner)
        else:
            yield inner


def _usage(ctx: click.Context) -> str:
    return " ".join(ctx.command.collect_usage_pieces(ctx))


def _options(ctx: click.Context) -> Iterator[str]:
    yield f".SS {_text(ctx.command_path)}"
    yield from _paragraphs(ctx.command.help or "")
    for section, options in in_sections(ctx, ctx.command.get_params(ctx)):
        if isinstance(ctx.command, Configured):
            yield from (".PP", f"\\fI{_text(section)}\\fR")
        for _, (names, about) in options:
            yield from _item(names, about)
    yield from _paragraphs(ctx.command.epilog or "")


def _variables(commands: Iterable[click.Context]) -> Iterator[str]:
    for ctx in commands:
        if isinstance(ctx.command, Configured):
            for param in ctx.command.settings:
                name = (
                    max(param.opts, key=len) if isinstance(param, click.Option) else param.metavar
                )
                yield from _item(", ".join(param.envvar or ()), f"{name} of {ctx.command_path}")
    yield from _item("EPOLLO_NATIVE", "While it is built: auto, require or off; the native engine")


def _item(name: str, about: str) -> Iterator[str]:
    yield from (".TP", f"\\fB{_text(name)}\\fR", _text(about))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph:
            yield from (".PP", _text(" ".join(paragraph.split())))


def _text(text: str) -> str:
    """``text`` with what troff would take for its own: backslashes, hyphens, and a first dot."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped
