"""``--plot``: the pictures of results in one file."""

from __future__ import annotations

from collections.abc import Sequence

from epollo.bench.results.result import Result
from epollo.bench.search import Search
from epollo.cli.files import check_plot


def write(path: str, results: Sequence[Result], names: Sequence[str] = ()) -> None:
    """Draw one or several results into a PNG or SVG, chosen by the suffix.

    ``names`` are those of the results, such as their files. Raises UsageError for any other suffix,
    and if matplotlib is missing; EpolloError if the file cannot be written.
    """
    check_plot(path)
    from epollo.bench.output.pictures.sheet import sheet
    from epollo.cli.plotting import save

    save(sheet(results, names), path)


def write_search(path: str, search: Search) -> None:
    """Draw all runs of a search; the percentiles are those of the rate found."""
    check_plot(path)
    from epollo.bench.output.pictures.panels import of_search
    from epollo.bench.output.pictures.sheet import sheet
    from epollo.cli.plotting import save

    answer = search.answer()
    save(sheet([answer], title=str(search).partition(" (")[0], shown=of_search(search)), path)
