"""One ``epollo bench``: a run, what is shown and written of it, and its exit status."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import click
from rich.console import Console

from epollo.bench import report
from epollo.bench.companion import echo_server
from epollo.bench.driver import Driver, allow_descriptors
from epollo.bench.live import Live
from epollo.bench.outputs import Outputs
from epollo.bench.result import Result
from epollo.bench.thresholds import Threshold
from epollo.bench.verdict import Verdict
from epollo.bench.workload import Workload
from epollo.leaving import on_leaving

_ANYWHERE = "127.0.0.1:1"  # until the server beside the test has said where it is


def session(
    address: str | None,
    load: dict[str, Any],
    outputs: Outputs,
    limits: Sequence[Threshold],
    quiet: bool,
) -> int:
    """Run ``load``, the other fields of a Workload, against ``address`` or, where that is None,
    against an echo server of its own; returns the exit status."""
    outputs.check()
    workload = Workload(address=address or _ANYWHERE, **load)
    allow_descriptors(workload.connections)  # before the server is started, which inherits them
    beside = nullcontext(address) if address else echo_server(workload)
    with on_leaving(), beside as target:
        result = _run(replace(workload, address=str(target)), quiet)
    verdict = Verdict.of(result, limits)
    try:
        if not quiet and not outputs.take_stdout:
            click.echo(report.text(verdict))
        elif verdict.failed:
            click.echo(f"epollo: {verdict}", err=True)
    finally:  # though nobody reads the report: the run was long
        outputs.write(verdict)
    return 1 if verdict.failed else 0


def _run(workload: Workload, quiet: bool) -> Result:
    with Live(workload, Console(stderr=True, quiet=quiet)) as live:
        driver = Driver(workload, progress=live.update)
        asked = False

        def stop(number: int, frame: object) -> None:
            """The first one ends the run early, with a report; a second one leaves at once."""
            nonlocal asked
            if asked:
                raise KeyboardInterrupt
            asked = True
            driver.stop()
            live.stopping()

        with on_leaving(stop):
            return driver.run()
