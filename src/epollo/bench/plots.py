"""``--plot``: the pictures of results in one file."""

from __future__ import annotations

from collections.abc import Sequence

from epollo.bench.result import Result
from epollo.output import check_plot


def write(path: str, results: Sequence[Result], names: Sequence[str] = (), title: str = "") -> None:
    """Draw results, several upon each other, into a PNG or SVG, by the suffix.

    ``names`` are those of the results, such as their files; ``title`` says more than their p99.
    Raises UsageError for any other
    suffix, and where matplotlib is missing; EpolloError where the file cannot be written.
    """
    check_plot(path)
    from epollo.bench.sheet import sheet
    from epollo.picture import save

    save(sheet(results, names, title), path)
