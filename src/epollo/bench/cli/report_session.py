"""One ``epollo report``: shows and compares results of ``epollo bench --json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from epollo.bench.compare import conditions
from epollo.bench.compare.conditions import Condition
from epollo.bench.compare.letters import letter
from epollo.bench.compare.ratios import Comparison, compare
from epollo.bench.compare.text import render as render_comparison
from epollo.bench.output.text import render
from epollo.bench.output.wording import described
from epollo.bench.results import files, loads, thresholds
from epollo.bench.results.result import Result
from epollo.bench.results.verdict import Verdict
from epollo.cli.files import STDOUT, check_page, check_plot, write_each
from epollo.errors import LimitError, UsageError
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
    paths: Sequence[str],
    page: str | None,
    picture: str | None,
    fail_if: Sequence[str],
    different_load: bool,
) -> int:
    """Show ``paths``, and write the page and the picture; returns the exit status."""
    check_page(page)
    check_plot(picture)
    limits = [thresholds.parse(text) for text in fail_if if not conditions.is_condition(text)]
    on_ratios = [conditions.parse(text) for text in fail_if if conditions.is_condition(text)]
    if different_load and not fail_if:
        raise UsageError("--different-load: only for --fail-if; give that too, or leave it out")
    sides = [Side(path, files.read_side(path)) for path in paths]
    if on_ratios and len(sides) == 1:
        raise LimitError(
            f"fail-if: {on_ratios[0].text!r} compares results; name the baseline first: "
            f"epollo report BASELINE {sides[0].path}"
        )
    if not different_load:
        _check_loads(sides, limits, on_ratios)
    verdicts = list(_verdicts(sides, limits))
    comparison = _compared(sides, on_ratios) if sides[1:] else None
    broken = list(_broken(sides, verdicts, comparison, on_ratios))
    if page != STDOUT:
        click.echo(_text(sides, comparison, verdicts, broken))
    _write(sides, comparison, verdicts, broken, page, picture)
    return 1 if broken else 0


def _check_loads(
    sides: Sequence[Side],
    limits: Sequence[thresholds.Threshold],
    on_ratios: Sequence[Condition],
) -> None:
    """Raises LimitError if a run is of another load than what it is compared with."""
    for file, result in (run for side in sides[len(sides) > 1 :] for run in side.runs):
        for limit in limits:
            limit.check_load(result.workload, str(file))
    baseline, first = sides[0].runs[0]
    for file, result in (run for side in sides for run in side.runs):
        words = loads.incomparable(first.workload, result.workload)
        if on_ratios and words:
            raise LimitError(loads.refusal(on_ratios[0].text, str(file), str(baseline), words))


def _compared(sides: Sequence[Side], on_ratios: Sequence[Condition]) -> Comparison:
    percents = [each.percent for each in on_ratios if each.percent is not None]
    return compare([side.results for side in sides], _names(sides), percents)


def _broken(
    sides: Sequence[Side],
    verdicts: Sequence[Verdict],
    comparison: Comparison | None,
    on_ratios: Sequence[Condition],
) -> Iterator[str]:
    """Each limit and condition that is broken, with the file or directory that breaks it."""
    runs = [file for side in sides for file, _ in side.runs]
    for file, verdict in zip(runs, verdicts, strict=True):
        yield from (f"{file}: {words}" for words in verdict.broken)
    if comparison is not None:
        for condition in on_ratios:
            for side, words in condition.broken(comparison, sides[0].path):
                yield f"{sides[side].path}: {words}"


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


def _text(
    sides: Sequence[Side],
    comparison: Comparison | None,
    verdicts: Sequence[Verdict],
    broken: Sequence[str],
) -> str:
    if comparison is None:
        return "\n\n\n".join(map(render, verdicts))
    repeated = _repeated(sides)
    labels = [side.label if repeated else f"{side.path}: {side.label}" for side in sides]
    text = render_comparison(comparison, labels, repeated)
    failures = "\n".join(f"FAILED: {words}" for words in broken)
    return "\n\n".join([text, failures] if broken else [text])


def _write(
    sides: Sequence[Side],
    comparison: Comparison | None,
    verdicts: Sequence[Verdict],
    broken: Sequence[str],
    page: str | None,
    picture: str | None,
) -> None:
    """Write the page and the picture. Drawing is imported only here: it takes a second to load."""
    names = [str(file) for side in sides for file, _ in side.runs]
    results = [verdict.result for verdict in verdicts]

    def write_page() -> None:
        from epollo.bench.output import html

        if page is not None:
            html.write(page, results, names, verdicts, comparison, broken)

    def write_picture() -> None:
        from epollo.bench.output import plots

        if picture is not None:
            plots.write(picture, results, names)

    write_each(*([write_page] if page else []), *([write_picture] if picture else []))
