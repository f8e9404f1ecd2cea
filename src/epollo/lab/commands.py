"""The command lines of ``epollo lab pollers``, ``backlog`` and ``peers``.

The experiments are imported only when they are called, so that their help comes quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from epollo.cli import command as checked
from epollo.cli.options import parsed
from epollo.lab.options import count, counts, seconds, size

Command = TypeVar("Command", bound=Callable[..., Any])


def _option(
    *names: str, parse: Callable[[str], Any], metavar: str, about: str, default: str | None = None
) -> Callable[[Command], Command]:
    return click.option(
        *names,
        callback=parsed(parse),
        metavar=metavar,
        default=default,
        help=about if default is None else f"{about}  [default: {default}]",
    )


def _files(command: Command) -> Command:
    """The options of every experiment."""
    json = click.option(
        "--json", metavar="FILE", help="Write the raw figures as JSON; - is stdout."
    )
    plot = click.option("--plot", metavar="FILE", help="Draw a plot: .png or .svg.")
    return json(plot(command))


@click.group(cls=checked.Group)
def lab() -> None:
    """Experiments on this machine: the claims of the article on epoll, and epollo's speed."""


@lab.command(cls=checked.Command)
@_option(
    "--idle",
    parse=counts,
    metavar="N,N,...",
    about="Numbers of idle connections.  [default: 10 to 9000, up to the descriptor limit]",
)
@_option("--time", parse=seconds, metavar="TIME", about="Time for each figure.", default="200ms")
@_files
def pollers(idle: list[int] | None, time: float, json: str | None, plot: str | None) -> None:
    """Measure one wake-up of select, poll and epoll with idle connections."""
    from epollo.lab.report import report_pollers

    report_pollers(idle, time, json, plot)


@lab.command(cls=checked.Command)
@_option(
    "--queues",
    parse=counts,
    metavar="N,N,...",
    about="Lengths of the accept queue.",
    default="1,10,100,2048",
)
@_option(
    "-c",
    "--clients",
    parse=count,
    metavar="N",
    about="Clients that connect at the same moment.",
    default="100",
)
@_option(
    "--busy",
    parse=seconds,
    metavar="TIME",
    about="Time before the server first accepts.",
    default="300ms",
)
@_option("--wait", parse=seconds, metavar="TIME", about="Longest wait for a reply.", default="10s")
@_files
def backlog(
    queues: list[int], clients: int, busy: float, wait: float, json: str | None, plot: str | None
) -> None:
    """Let many clients connect at once to a busy server, and count the replies."""
    from epollo.lab.report import report_backlog

    report_backlog(queues, clients, busy, wait, json, plot)


@lab.command(cls=checked.Command)
@_option("-c", "--connections", parse=count, metavar="N", about="Open connections.", default="100")
@_option(
    "--depth",
    parse=counts,
    metavar="N,N,...",
    about="Outstanding messages on each connection.",
    default="1,16",
)
@_option("-s", "--size", parse=size, metavar="SIZE", about="Size of a message.", default="64")
@_option(
    "--seconds",
    parse=seconds,
    metavar="TIME",
    about="Time for each figure of a round.",
    default="1s",
)
@_option(
    "--rounds",
    parse=count,
    metavar="N",
    about="Rounds, in which each server has a turn.",
    default="3",
)
@_files
def peers(
    connections: int,
    depth: list[int],
    size: int,
    seconds: float,
    rounds: int,
    json: str | None,
    plot: str | None,
) -> None:
    """Compare an echo server on epollo, uvloop, asyncio, Twisted, gevent and socketserver.

    Libraries that are not installed are left out and listed. The load comes from epollo's tester.
    """
    from epollo.lab.report import report_peers

    report_peers((connections, depth, size), seconds, rounds, json, plot)
