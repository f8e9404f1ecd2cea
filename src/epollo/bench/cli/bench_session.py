"""One ``epollo bench``: a run or a search, its report and files, and its exit status."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import click
from rich.console import Console

from epollo.bench.cli.local_server import echo_server
from epollo.bench.cli.observing import Observers, check_metrics, metrics_of
from epollo.bench.cli.stopping import Stopper
from epollo.bench.floor.measuring import is_worthwhile, measure_floor
from epollo.bench.output import probes
from epollo.bench.output.files import Outputs
from epollo.bench.output.live import Live
from epollo.bench.output.partial import PartialFiles
from epollo.bench.output.text import render
from epollo.bench.results.result import Result
from epollo.bench.results.second import Second
from epollo.bench.results.thresholds import Threshold
from epollo.bench.results.verdict import Verdict
from epollo.bench.runs import new_run
from epollo.bench.search import START, Probe, find_rate
from epollo.bench.workload import Workload
from epollo.cli.interrupts import on_interrupt
from epollo.descriptors import allow_descriptors
from epollo.errors import UsageError

_PROBE_SECONDS = 3.0
_NOBODY = Observers()
_PLACEHOLDER = "127.0.0.1:1"  # until the local echo server is ready


def run_bench(
    address: str | None,
    load: dict[str, Any],
    outputs: Outputs,
    limits: Sequence[Threshold],
    quiet: bool,
    stop_limits: Sequence[Threshold] = (),
    different_load: bool = False,
    metrics: str | None = None,
    floor: bool | None = None,
) -> int:
    """Run ``load``, the other fields of a Workload, against ``address``, or against a local echo
    server if it is None; returns the exit status. A run that breaks one of ``stop_limits`` ends
    early, and has failed. Figures of the run are served on ``metrics``, an address. The tester's
    ``floor`` is measured first; None: if the run is long.

    Raises LimitError for a limit that is of a run of a ``different_load``, unless that is allowed.
    """
    outputs.check()
    check_metrics(metrics)
    stopper = Stopper(stop_limits)
    workload = new_workload(address, load)
    for limit in () if different_load else (*limits, *stop_limits):
        limit.check_load(workload, "this run")
    if address is None:
        allow_descriptors(workload.connections)  # the server inherits the limit
    with on_interrupt(), _server(address, workload) as target:
        workload = replace(workload, address=target)
        wanted = is_worthwhile(workload) if floor is None else floor
        found = measure_floor(workload) if wanted else None
        with (
            metrics_of(workload, metrics, quiet) as observers,
            PartialFiles(workload, outputs.paths) as partial,
        ):
            result = _run(workload, quiet, partial, stopper, observers)
            result = replace(result, floor=found)
    verdict = Verdict.of(result, [*limits, *stop_limits])
    if stopper.broken is not None:
        verdict = verdict.stopped(*stopper.broken)
    try:
        if not quiet and not outputs.take_stdout:
            click.echo(render(verdict))
        elif verdict.failed:
            click.echo(f"epollo: {verdict}", err=True)
    finally:  # even if stdout is closed, because the run was long
        outputs.write(verdict, partial)
    return 1 if verdict.failed else 0


def check_cluster(address: str | None, load: dict[str, Any], floor: bool | None) -> None:
    """Raises UsageError for what the workers of a cluster cannot do."""
    if not load.get("cluster"):
        return
    if address is None:
        raise UsageError("--cluster: needs the ADDRESS of a server that its workers reach")
    if floor:
        raise UsageError("--floor: is of this machine, and --cluster uses others; leave it out")


def new_workload(address: str | None, load: dict[str, Any]) -> Workload:
    """A Workload of these fields; of any address if there is none yet. Raises UsageError."""
    return Workload(address=address or _PLACEHOLDER, **load)


def run_search(
    address: str | None,
    load: dict[str, Any],
    outputs: Outputs,
    limits: Sequence[Threshold],
    quiet: bool,
) -> int:
    """Find the highest rate of ``load`` at which all ``limits`` hold; returns the exit status."""
    outputs.check_for_search()
    workload = new_workload(address, {"duration": _PROBE_SECONDS, "rate": START} | load)
    if address is None:
        allow_descriptors(workload.connections)
    shown = not quiet and not outputs.take_stdout

    def show(probe: Probe) -> None:
        if shown:
            click.echo(probes.row(probe, limits))

    with on_interrupt(), _server(address, workload) as target:
        if shown:
            click.echo(probes.head(limits))
        search = find_rate(
            replace(workload, address=target),
            *limits,
            progress=show,
            run=lambda probing: _run(probing, quiet),
            trial=lambda load: _run(load, quiet=True),
            gentle="rate" not in load,
        )
    if shown:
        click.echo(f"\n{search}")
    elif search.failed:
        click.echo(f"epollo: {search}", err=True)
    outputs.write_search(search)
    return 1 if search.failed else 0


def _server(address: str | None, workload: Workload) -> AbstractContextManager[str]:
    return nullcontext(address) if address else echo_server(workload)


def _run(
    workload: Workload,
    quiet: bool,
    partial: PartialFiles | None = None,
    stopper: Stopper | None = None,
    observers: Observers = _NOBODY,
) -> Result:
    with Live(workload, Console(stderr=True, quiet=quiet)) as live:

        def update(second: Second) -> None:
            live.update(second)
            observers.show(second)
            if partial is not None:
                partial.update(second)
            if stopper is not None:
                stopper.update(second, workload, run.stop)

        run = new_run(workload, update, observers.watchers, observers.update, live.precise)
        stopping = False

        def stop(number: int, frame: object) -> None:
            """The first signal ends the run early, with a report; a second one exits at once."""
            nonlocal stopping
            if stopping:
                raise KeyboardInterrupt
            stopping = True
            run.stop()
            live.stopping()

        with on_interrupt(stop):
            return run.run()
