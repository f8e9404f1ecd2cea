"""The report of a finished run as plain text."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from epollo.bench.load.rates import Profile, Step
from epollo.bench.output.agents import agents
from epollo.bench.output.wording import (
    arrival,
    described,
    fairness,
    figure_ns,
    floor,
    format_ns,
    histograms,
    percentiles_ns,
    spread,
    tester,
)
from epollo.bench.results.culprit_words import parts
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.partial import UNTOLD
from epollo.bench.results.result import PERCENTILES, Result
from epollo.bench.results.second import Second
from epollo.bench.results.series import column
from epollo.bench.results.verdict import Verdict
from epollo.units import UNKNOWN, format_seconds, format_size

_BAR_WIDTH = 40
_BARS = 10
_SLICES = 10  # of a ramp

_MEANINGS = {
    "wrong_bytes": "replies that differ from what was sent",
    "wrong_order": "correct replies that came after a later one",
    "duplicate": "replies that came twice",
    "extra": "replies that match no message",
    "short": "replies that are cut off",
    "in_warmup": "messages of the warm-up, answered wrongly or not at all",
    "unsent": "due, but no connection was left, or the tester was too slow",
    "unanswered": "no reply within {timeout}, or before the connection ended",
    "connect_refused": "nothing listens there",
    "no_port": "no local port is left: connect from more addresses with --source",
    "tls_error": "the TLS handshake failed, or the server sent an invalid record",
    "connect_timeout": "not connected within {timeout}: is the accept queue full?",
    "reset": "the server, or its kernel, broke the connection",
    "closed_early": "the server closed while replies were due",
    "closed_idle": "the server closed between messages: a stop, a reload or an idle timeout",
    UNTOLD: "of all kinds: a partial result does not tell them apart",
    "slow_consumer": "too much was unsent: the server reads too slowly",
    "bad_frame": "the server sent an invalid {framing} frame",
}
# Errors that ask for the right protocol if no reply came before them.
_UNEXPECTED = ("closed_early", "closed_idle", "reset", "bad_frame")


def render(verdict: Verdict) -> str:
    """The report of the result of ``verdict``."""
    result = verdict.result
    parts = [_head(result), _times(result), _bars(result.response), _steps(result)]
    parts += [_amounts(result), _errors(result), f"verdict      {verdict}"]
    return "\n\n".join(part for part in parts if part)


def _head(result: Result) -> str:
    load = result.workload
    warmup = f"after {format_seconds(load.warmup)} of warm-up" if load.warmup else "without warm-up"
    early = ", ended early" if result.interrupted else ", not ended" if result.partial else ""
    measured = f"{format_seconds(result.elapsed)} measured {warmup}{early}"
    goals = f", until {load.until}" if load.until else ""
    return f"epollo bench {load.address}\n{described(load)}{goals}\n{measured}"


def _times(result: Result) -> str:
    """The times; of a closed loop, the mean comes first, in ms."""
    response = result.response
    if not response.total:
        return ""
    if result.workload.open_loop:
        return _table(histograms(result))
    head = (
        f"mean round trip {response.mean / 1e6:.3f} ms   sd {format_ns(response.deviation)}"
        f"   min {format_ns(response.minimum)}   max {format_ns(response.maximum)}"
    )
    values = zip(PERCENTILES, percentiles_ns(response, PERCENTILES), strict=True)
    return "\n".join([head, *(f"  {percent:>6g} %  {value:>9}" for percent, value in values)])


def _table(columns: Sequence[tuple[str, Histogram]]) -> str:
    """Histograms side by side."""
    rows = [("", [name for name, _ in columns])]
    for name in ("mean", "deviation", "minimum", "maximum"):
        label = {"deviation": "sd", "minimum": "min", "maximum": "max"}.get(name, name)
        rows.append((label, [figure_ns(histogram, name) for _, histogram in columns]))
    values = [percentiles_ns(histogram, PERCENTILES) for _, histogram in columns]
    for percent, row in zip(PERCENTILES, zip(*values, strict=True), strict=True):
        rows.append((f"{percent:g} %", list(row)))
    return "\n".join(f"  {label:>8}" + "".join(f"{c:>12}" for c in cells) for label, cells in rows)


def _bars(times: Histogram) -> str:
    """The histogram as ten bars whose widths have equal ratios."""
    low, high = max(1, times.minimum), times.maximum
    if low >= high:
        return ""
    step = math.log(high / low) / _BARS
    counts = [0] * _BARS
    for start, _, count in times.buckets():
        counts[min(_BARS - 1, int(math.log(max(start, low) / low) / step))] += count
    return "\n".join(
        f"  from {format_ns(low * math.exp(step * n)):>8}  {count:>10,}  "
        f"{'#' * math.ceil(count / max(counts) * _BAR_WIDTH)}".rstrip()
        for n, count in enumerate(counts)
    )


def _steps(result: Result) -> str:
    """A line for each step of the rate, and for each tenth of a single ramp."""
    if not result.workload.open_loop:
        return ""
    found = list(_seconds_of_steps(result))
    if len(found) < 2:
        return ""
    rows = [_step(result.seconds[first:last]) for first, last in found]
    head = f"  {'from':>8}{'target':>12}{'achieved':>12}{'p50':>12}{'p99':>12}"
    return "\n".join([head, *rows])


def _step(seconds: Sequence[Second]) -> str:
    length = sum(second.seconds for second in seconds)
    target = sum((second.target or 0.0) * second.seconds for second in seconds) / length
    achieved = sum(second.messages for second in seconds) / length
    times = Histogram.sum(second.response for second in seconds)
    p50, p99 = percentiles_ns(times, (50.0, 99.0))
    start = f"{seconds[0].start:.3g} s"
    return f"  {start:>8}{target:>12,.0f}{achieved:>12,.0f}{p50:>12}{p99:>12}"


def _seconds_of_steps(result: Result) -> Iterator[tuple[int, int]]:
    """The first second of each step, and the one after its last; a second in two steps belongs to
    the step of its middle."""
    lengths = column(result.seconds, "seconds")
    middles = [
        start + length / 2
        for start, length in zip(column(result.seconds, "start"), lengths, strict=True)
    ]
    end = 0.0
    for step in _parts(result.workload.profile):
        first, end = bisect_left(middles, end), end + step.seconds
        last = bisect_left(middles, end)
        if sum(lengths[first:last]):
            yield first, last


def _parts(profile: Profile) -> Sequence[Step]:
    first = profile.steps[0]
    if len(profile.steps) > 1 or first.start == first.end:
        return profile.steps
    return [Step(first.start, first.end, first.seconds / _SLICES)] * _SLICES


def _amounts(result: Result) -> str:
    lines = [
        (
            "messages",
            f"{result.messages:,} answered of {result.sent:,} sent, {_per_second(result)}",
        ),
        ("bytes", "" if result.partial else _bytes(result)),
        ("connections", "" if result.partial else _connections(result)),
        ("", _first_reply(result)),
        ("fairness", fairness(result)),
        ("outstanding", _outstanding(result)),
        *(("" if place else "agents", line) for place, line in enumerate(agents(result))),
        ("tester", tester(result)),
        ("arrival", arrival(result)),
        ("time", parts(result)),
        ("floor", floor(result)),
    ]
    return "\n".join(f"{name:<13}{words}" for name, words in lines if words)


def _per_second(result: Result) -> str:
    target = "" if result.target is None else f" of {result.target:,.0f} wanted"
    rate = f"{result.rate:,.0f}" if result.elapsed else UNKNOWN
    return f"{rate} a second{target}"


def _bytes(result: Result) -> str:
    """Bytes of the messages, without headers."""
    sent, received = result.bytes_sent, result.bytes_received
    if not result.elapsed:
        return f"{format_size(sent)} sent, {format_size(received)} received"
    rates = [f"{format_size(rate)}/s" for rate in result.byte_rates]
    return (
        f"{format_size(sent)} sent, {rates[0]}; {format_size(received)} received, {rates[1]}; "
        "without headers"
    )


def _connections(result: Result) -> str:
    opened, wanted = result.connect.total, result.workload.connections
    if result.workload.reconnect_every or opened > wanted:
        amount = f"{opened:,} opened, {wanted:,} at a time"
    else:
        amount = f"{opened:,} of {wanted:,} opened"
    if result.lost:
        amount += f", {result.lost:,} lost"
    return f"{amount}; connect: {spread(result.connect)}"


def _first_reply(result: Result) -> str:
    if result.partial or result.workload.expect == "none":
        return ""
    return f"first reply: {spread(result.first_reply)}"


def _outstanding(result: Result) -> str:
    """Little's law, N = X (R + Z): the messages in a closed loop are their rate times their
    round trip and think time. It holds for any server; if it does not, the tester is wrong. With
    ``reconnect_every`` the time of the connects would have to be added."""
    load = result.workload
    if not result.elapsed:
        return ""
    measured = f"{result.concurrency:,.1f} messages on average"
    cycle = result.service.mean + load.think * 1e9
    if load.open_loop or load.reconnect_every or not cycle:
        return measured
    slots = min(result.connect.total * load.depth, load.messages or math.inf)
    expected = slots * result.service.mean / cycle
    return f"{measured}, {expected:,.1f} expected (Little's law: rate x round trip)"


def _errors(result: Result) -> str:
    """Each kind of error with its count and its meaning."""
    lines = [
        f"{name:<15} {count:>10,}   {_meaning(name, result)}".rstrip()
        for name, count in sorted(result.errors.items())
    ]
    return "\n".join(f"{'' if n else 'errors':<13}{line}" for n, line in enumerate(lines))


def _meaning(name: str, result: Result) -> str:
    load = result.workload
    words = _MEANINGS.get(name, "")
    if name == "wrong_bytes" and load.expect != "echo":
        words = f"replies that {load.expect} rejects"
    elif name == "wrong_bytes" and not result.messages:
        words += "; if the server does not echo, say with --expect what is right"
    if name == "connect_timeout" and (load.greeting or load.preamble_replies):
        words = "not connected within {timeout}: did the server send fewer messages first?"
    words = words.format(timeout=format_seconds(load.timeout), framing=load.framing)
    asks = name in _UNEXPECTED or result.errors.keys() == {"unanswered"}
    if asks and not (result.messages or result.first_reply.total):
        words += f"; does it speak {load.framing}{'' if load.tls else ', without TLS'}?"
    return words
