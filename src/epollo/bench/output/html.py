"""``--html``: results as one self-contained page, without scripts or network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import epollo
from epollo.bench.compare.letters import letter
from epollo.bench.compare.ratios import Comparison
from epollo.bench.output import wording
from epollo.bench.output.pictures import tables
from epollo.bench.results.result import Result
from epollo.bench.results.verdict import Verdict
from epollo.bench.search import Search
from epollo.cli.files import check_page, write_text
from epollo.units import UNKNOWN, format_seconds

if TYPE_CHECKING:
    from epollo.bench.output.pictures.panels import Panel


AnyVerdict: TypeAlias = Verdict | Search
"""Says whether it failed, and why, in one line."""


@dataclass(frozen=True, slots=True)
class Run:
    """The heading of one run on the page."""

    letter: str
    name: str
    what: str
    when: str
    failed: bool
    verdict: str


def write(
    path: str,
    results: Sequence[Result],
    names: Sequence[str] = (),
    verdicts: Sequence[AnyVerdict] = (),
    comparison: Comparison | None = None,
    broken: Sequence[str] = (),
) -> None:
    """Write a page of one or several results to a file; "-" is stdout.

    ``names`` are those of the results, such as their files; ``verdicts`` are those of the limits;
    without them any error fails a run. ``broken`` is what failed in the comparison. Raises
    UsageError if matplotlib or jinja2 is missing, and EpolloError if the file cannot be written.
    """
    check_page(path)
    write_text(path, page(results, names, verdicts, comparison, broken))


def write_search(path: str, search: Search) -> None:
    """Write a page of a search. Raises as `write` does."""
    check_page(path)
    write_text(path, search_page(search))


def page(
    results: Sequence[Result],
    names: Sequence[str] = (),
    verdicts: Sequence[AnyVerdict] = (),
    comparison: Comparison | None = None,
    broken: Sequence[str] = (),
) -> str:
    """The HTML of the page. All user input is escaped."""
    from epollo.bench.output.pictures.panels import panels

    return _rendered(results, names, verdicts, comparison, panels(results), broken=broken)


def search_page(search: Search) -> str:
    """The HTML of a search: figures of the rate found, and pictures of all runs."""
    from epollo.bench.output.pictures.panels import of_search

    return _rendered([search.answer()], (), [search], None, of_search(search), search.scope)


def _rendered(
    results: Sequence[Result],
    names: Sequence[str],
    verdicts: Sequence[AnyVerdict],
    comparison: Comparison | None,
    panels: Sequence[Panel],
    scope: str = "",
    broken: Sequence[str] = (),
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from epollo.bench.output.pictures.svg import svg

    environment = Environment(
        loader=PackageLoader("epollo.bench.output", "pictures"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    runs = [_run(n, results[n], names, verdicts) for n in range(len(results))]
    text: str = environment.get_template("page.html").render(
        title=_title(runs),
        runs=runs,
        key=_key(results[0]) if len(results) == 1 else [],
        compared=tables.compared(comparison) if comparison else None,
        broken=broken,
        notes=comparison.notes if comparison else [],
        latencies=tables.latencies(results),
        pictures=[(panel, svg(panel)) for panel in panels],
        scope=scope,
        amounts=tables.amounts(results),
        errors=tables.errors(results),
        seconds=[(run, tables.seconds(r)) for run, r in zip(runs, results, strict=True)],
        methods=list(dict.fromkeys(wording.method(result.workload) for result in results)),
        version=epollo.__version__,
    )
    return text.strip()


def _run(number: int, result: Result, names: Sequence[str], verdicts: Sequence[AnyVerdict]) -> Run:
    address = result.workload.address
    verdict: AnyVerdict = verdicts[number] if number < len(verdicts) else Verdict.of(result)
    what = wording.described(result.workload)
    name = names[number] if number < len(names) else address
    return Run(
        letter=letter(number),
        name=name,
        what=what if name == address else f"{address}: {what}",
        when=f"{wording.moment(result)}, {format_seconds(result.elapsed)} measured",
        failed=verdict.failed,
        verdict=str(verdict).removeprefix("FAILED: "),
    )


def _title(runs: Sequence[Run]) -> str:
    return f"epollo bench: {' and '.join(run.name for run in runs)}"


def _key(result: Result) -> list[tuple[str, str]]:
    """The most important figures."""
    p50, p99, most = wording.percentiles_ns(result.response, (50.0, 99.0, 100.0))
    rate = ("messages a second", f"{result.rate:,.0f}" if result.elapsed else UNKNOWN)
    if not result.response.total:
        return [rate]
    return [("p50", p50), ("p99", p99), ("maximum", most), rate]
