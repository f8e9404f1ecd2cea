"""The metrics of a server: their names, their meanings, and the figures that they are made of.

Names follow https://prometheus.io/docs/practices/naming. The label ``worker`` is the number of a
slot, from 1 on as for ``epollo ctl``, not a process: its workers come and go, and there are as many
series all the while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from epollo.control.inquirer import Values
from epollo.metrics.watched import SupervisorFigures

_WORKER = "worker"


def _version() -> str:
    """Of the installed package: to import the name from `epollo` would be a circle."""
    try:
        return metadata.version("epollo")
    except metadata.PackageNotFoundError:
        return "unknown"


_VERSION = _version()  # here, since it reads files: no scrape waits for them

_Get = Callable[[Values], Any]


class _Described(NamedTuple):
    """One metric: the value of a worker is what ``get`` makes of its figures. With a ``label``,
    that is several values, by the label's own."""

    name: str
    text: str
    get: _Get
    label: str = ""


def _of_connections(name: str) -> _Get:
    return lambda figures: figures["connections"][name]


def _of_broker(name: str) -> _Get:
    return lambda figures: figures["broker"][name]


def _of(name: str) -> _Get:
    return lambda figures: figures[name]


_COUNTERS = (
    _Described(
        "epollo_connections_accepted",
        "Connections accepted, including those refused at once.",
        _of_connections("accepted"),
    ),
    _Described(
        "epollo_connections_refused",
        "Connections closed right after they were accepted, by cause.",
        _of_connections("refused"),
        "cause",
    ),
    _Described(
        "epollo_connections_closed",
        "Connections that were served and are closed, by reason.",
        _of_connections("closed"),
        "reason",
    ),
    _Described("epollo_messages_received", "Messages received whole.", _of("messages_in")),
    _Described(
        "epollo_messages_sent", "Messages sent, or queued for their peer.", _of("messages_out")
    ),
    _Described("epollo_received_bytes", "Bytes read from connections.", _of("bytes_in")),
    _Described("epollo_sent_bytes", "Bytes of connections that the kernel took.", _of("bytes_out")),
    _Described(
        "epollo_slow_handlers",
        "Calls of the handler that held the loop for longer than slow_handler.",
        _of("slow_handlers"),
    ),
    _Described(
        "epollo_broker_sent_messages",
        "Published messages that were given to the broker.",
        _of_broker("sent"),
    ),
    _Described(
        "epollo_broker_received_messages",
        "Messages of other nodes that were delivered to members.",
        _of_broker("received"),
    ),
    _Described(
        "epollo_broker_missed_messages",
        "Messages of other nodes to groups with members that did not arrive.",
        _of_broker("missed"),
    ),
    _Described(
        "epollo_broker_dropped_messages",
        "Published messages that were not given to the broker.",
        _of_broker("dropped"),
    ),
    _Described(
        "epollo_broker_connections_lost",
        "Connections to the broker that were lost.",
        _of_broker("lost"),
    ),
    _Described(
        "epollo_pauses",
        "How often it was begun not to read a connection, by cause.",
        _of("pauses"),
        "cause",
    ),
)

_GAUGES = (
    _Described("epollo_connections_open", "Connections open now.", _of_connections("open")),
    _Described(
        "epollo_unsent_bytes", "Output that waits for its peers, in this process.", _of("unsent")
    ),
    _Described(
        "epollo_buffered_bytes",
        "What connections hold in memory: unsent output, incomplete frames, held messages.",
        _of("buffered"),
    ),
    _Described(
        "epollo_paused_connections",
        "Connections that are not read at the moment, by cause.",
        _of("paused"),
        "cause",
    ),
    _Described(
        "epollo_messages_in_flight",
        "Messages delivered to the handler whose replies are due.",
        _of("in_flight"),
    ),
    _Described(
        "epollo_broker_connections", "Connections to the broker.", _of_broker("connections")
    ),
    _Described(
        "epollo_broker_waiting_bytes",
        "Published bytes that wait for the broker.",
        _of_broker("waiting"),
    ),
    _Described(
        "epollo_longest_turn_seconds",
        "The longest turn of the loop in the last 30 to 60 seconds; 0 if none took 0.1 ms.",
        _of("longest_turn"),
    ),
    _Described("epollo_resident_memory_bytes", "Resident memory.", _of("memory")),
    _Described("epollo_open_descriptors", "Open file descriptors.", _of("descriptors")),
    _Described(
        "epollo_start_time_seconds",
        "When the newest worker of the slot began, in Unix time.",
        _of("since"),
    ),
)

_HISTOGRAMS = (
    _Described("epollo_handler_seconds", "How long the handler took.", _of("handler_seconds")),
    _Described(
        "epollo_loop_turn_seconds",
        "How long a turn of the loop took, without its wait for events.",
        _of("turn_seconds"),
    ),
)


def families(
    figures: Mapping[int, Values], supervisor: SupervisorFigures | None, unanswered: int
) -> Iterator[Metric]:
    """All metrics, from the figures of each slot. ``unanswered`` workers have said nothing new."""
    slots = {str(slot + 1): figures[slot] for slot in sorted(figures)}
    yield _single("epollo_build_info", "The version of epollo.", {"version": _VERSION})
    for each in _COUNTERS:
        yield _filled(CounterMetricFamily(each.name, each.text, labels=_labels(each)), each, slots)
    for each in _GAUGES:
        yield _filled(GaugeMetricFamily(each.name, each.text, labels=_labels(each)), each, slots)
    for each in _HISTOGRAMS:
        histogram = HistogramMetricFamily(each.name, each.text, labels=[_WORKER])
        for slot, value in _values(each, slots):
            histogram.add_metric([slot], _buckets(value), value["sum"])
        yield histogram
    if supervisor is not None:
        yield from _of_supervisor(supervisor, unanswered)


def _labels(metric: _Described) -> list[str]:
    return [_WORKER, metric.label] if metric.label else [_WORKER]


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, metric: _Described, slots: Mapping[str, Values]
) -> Metric:
    for slot, value in _values(metric, slots):
        if not metric.label:
            family.add_metric([slot], value)
            continue
        for label, one in value.items():
            family.add_metric([slot, label], one)
    return family


def _values(metric: _Described, slots: Mapping[str, Values]) -> Iterator[tuple[str, Any]]:
    """The value of each slot. A slot whose workers were all those of another version, before a
    handover, may have none."""
    for slot, values in slots.items():
        try:
            yield slot, metric.get(values)
        except KeyError:
            pass


def _buckets(histogram: Values) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    bounds = [*map(floatToGoString, histogram["bounds"]), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram["counts"])), strict=True))


def _single(name: str, text: str, labels: Mapping[str, str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def _of_supervisor(supervisor: SupervisorFigures, unanswered: int) -> Iterator[Metric]:
    workers = GaugeMetricFamily("epollo_workers", "Worker processes, by stage.", labels=["stage"])
    for stage, count in supervisor.workers.items():
        workers.add_metric([stage], count)
    yield workers
    text = "Workers that did not answer this scrape in time: their last figures are shown."
    yield GaugeMetricFamily("epollo_workers_unanswered", text, value=unanswered)
    text = "Worker processes that have ended, by cause."
    ended = CounterMetricFamily("epollo_workers_ended", text, labels=["cause"])
    for cause, count in supervisor.ended.items():
        ended.add_metric([cause], count)
    yield ended
    reloads = CounterMetricFamily("epollo_reloads", "Reloads, by result.", labels=["result"])
    for result, count in supervisor.reloads.items():
        reloads.add_metric([result], count)
    yield reloads
