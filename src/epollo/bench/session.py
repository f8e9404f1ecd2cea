"""One ``epollo bench``: a run, what is shown and written of it, and its exit status."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from typing import Any

import click
from rich.console import Console

from epollo.bench import report
from epollo.bench.companion import echo_server
from epollo.bench.driver import Driver, allow_descriptors
from epollo.bench.result import Result
from epollo.bench.workload import Workload
from epollo.leaving import on_leaving
from epollo.output import STDOUT, check_writable, write_text


def session(address: str | None, json: str | None, quiet: bool, load: dict[str, Any]) -> int:
    """Run ``load``, the other fields of a Workload, against ``address`` or, where that is None,
    against an echo server of its own; returns the exit status."""
    check_writable("--json", json)
    checked = Workload(address=address or "127.0.0.1:1", **load)
    max_frame = checked.new_framing().max_frame
    allow_descriptors(checked.connections)  # before the server is started, which inherits them
    beside = nullcontext(address) if address else echo_server(checked.framing, max_frame)
    with on_leaving(), beside as target:
        result = _run(Workload(address=str(target), **load), quiet)
    if not quiet and json != STDOUT:
        click.echo(report.text(result))
    if json is not None:
        write_text(json, result.to_json())
    return 1 if result.failed else 0


def _run(workload: Workload, quiet: bool) -> Result:
    with report.Live(workload, Console(stderr=True, quiet=quiet)) as live:
        driver = Driver(workload, progress=live.update)

        def stop(number: int, frame: object) -> None:
            """The first one ends the run early, with a report; a second one at once."""
            signal.signal(number, signal.default_int_handler)
            driver.stop()

        with on_leaving(stop):
            return driver.run()
