"""The files that a run is written to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

from epollo.bench.output.partial import PartialFiles
from epollo.bench.results import csv, hlog
from epollo.bench.results.verdict import Verdict
from epollo.bench.search import Search
from epollo.cli.files import (
    STDOUT,
    check_page,
    check_plot,
    check_writable,
    write_each,
    write_parts,
    write_text,
)
from epollo.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """The path of each form of output, None if not wanted; "-" is stdout."""

    json: str | None = None
    hlog: str | None = None
    csv: str | None = None
    html: str | None = None
    plot: str | None = None

    @property
    def take_stdout(self) -> bool:
        """Is one of them written to stdout, and so nothing else?"""
        return bool(self._on_stdout)

    @property
    def _on_stdout(self) -> list[str]:
        return self._places.get(STDOUT, [])

    @property
    def _places(self) -> dict[str, list[str]]:
        """The options by the file they name, after links and relative paths are resolved."""
        found: dict[str, list[str]] = {}
        for field in fields(self):
            path = getattr(self, field.name)
            if path not in (None, os.devnull):
                place = STDOUT if path == STDOUT else os.path.realpath(path)
                found.setdefault(place, []).append(f"--{field.name}")
        return found

    def check(self) -> None:
        """Raises UsageError if one cannot be written; to be called before the run."""
        check_writable("--json", self.json)
        check_writable("--hlog", self.hlog)
        check_writable("--csv", self.csv)
        check_page(self.html)
        check_plot(self.plot)
        for place, options in self._places.items():
            if len(options) > 1:
                name = "- (stdout)" if place == STDOUT else place
                raise UsageError(f"{' and '.join(options)}: only one can be {name}")

    @property
    def paths(self) -> dict[str, str]:
        """The paths of those that are wanted, by their name."""
        wanted = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in wanted.items() if path is not None}

    def write(self, verdict: Verdict, partial: PartialFiles) -> None:
        """Write all of them, and remove their ``partial`` files. Raises EpolloError, at the end,
        for those that cannot be written."""
        write_each(*(self._writer(name, verdict, partial) for name in self.paths))

    def _writer(self, name: str, verdict: Verdict, partial: PartialFiles) -> Callable[[], None]:
        def write() -> None:
            _WRITERS[name](self.paths[name], verdict)
            partial.remove(name)

        return write

    def check_for_search(self) -> None:
        """As `check`; also refuses the forms that show the seconds of one run."""
        for name in ("hlog", "csv"):
            if getattr(self, name) is not None:
                raise UsageError(
                    f"--{name}: is for one run; --find-rate writes --json, --html, --plot"
                )
        self.check()

    def write_search(self, search: Search) -> None:
        """Write all of them for a search. Raises EpolloError."""
        names = [name for name in self.paths if name == "json" or search.probes]
        write_each(*(partial(_SEARCH_WRITERS[name], self.paths[name], search) for name in names))


# Drawing is imported only when it is needed: matplotlib takes a second to load.


def _json(path: str, verdict: Verdict) -> None:
    write_parts(path, verdict.result.json_parts())


def _hlog(path: str, verdict: Verdict) -> None:
    hlog.write(path, verdict.result)


def _csv(path: str, verdict: Verdict) -> None:
    csv.write(path, verdict.result)


def _html(path: str, verdict: Verdict) -> None:
    from epollo.bench.output import html

    html.write(path, [verdict.result], verdicts=[verdict])


def _plot(path: str, verdict: Verdict) -> None:
    from epollo.bench.output import plots

    plots.write(path, [verdict.result])


def _json_of_search(path: str, search: Search) -> None:
    write_text(path, search.to_json())


def _html_of_search(path: str, search: Search) -> None:
    from epollo.bench.output import html

    html.write_search(path, search)


def _plot_of_search(path: str, search: Search) -> None:
    from epollo.bench.output import plots

    plots.write_search(path, search)


_WRITERS = {"json": _json, "hlog": _hlog, "csv": _csv, "html": _html, "plot": _plot}
_SEARCH_WRITERS = {"json": _json_of_search, "html": _html_of_search, "plot": _plot_of_search}
