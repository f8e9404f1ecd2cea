"""A run in words: its load, its time, and how it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from epollo.bench.messages import assumes_order
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.workload import Workload
from epollo.units import UNKNOWN, format_seconds, format_size

_WAITED = 0.005  # of the time; less is not shown


def described(load: Workload) -> str:
    """The load, in one line."""
    return ", ".join(_traits(load))


def moment(result: Result) -> str:
    """When the window began, in UTC."""
    return datetime.fromtimestamp(result.started, UTC).strftime("%Y-%m-%d %H:%M UTC")


def format_ns(value: float | None) -> str:
    """A time in ns, with its unit; None is not known."""
    return UNKNOWN if value is None else format_seconds(value / 1e9)


def figure_ns(times: Histogram, name: str) -> str:
    """The ``mean``, ``deviation``, ``minimum`` or ``maximum`` of times in ns."""
    return format_ns(getattr(times, name) if times.total else None)


def percentiles_ns(times: Histogram, percents: Iterable[float]) -> list[str]:
    """The percentiles of times in ns."""
    return [format_ns(value) for value in times.known_percentiles(percents)]


def histograms(result: Result) -> list[tuple[str, Histogram]]:
    """The histograms that differ, by name: in a closed loop, only the response times."""
    if not result.workload.open_loop:
        return [("response", result.response)]
    return [("response", result.response), ("service", result.service), ("slip", result.slip)]


def named(error: str) -> str:
    """A kind of error, with spaces."""
    return error.replace("_", " ")


def method(load: Workload) -> str:
    """How the figures were measured: a short paragraph."""
    return " ".join(_method(load))


def _traits(load: Workload) -> Iterator[str]:
    yield f"{load.connections:,} connection{'s' if load.connections > 1 else ''}"
    if load.open_loop:
        arrival = "Poisson" if load.arrival == "poisson" else load.arrival
        yield f"open loop at {_rate(load.rate)} messages/s, {arrival}"
    else:
        yield f"closed loop of depth {load.depth:,}"
        if load.think:
            yield f"{format_seconds(load.think)} between a reply and the next message"
    yield f"{_messages(load)}, framing {load.framing}"
    if load.tls:
        yield "TLS"
    if load.greeting:
        yield "after a greeting"
    if load.preamble:
        yield "after a preamble"
    if load.proxy_header:
        yield f"PROXY header {load.proxy_header}"
    if load.reconnect_every:
        yield f"a new connection every {load.reconnect_every:,} messages"
    if load.processes > 1:
        yield f"{load.processes} processes"
    if load.cluster:
        yield f"on the cluster of {load.cluster}"


def _messages(load: Workload) -> str:
    if load.payload or load.template:
        return "messages from a file" if load.payload else "messages from a template"
    sizes = load.sizes
    if sizes.least == sizes.most:
        return f"{format_size(sizes.most)} messages"
    return f"{format_size(sizes.least)} to {format_size(sizes.most)} messages"


def _rate(rate: str | float | None) -> str:
    return f"{rate:,.12g}" if isinstance(rate, int | float) else str(rate)


def _method(load: Workload) -> Iterator[str]:
    if load.open_loop:
        yield (
            "Each message was due at a scheduled time, and waited for no reply. Its response time "
            "starts at its due time, so delays by a stall are counted; its service time starts at "
            "its send; its slip is the time between the two: the tester's own lateness."
        )
    else:
        yield (
            "Each connection sent its next message after a reply, so a slow server received fewer "
            "messages: the times are those of a message at this concurrency, not those of clients "
            "that send by the clock."
        )
    if load.warmup:
        yield f"A warm-up of {format_seconds(load.warmup)} is not counted."
    else:
        yield "There was no warm-up, so opening the connections is included."
    if load.expect == "none":
        yield (
            "No replies were expected: a message was done when it was sent, so the times only show "
            "the tester's own lateness."
        )
        return
    yield _matching(load)
    yield (
        f"A message without a reply within {format_seconds(load.timeout)} is an error, and is in "
        "the figures with at least that time. Times are from the monotonic clock, to three digits; "
        "bytes are those of messages, without their headers."
    )


def _matching(load: Workload) -> str:
    if load.match:
        return f"Each reply was matched to its message by an identifier, {load.match}."
    if assumes_order(load):
        return (
            "Replies were assumed to come in the order of the messages: if the server answers out "
            "of order, the times are wrong, and --match is needed."
        )
    return "Replies were expected in the order of the messages."


def spread(times: Histogram) -> str:
    """Median, p99 and slowest of times in ns."""
    if not times.total:
        return "none"
    median, p99, slowest = percentiles_ns(times, (50.0, 99.0, 100.0))
    return f"median {median}, p99 {p99}, slowest {slowest}"


def tester(result: Result) -> str:
    """How busy the tester was; empty if that is not known."""
    if not result.cpu:
        return ""
    busy = f"busy for {100 * result.busy:.0f} % of the time"
    if (result.waiting or 0.0) < _WAITED:
        return busy
    return f"{busy}, ready to run but without a processor for {100 * (result.waiting or 0):.0f} %"


def arrival(result: Result) -> str:
    """How long after their arrival replies were read; empty if that was not measured."""
    delays = result.delays
    if delays is None or not delays.lags.total:
        return ""
    if not delays.reads.total:
        lag = format_ns(delays.lags.mean)
        return f"not known: no receive stamps; the tester's loop was {lag} late on average"
    return f"replies read later by: {spread(delays.reads)}, of {delays.reads.total:,} sampled"


def floor(result: Result) -> str:
    """The tester's own floor; empty if it was not measured."""
    found = result.floor
    if found is None:
        return ""
    words = f"median {format_ns(found.p50)}, p99 {format_ns(found.p99)}: this tester and a server"
    words += f" that does nothing, {found.exchange}"
    if not result.response.total or not found.is_near(result.response.percentile(50)):
        return words
    return f"{words}; the response times are near it: mostly the tester's own"


def fairness(result: Result) -> str:
    """The correct replies of the connections; empty if there is only one connection."""
    if len(result.answered) < 2:
        return ""
    least, most = min(result.answered), max(result.answered)
    mean = result.messages / len(result.answered)
    return f"{least:,} to {most:,} messages a connection, {mean:,.0f} on average"
