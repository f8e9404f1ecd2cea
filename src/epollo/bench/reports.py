"""``epollo report``: results that were written by ``epollo bench --json``, shown and compared.

What it does is imported when it is called, as for the other commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from epollo.bench.result import Result
    from epollo.bench.thresholds import Threshold


@click.command()
@click.argument("results", metavar="RESULT...", nargs=-1, required=True)
@click.option("--html", metavar="FILE", help="Write a page with pictures and tables.")
@click.option("--plot", metavar="FILE", help="Write a picture, .png or .svg.")
@click.option(
    "--fail-if",
    metavar="LIMIT",
    multiple=True,
    help="Exit with 1 if 'p99>1.1*A.json' or the like holds, of all but the first; may be repeated.",
)
def report(
    results: tuple[str, ...], html: str | None, plot: str | None, fail_if: tuple[str, ...]
) -> int:
    """Show a RESULT of `epollo bench --json`, or compare several with the first.

    Each is a file; or a directory, whose files named *.json are repeats of one run. A difference is
    a ratio with its interval of 95 %, and "no difference shown" where that holds 1.
    """
    from epollo.bench import files, thresholds
    from epollo.output import check_page, check_plot

    check_page(html)
    check_plot(plot)
    limits = [thresholds.parse(text) for text in fail_if]
    sides = [files.read_side(path) for path in results]
    click.echo(_shown(results, sides, html))
    ...
