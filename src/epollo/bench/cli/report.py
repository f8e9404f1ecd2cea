"""``epollo report``: its command line. The rest is imported when the command is called."""

from __future__ import annotations

import click

from epollo.cli.command import Command


@click.command(cls=Command)
@click.argument("results", metavar="RESULT...", nargs=-1, required=True)
@click.option("--html", metavar="FILE", help="Write a page with pictures and tables; - is stdout.")
@click.option("--plot", metavar="FILE", help="Write a picture, .png or .svg.")
@click.option(
    "--fail-if",
    metavar="LIMIT",
    multiple=True,
    help="Exit with 1 if 'p99 higher', 'p99 higher by 5%' or 'p99>5ms' holds; may be repeated.",
)
@click.option(
    "--different-load", is_flag=True, help="Let --fail-if compare results of different loads."
)
def report(
    results: tuple[str, ...],
    html: str | None,
    plot: str | None,
    fail_if: tuple[str, ...],
    different_load: bool,
) -> int:
    """Show a RESULT of epollo bench --json again, or compare several with the first one.

    A RESULT is a file, or a directory whose *.json files are repeats of one run. Ratios have 95 %
    intervals; if the interval contains 1, the table says "no difference shown".

    Exit status 1 if a RESULT breaks a limit of --fail-if. If there are several, the first is not
    checked. 'p99 higher' fails if the whole interval is above 1, or if there is none.
    """
    from epollo.bench.cli.report_session import run_report

    return run_report(results, html, plot, fail_if, different_load)
