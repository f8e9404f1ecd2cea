"""What a run looks like on a terminal, and in a pipe: live, and at its end."""

from __future__ import annotations

import math

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from epollo.bench.histogram import Histogram
from epollo.bench.result import PERCENTILES, Result, Second
from epollo.bench.workload import Workload
from epollo.units import format_seconds, format_size

_BAR_WIDTH = 40
_BARS = 10


class Live:
    """The line that shows how a run gets on; nothing at all where there is no terminal."""

    def __init__(self, workload: Workload, console: Console) -> None:
        self._workload = workload
        self._messages = 0
        self._seconds = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[now]}"),
            console=console,
            transient=True,
            disable=not console.file.isatty(),
            auto_refresh=False,  # a thread that draws would take the interpreter from the loop
        )
        self._task: TaskID = self._progress.add_task(
            "measuring", total=1.0, now="connecting, warming up"
        )

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, second: Second) -> None:
        now = (
            f"{second.messages:,} msg/s   p50 {format_seconds(second.p50)}   "
            f"p99 {format_seconds(second.p99)}   errors {second.errors:,}"
        )
        self._messages += second.messages
        self._seconds += 1
        self._progress.update(self._task, completed=self._done, now=now, refresh=True)

    @property
    def _done(self) -> float:
        """The part of the run that is over: of its messages or its time, whichever ends it."""
        load = self._workload
        return max(
            self._messages / load.messages if load.messages else 0.0,
            self._seconds / load.duration if load.duration else 0.0,
        )


def text(result: Result) -> str:
    """The report of a finished run, the same with and without a terminal."""
    parts = [_what(result), _latency(result.latency), _bars(result.latency)]
    parts += [_amounts(result), _verdict(result)]
    return "\n\n".join(part for part in parts if part)


def _what(result: Result) -> str:
    load = result.workload
    return (
        f"epollo bench {load.address}\n"
        f"{load.connections:,} connections, depth {load.depth}, {format_size(load.size)} messages, "
        f"framing {load.framing}, closed loop, {load.warmup:g} s of warm-up not counted"
    )


def _latency(latency: Histogram) -> str:
    if not latency.total:
        return ""
    values = latency.percentiles(PERCENTILES)
    rows = [
        f"mean round trip {latency.mean / 1e6:.3f} ms   sd {_ns(latency.deviation)}"
        f"   min {_ns(latency.minimum)}   max {_ns(latency.maximum)}"
    ]
    for percent, value in zip(PERCENTILES, values, strict=True):
        rows.append(f"  {percent:>6g} %  {_ns(value):>9}")
    return "\n".join(rows)


def _bars(latency: Histogram) -> str:
    """The histogram in bars, one for each of ten steps of equal ratio."""
    low, high = max(1, latency.minimum), latency.maximum
    if low >= high:
        return ""
    step = math.log(high / low) / _BARS
    counts = [0] * _BARS
    for start, _, count in latency.buckets():
        counts[min(_BARS - 1, int(math.log(max(start, low) / low) / step))] += count
    return "\n".join(
        f"  from {_ns(low * math.exp(step * n)):>8}  {count:>10,}  "
        f"{'#' * math.ceil(count / max(counts) * _BAR_WIDTH)}".rstrip()
        for n, count in enumerate(counts)
    )


def _amounts(result: Result) -> str:
    volume = result.rate * result.workload.size
    return "\n".join(
        [
            f"messages     {result.messages:,} in {format_seconds(result.elapsed)}: "
            f"{result.rate:,.0f} a second, {format_size(volume)}/s each way",
            f"connections  {result.connect.total:,} of {result.workload.connections:,} opened, "
            f"{_middle_and_end(result.connect)}; "
            f"first reply: {_middle_and_end(result.first_reply)}",
            f"fairness     {min(result.answered):,} to {max(result.answered):,} "
            "messages a connection",
        ]
    )


def _middle_and_end(times: Histogram) -> str:
    if not times.total:
        return "none"
    median, slowest = times.percentiles([50.0, 100.0])
    return f"median {_ns(median)}, slowest {_ns(slowest)}"


def _verdict(result: Result) -> str:
    if not result.errors:
        if not result.messages:
            return "verdict      no message was measured"
        return "verdict      every reply came, in order and verified to the byte; no errors"
    errors = ", ".join(f"{name} {count:,}" for name, count in sorted(result.errors.items()))
    return f"verdict      FAILED: {errors}"


def _ns(value: float) -> str:
    return format_seconds(value / 1e9)
