"""``epollo bench``: what is written on its command line.

What it does is imported when it is called: `epollo serve` must not wait for a load tester.
"""

from __future__ import annotations

from typing import Any

import click

from epollo.options import parsed
from epollo.units import parse_count, parse_seconds, parse_size

COUNT: dict[str, Any] = {"metavar": "N", "callback": parsed(parse_count)}
SIZE: dict[str, Any] = {"metavar": "SIZE", "callback": parsed(parse_size)}
TIME: dict[str, Any] = {"metavar": "TIME", "callback": parsed(parse_seconds)}


@click.command()
@click.argument("address", required=False)
@click.option("-c", "--connections", default="100", help="Kept open.  [default: 100]", **COUNT)
@click.option("-n", "--messages", help="To send in all, and then stop.", **COUNT)
@click.option("-d", "--duration", help="To measure.  [default: 10s, or until -n]", **TIME)
@click.option("--warmup", default="1s", help="Before that, not measured.  [default: 1s]", **TIME)
@click.option("--depth", default="1", help="Outstanding a connection.  [default: 1]", **COUNT)
@click.option("-s", "--size", default="64", help="Of a message.  [default: 64]", **SIZE)
@click.option(
    "-f",
    "--framing",
    metavar="SPEC",
    default="u32",
    help="What a message is on the wire.  [default: u32]",
)
@click.option("--timeout", default="5s", help="For connect and reply.  [default: 5s]", **TIME)
@click.option("--json", metavar="FILE", help="Write the result; - is stdout, without a report.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress and no report.")
def bench(address: str | None, json: str | None, quiet: bool, **load: Any) -> int:
    """Load a framed server at ADDRESS and measure every round trip.

    Without ADDRESS, an echo server is started beside the test, in a process of its own. Every
    reply is verified to the byte; exit status 1 if anything was lost, late or wrong.
    """
    from epollo.bench.session import session

    if load["messages"] is None and load["duration"] is None:
        load["duration"] = 10.0
    return session(address, json, quiet, load)
