"""The commands: ``epollo serve``, ``bench``, ``report``, ``lab``, ``ctl``, ``top``, ``completion``
and ``man``.

Exit status: 0 done, 1 the run failed, 2 the command line was wrong. An error is one line on
stderr that names the thing and the fix.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

import epollo
from epollo.cli.command import Group
from epollo.cli.interrupts import exit_on_interrupt
from epollo.cli.streams import accept_any_text
from epollo.errors import EpolloError


def main() -> NoReturn:
    """Run the command that sys.argv names; exits."""
    accept_any_text()
    if "_EPOLLO_COMPLETE" in os.environ:
        import_module("epollo.cli.completion")  # its bash knows values with a colon
    try:
        status = cli.main(prog_name="epollo", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except EpolloError as error:
        _fail(str(error), error.exit_status)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has exited: head, less
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail("cannot write to stdout: no space left on device", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(text: str, status: int) -> NoReturn:
    line = " ".join(text.split())
    print(f"epollo: error: {line}", file=sys.stderr)
    if "_EPOLLO_HANDOVER" in os.environ:  # a supervisor waits for this process
        import_module("epollo.workers.inheritance").refuse(line)
    sys.exit(status)


class LazyGroup(Group):
    """Commands whose modules are imported only when one is called."""

    def add_lazy(self, name: str, module: str, about: str) -> None:
        """Add the command ``name`` of ``module``; ``about`` is its line in the group's help."""
        self.add_command(LazyCommand(name, module, about))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest


class LazyCommand(click.Command):
    """Stands for a command until it is called."""

    def __init__(self, name: str, module: str, about: str) -> None:
        super().__init__(name, short_help=about)
        self._module = module

    def load(self) -> click.Command:
        """The command itself."""
        with exit_on_interrupt():
            module = import_module(self._module)
        command: click.Command = getattr(module, str(self.name))
        return command


def _show_version(context: click.Context, parameter: click.Parameter, wanted: Any) -> None:
    if not wanted or context.resilient_parsing:
        return
    from epollo.engine import available

    click.echo(f"epollo {epollo.__version__} (engines: {', '.join(available())})")
    context.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Serve a Python function as a message server on an epoll loop, and test servers under load."""


cli.add_lazy(
    "serve", "epollo.cli.serve", "Serve a Python function, or the built-in echo, on an address."
)
cli.add_lazy(
    "bench", "epollo.bench.cli.bench", "Load-test a framed server; verify and time every reply."
)
cli.add_lazy(
    "report", "epollo.bench.cli.report", "Show results of epollo bench again, or compare them."
)
cli.add_lazy(
    "lab", "epollo.lab.commands", "Experiments on this machine: pollers, accept queue, peers."
)
cli.add_lazy("ctl", "epollo.cli.ctl", "Ask a running server about itself, and steer it.")
cli.add_lazy("top", "epollo.cli.top", "Watch a running server, live in the terminal.")
cli.add_lazy("completion", "epollo.cli.completion", "Print a script that completes commands.")
cli.add_lazy("man", "epollo.cli.man", "Print the manual page.")
