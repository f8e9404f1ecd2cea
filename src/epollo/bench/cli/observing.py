"""``--metrics``: the figures of a run for Prometheus, on an address, while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from epollo.bench.results.figures import RunFigures
from epollo.bench.results.second import Second
from epollo.bench.results.series import SecondSink
from epollo.bench.switching import switching_often
from epollo.bench.workload import Workload
from epollo.cli.files import check_installed
from epollo.errors import AddressError, BindError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from epollo.metrics.thread import MetricsThread

_EXTRA = "metrics"


@dataclass(frozen=True, slots=True)
class Observers:
    """The observers of a run: ``update`` takes the counts, ``show`` each second once it is over,
    and ``watchers`` each second that takes no more replies."""

    update: Callable[[RunFigures], object] | None = None
    show: Callable[[Second], object] = lambda _: None
    watchers: Sequence[SecondSink] = ()


def check_metrics(address: str | None) -> None:
    """Raises UsageError without the packages that ``--metrics`` needs."""
    if address is not None:
        check_installed("--metrics", "prometheus_client", _EXTRA)
        check_installed("--metrics", "h11", _EXTRA)


@contextmanager
def metrics_of(workload: Workload, address: str | None, quiet: bool) -> Iterator[Observers]:
    """Serve the figures of the run of ``workload`` on ``address``, and say where, for the block.
    None serves nothing. If it is ``quiet``, it says where only if that is not known yet: the port
    is 0. Raises AddressError and BindError."""
    if address is None:
        yield Observers()
        return
    from prometheus_client import CollectorRegistry

    from epollo.bench.output.run_metrics import RunMetrics

    figures, registry = RunMetrics(workload), CollectorRegistry()
    registry.register(figures)
    with switching_often(), _thread(address, registry) as server:
        figures.post = server.post
        if not quiet or address.endswith(":0"):
            click.echo(f"epollo: metrics on {server.url}", err=True)
        yield Observers(figures.update, figures.show, (figures,))


def _thread(address: str, registry: CollectorRegistry) -> MetricsThread:
    from epollo.metrics.thread import MetricsThread

    try:
        return MetricsThread(address, registry)
    except (AddressError, BindError) as error:
        raise type(error)(f"metrics: {error}") from None
