"""``epollo ctl``: asks a running server, and steers it, through its control socket."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from epollo.cli import control_reports as reports
from epollo.cli.command import Command, Group
from epollo.cli.completing import suggest
from epollo.cli.control import control_options, control_path
from epollo.control.client import SECONDS, ControlClient
from epollo.control.commands import LEVELS, MOST_CLOSED, MOST_OPEN, SORTS
from epollo.suggestions import did_you_mean

Function = TypeVar("Function", bound=Callable[..., Any])

_JSON = f"{__name__}.json"


def _shared(function: Function) -> Function:
    """The options that may stand before the command and behind it."""
    option = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=lambda ctx, _, value: ctx.meta.update({_JSON: True}) if value else None,
        help="print the answer as JSON, in one line",
    )
    return control_options(option(function))


@click.group(cls=Group)
@_shared
def ctl() -> None:
    """Ask a running server about itself, and steer it, through its control socket."""


def _ask(
    ctx: click.Context, command: str, *, wait: float | None = SECONDS, **arguments: Any
) -> Any:
    with ControlClient(control_path(ctx)) as client:
        return client.ask(command, wait=wait, **arguments)


def _tell(ctx: click.Context, answer: Any, text: Callable[[Any], list[str]]) -> int:
    """Print an answer; returns the exit status."""
    if ctx.meta.get(_JSON):
        click.echo(json.dumps(answer))
    else:
        for line in text(answer):
            click.echo(line)
    silent = answer.get("unanswered", ())
    for each in silent:
        click.echo(f"epollo: {reports.process_of(each)} does not answer", err=True)
    return 1 if silent else 0


def _width() -> int | None:
    """Of the terminal; None if the output goes elsewhere."""
    if not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


@ctl.command(cls=Command, short_help="Show the server on one screen.")
@_shared
@click.pass_context
def status(ctx: click.Context) -> int:
    """Show the server on one screen: what it serves, for how long, its workers and totals."""
    return _tell(ctx, _ask(ctx, "status"), lambda answer: reports.status(answer, _width()))


@ctl.command(cls=Command)
@_shared
@click.pass_context
def workers(ctx: click.Context) -> int:
    """List the workers, those too that boot or drain."""
    return _tell(ctx, _ask(ctx, "workers"), lambda answer: reports.workers(answer, _width()))


@ctl.command(cls=Command, short_help="List open connections, the most unsent first.")
@click.option(
    "--sort",
    metavar="KEY",
    default="unsent",
    shell_complete=suggest("KEY", SORTS),
    help=f"the largest first, by {', '.join(SORTS[:-1])} or {SORTS[-1]}  [default: unsent]",
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, MOST_OPEN),
    default=20,
    help=f"the longest list, up to {MOST_OPEN}  [default: 20]",
)
@click.option("--worker", metavar="N", type=int, help="only those of this worker")
@_shared
@click.pass_context
def connections(ctx: click.Context, sort: str, limit: int, worker: int | None) -> int:
    """List open connections, those with the most unsent bytes first."""
    answer = _ask(ctx, "connections", sort=sort, limit=limit, worker=worker)
    return _tell(ctx, answer, lambda answer: reports.connections(answer, _width()))


@ctl.command(cls=Command, short_help="List connections closed of late, and why.")
@click.option("--reason", metavar="REASON", help="only those closed for it, such as slow_consumer")
@click.option("--peer", metavar="ADDRESS", help="only those of this peer; without a port, of all")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, MOST_CLOSED),
    default=20,
    help=f"the longest list, up to {MOST_CLOSED}  [default: 20]",
)
@_shared
@click.pass_context
def closed(ctx: click.Context, reason: str | None, peer: str | None, limit: int) -> int:
    """List the connections that were closed of late, and why; each process keeps the last 1,000."""
    answer = _ask(ctx, "closed", reason=reason, peer=peer, limit=limit)
    return _tell(ctx, answer, lambda answer: reports.closed(answer, _width(), limit))


@ctl.command(cls=Command, short_help="Close a connection, or all of a peer.")
@click.argument("connection", required=False, metavar="[CONNECTION]")
@click.option("--peer", metavar="ADDRESS", help="all of this peer; without a port, of its address")
@click.option("--abort", is_flag=True, help="at once; what is unsent is dropped")
@_shared
@click.pass_context
def close(ctx: click.Context, connection: str | None, peer: str | None, abort: bool) -> int:
    """Close CONNECTION, written PROCESS:NUMBER as in the lists, or those of a peer.

    Unsent bytes are sent before. A peer that takes nothing is closed after the write timeout; with
    --abort, at once."""
    if (connection is None) == (peer is None):
        raise click.UsageError("CONNECTION: name one, as PROCESS:NUMBER, or --peer ADDRESS")
    with ControlClient(control_path(ctx)) as client:
        answer = client.ask("close", connection=connection, peer=peer, abort=abort)
        left = client.answer("connections", connection=connection) if connection else {}
    rows = left.get("connections", ())
    return _tell(ctx, answer, lambda answer: reports.close(answer, connection, peer, rows))


@ctl.command(cls=Command, short_help="Let a worker drain, once another serves.")
@click.argument("worker", required=False, type=int, metavar="[WORKER]")
@click.option("--all", "all_", is_flag=True, help="the whole server: it stops, as after SIGTERM")
@_shared
@click.pass_context
def drain(ctx: click.Context, worker: int | None, all_: bool) -> int:
    """Let WORKER, by its number, drain and end, once another serves in its place."""
    if (worker is None) != all_:
        raise click.UsageError("WORKER: name one by its number, or write --all to stop the server")
    if all_:
        return _tell(ctx, _ask(ctx, "stop"), reports.stop)
    return _tell(ctx, _ask(ctx, "drain", wait=None, worker=worker), reports.drain)


@ctl.command(cls=Command, short_help="Replace all workers, and wait for it.")
@_shared
@click.pass_context
def reload(ctx: click.Context) -> int:
    """Replace all workers by such that import the application anew, and wait until it is done."""
    return _tell(ctx, _ask(ctx, "reload", wait=None), reports.reload)


@ctl.command(cls=Command)
@_shared
@click.pass_context
def add(ctx: click.Context) -> int:
    """Start one worker more."""
    return _tell(ctx, _ask(ctx, "add"), reports.scale)


@ctl.command(cls=Command)
@_shared
@click.pass_context
def remove(ctx: click.Context) -> int:
    """Let the last worker drain, with none in its place."""
    return _tell(ctx, _ask(ctx, "remove"), reports.scale)


@ctl.command("log-level", cls=Command, short_help="Show or set the log level.")
@click.argument(
    "level",
    required=False,
    metavar="[LEVEL]",
    shell_complete=suggest("LEVEL", LEVELS),
)
@click.option(
    "--logger",
    metavar="NAME",
    default="epollo",
    help="another logger, such as epollo.access, one of the application, or root  "
    "[default: epollo]",
)
@_shared
@click.pass_context
def log_level(ctx: click.Context, level: str | None, logger: str) -> int:
    """Show the log level, or set it to LEVEL, in all processes: debug, info, warning, error or
    critical."""
    if level is not None and level.lower() not in LEVELS:
        hint = did_you_mean(level, LEVELS) or f"there are {', '.join(LEVELS)}"
        raise click.UsageError(f"no level {level!r}: {hint}")
    return _tell(ctx, _ask(ctx, "log_level", level=level, logger=logger), reports.log_level)
