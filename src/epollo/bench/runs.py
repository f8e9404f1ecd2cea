"""The run of a workload: in this process, in several, or on a cluster; for a time or until it is
precise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from epollo.bench.agents.cluster import Cluster
from epollo.bench.agents.local_processes import LocalProcesses
from epollo.bench.agents.shared_run import SharedRun
from epollo.bench.results.figures import RunFigures
from epollo.bench.results.precision import Precision
from epollo.bench.results.second import Second
from epollo.bench.results.series import SecondSink, WatchedSeries
from epollo.bench.run.driver import Driver
from epollo.bench.until import Run, watched
from epollo.bench.workload import Workload
from epollo.errors import SettingError


def new_run(
    workload: Workload,
    progress: Callable[[Second], object] | None = None,
    watchers: Sequence[SecondSink] = (),
    figures: Callable[[RunFigures], object] | None = None,
    checked: Callable[[Sequence[Precision]], object] | None = None,
) -> Run:
    """The object that runs ``workload``. ``progress`` is called once a second; ``watchers`` get
    each second once no more replies to its messages are awaited, and ``figures`` the counts of the
    run once a second. ``checked`` is called, in another thread, with how precise the figures are
    for which the run goes on. Raises SettingError if it is not a Workload."""
    if not isinstance(workload, Workload):
        raise SettingError(f"workload: {workload!r} is not a Workload; write Workload(address=...)")

    def start(more: Sequence[SecondSink]) -> Run:
        series = WatchedSeries([*watchers, *more])
        if workload.cluster:
            return SharedRun(workload, Cluster(), progress, series, figures)
        if workload.processes > 1:
            return SharedRun(workload, LocalProcesses(), progress, series, figures)
        return Driver(workload, progress, sink=series, figures=figures)

    return watched(workload, start, checked)
