"""One ``epollo report``: shows and compares results of ``epollo bench --json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from epollo.bench.compare.letters import letter
from epollo.bench.compare.ratios import Comparison, compare
from epollo.bench.compare.text import render as render_comparison
from epollo.bench.output.text import render
from epollo.bench.output.wording import described
from epollo.bench.results import files, thresholds
from epollo.bench.results.result import Result
from epollo.bench.results.verdict import Verdict
from epollo.cli.files import STDOUT, check_page, check_plot, write_each
from epollo.units import format_seconds


@dataclass(frozen=True, slots=True)
class Side:
    """One argument: the file of a run, or a directory of repeats of one run."""

    path: str
    runs: list[tuple[Path, Result]]

    @property
    def results(self) -> list[Result]:
        return [result for _, result in self.runs]

    @property
    def label(self) -> str:
        """Describes the runs."""
        first = self.results[0]
        many = f"{len(self.runs)} runs of " if len(self.runs) > 1 else ""
        load = f"{first.workload.address}, {described(first.workload)}"
        return f"{many}{load}, {format_seconds(first.elapsed)}"


def run_report(
    paths: Sequence[str], page: str | None, picture: str | None, fail_if: Sequence[str]
) -> int:
    """Show ``paths``, and write the page and the picture; returns the exit status."""
    check_page(page)
    check_plot(picture)
    limits = [thresholds.parse(text) for text in fail_if]
    sides = [Side(path, files.read_side(path)) for path in paths]
    verdicts = list(_verdicts(sides, limits))
    comparison = compare([side.results for side in sides], _names(sides)) if sides[1:] else None
    if page != STDOUT:
        click.echo(_text(sides, comparison, verdicts))
    _write(sides, comparison, verdicts, page, picture)
    return 1 if any(verdict.broken for verdict in verdicts) else 0


def _verdicts(sides: Sequence[Side], limits: Sequence[thresholds.Threshold]) -> Iterator[Verdict]:
    """The verdict on each run. Limits do not apply to the side that others are compared with."""
    for number, side in enumerate(sides):
        for result in side.results:
            yield Verdict.of(result, limits if number or len(sides) == 1 else ())


def _names(sides: Sequence[Side]) -> list[str]:
    """The names of the sides in a comparison: letters, or paths if each run has a letter."""
    if _repeated(sides):
        return [side.path for side in sides]
    return [letter(number) for number in range(len(sides))]


def _repeated(sides: Sequence[Side]) -> bool:
    return any(len(side.runs) > 1 for side in sides)


def _text(sides: Sequence[Side], comparison: Comparison | None, verdicts: Sequence[Verdict]) -> str:
    if comparison is None:
        return "\n\n\n".join(map(render, verdicts))
    repeated = _repeated(sides)
    labels = [side.label if repeated else f"{side.path}: {side.label}" for side in sides]
    text = render_comparison(comparison, labels, repeated)
    files = [file for side in sides for file, _ in side.runs]
    broken = [
        f"FAILED: {file}: {words}"
        for file, verdict in zip(files, verdicts, strict=True)
        for words in verdict.broken
    ]
    return "\n\n".join([text, "\n".join(broken)] if broken else [text])


def _write(
    sides: Sequence[Side],
    comparison: Comparison | None,
    verdicts: Sequence[Verdict],
    page: str | None,
    picture: str | None,
) -> None:
    """Write the page and the picture. Drawing is imported only here: it takes a second to load."""
    names = [str(file) for side in sides for file, _ in side.runs]
    results = [verdict.result for verdict in verdicts]

    def write_page() -> None:
        from epollo.bench.output import html

        if page is not None:
            html.write(page, results, names, verdicts, comparison)

    def write_picture() -> None:
        from epollo.bench.output import plots

        if picture is not None:
            plots.write(picture, results, names)

    write_each(*([write_page] if page else []), *([write_picture] if picture else []))
