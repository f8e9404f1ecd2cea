"""The figures of a run as Prometheus reads them, while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from epollo.bench.load.payload import Fault
from epollo.bench.results.figures import RunFigures
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.second import Second
from epollo.bench.results.series import Histograms
from epollo.bench.workload import Workload

_BOUNDS = (  # ns: from 10 µs to 10 s
    *(round(digit * 10**power) for power in range(4, 10) for digit in (1, 2.5, 5)),
    10**10,
)
_ALWAYS = (*map(str, Fault), "unanswered")  # kinds of errors that are told though there were none
_NOTHING = RunFigures(0, 0, 0, 0, 0, 0, 0, {}, {})


class RunMetrics:
    """A collector of a registry of prometheus_client. ``post`` brings each call into the thread of
    the registry: to count values in buckets takes time, which would delay messages of the run.

    The response times of a second are known when it is over; replies that come later are added
    when they are known.
    """

    def __init__(self, workload: Workload) -> None:
        self.post: Callable[[Callable[[], object]], object] = lambda call: call()
        self._target = workload.profile.steps[0].start if workload.rate is not None else None
        self._figures = _NOTHING
        self._errors: dict[str, int] = dict.fromkeys(_ALWAYS, 0)
        self._response = _Buckets()  # of seconds that take no more replies
        self._recent: list[_Buckets] = []  # of each second after those

    # Told by the run, in its thread

    def update(self, figures: RunFigures) -> None:
        """The counts so far."""
        self.post(partial(self._update, figures))

    def show(self, second: Second) -> None:
        """The last second, before late replies to its messages."""
        self.post(partial(self._show, second))

    # SecondSink

    def append(self, second: Second) -> None:
        """A second that takes no more replies."""
        self.post(partial(self._close, second.response))

    def amend(self, place: int, more: Histograms) -> None:
        """Late replies to messages of a closed second."""
        self.post(partial(self._add, more[0]))

    def complete(self) -> None:
        """Nothing is left to be told."""

    # In the thread of the registry

    def collect(self) -> Iterator[Metric]:
        """All figures."""
        figures = self._figures
        yield _counter("messages_sent", "Messages sent in the measured window", figures.sent)
        yield _counter(
            "messages_answered", "Messages answered correctly, of those sent", figures.answered
        )
        yield _labelled(
            "errors",
            "Messages answered wrongly or not at all, and other errors",
            "kind",
            self._errors,
        )
        yield _counter(
            "sent_bytes", "Bytes of the messages sent, without headers", figures.bytes_sent
        )
        yield _counter(
            "received_bytes", "Bytes of correct replies, without headers", figures.bytes_received
        )
        yield _counter("connections_opened", "Connections opened", figures.opened)
        yield _labelled(
            "connections_lost", "Connections that ended before the run did", "reason", figures.lost
        )
        yield _gauge("connections_open", "Connections open now", figures.open)
        yield _gauge("messages_outstanding", "Messages not yet answered", figures.outstanding)
        if self._target is not None:
            yield _gauge("target_rate", "Messages asked for a second", self._target)
        response = HistogramMetricFamily(
            "epollo_bench_response_seconds",
            "Time from when a message was due to its reply; censored at the timeout",
        )
        whole = _Buckets.sum([self._response, *self._recent])
        response.add_metric([], whole.cumulated(), whole.total / 1e9)
        yield response

    def _update(self, figures: RunFigures) -> None:
        self._figures = figures
        for kind, count in figures.errors.items():  # one may be found to be of another kind later
            self._errors[kind] = max(count, self._errors.get(kind, 0))

    def _show(self, second: Second) -> None:
        self._target = second.target
        self._recent.append(_Buckets.of(second.response))

    def _close(self, response: Histogram) -> None:
        del self._recent[:1]
        self._add(response)

    def _add(self, response: Histogram) -> None:
        self._response = _Buckets.sum([self._response, _Buckets.of(response)])


class _Buckets:
    """Counts of values up to each bound, above the one before; and the sum of all values, in ns."""

    def __init__(self, counts: tuple[int, ...] = (0,) * (len(_BOUNDS) + 1), total: float = 0.0):
        self.counts = counts
        self.total = total

    @classmethod
    def of(cls, histogram: Histogram) -> _Buckets:
        above = [round(histogram.above(bound) * histogram.total) for bound in _BOUNDS]
        ends = [histogram.total, *above, 0]
        counts = tuple(more - less for more, less in pairwise(ends))
        return cls(counts, histogram.mean * histogram.total)

    @classmethod
    def sum(cls, every: list[_Buckets]) -> _Buckets:
        columns = zip(*(each.counts for each in every), strict=True)
        return cls(tuple(map(sum, columns)), sum(each.total for each in every))

    def cumulated(self) -> list[tuple[str, Any]]:
        """The upper bound of each bucket in seconds, and the values up to it."""
        bounds = [*(floatToGoString(bound / 1e9) for bound in _BOUNDS), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"epollo_bench_{name}", about, value)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"epollo_bench_{name}", about, value)


def _labelled(name: str, about: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"epollo_bench_{name}", about, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
