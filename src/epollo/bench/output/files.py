"""The files that a run is written to."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from epollo.bench.results.verdict import Verdict
from epollo.bench.search import Search
from epollo.cli.files import STDOUT, check_page, check_plot, check_writable, write_text
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

    def write(self, verdict: Verdict) -> None:
        """Write all of them. Raises EpolloError."""
        result = verdict.result
        # Imported only when needed: matplotlib takes a second to load.
        if self.json is not None:
            write_text(self.json, result.to_json())
        if self.hlog is not None:
            from epollo.bench.results import hlog

            hlog.write(self.hlog, result)
        if self.csv is not None:
            from epollo.bench.results import csv as series

            series.write(self.csv, result)
        if self.html is not None:
            from epollo.bench.output import html

            html.write(self.html, [result], verdicts=[verdict])
        if self.plot is not None:
            from epollo.bench.output import plots

            plots.write(self.plot, [result])

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
        if self.json is not None:
            write_text(self.json, search.to_json())
        if not search.probes:
            return
        if self.html is not None:
            from epollo.bench.output import html

            html.write_search(self.html, search)
        if self.plot is not None:
            from epollo.bench.output import plots

            plots.write_search(self.plot, search)
