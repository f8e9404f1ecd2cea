"""``epollo top``: its command line."""

from __future__ import annotations

import shutil
import sys

import click

from epollo.cli.command import Command
from epollo.cli.completing import suggest
from epollo.cli.control import control_options, control_path
from epollo.control.commands import SORTS
from epollo.errors import UsageError

_WIDE = 160  # columns, if no terminal tells its own


@click.command(
    cls=Command,
    epilog="Keys: q quits; u, b, i, o, m, a and d sort; the arrow keys select a connection, and k "
    "closes it.",
)
@click.option(
    "--sort",
    metavar="KEY",
    default="unsent",
    shell_complete=suggest("KEY", SORTS),
    help=f"the connections, by {', '.join(SORTS[:-1])} or {SORTS[-1]}  [default: unsent]",
)
@click.option("--once", is_flag=True, help="print one screen, of one second, and exit")
@control_options
@click.pass_context
def top(ctx: click.Context, sort: str, once: bool) -> None:
    """Watch a running server, live in the terminal: rates, times, workers and slow peers."""
    if sort not in SORTS:
        raise click.UsageError(f"--sort: {sort!r} is not one of {', '.join(SORTS)}")
    if not once and not all(each is not None and each.isatty() for each in (sys.stdin, sys.stdout)):
        raise UsageError("top: needs a terminal; --once prints one screen elsewhere")
    # Imported only here, so that the help comes quickly.
    from rich.console import Console

    from epollo.top.viewer import Viewer, show, show_once

    viewer = Viewer(control_path(ctx), sort)
    if once:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
        show_once(viewer, Console(width=width, highlight=False))
    else:
        show(viewer, Console(highlight=False))
