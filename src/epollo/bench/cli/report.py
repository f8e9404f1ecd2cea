"""``epollo report``: what is written on its command line. What it does is imported when called."""

from __future__ import annotations

import click


@click.command()
@click.argument("results", metavar="RESULT...", nargs=-1, required=True)
@click.option("--html", metavar="FILE", help="A page with pictures and tables; - is stdout.")
@click.option("--plot", metavar="FILE", help="A picture, .png or .svg.")
@click.option(
    "--fail-if",
    metavar="LIMIT",
    multiple=True,
    help="Exit with 1 if 'p99>1.1*A.json' or the like; may be repeated.",
)
def report(
    results: tuple[str, ...], html: str | None, plot: str | None, fail_if: tuple[str, ...]
) -> int:
    """Show a RESULT of epollo bench --json again, or compare several with the first.

    A RESULT is a file; or a directory, whose files named *.json are repeats of one run. Ratios
    come with their intervals of 95 %: "no difference shown" is said where that holds 1.

    Exit status 1 if a limit of --fail-if was passed by any but the first, or by the only one.
    """
    from epollo.bench.cli.reports import session

    return session(results, html, plot, fail_if)
