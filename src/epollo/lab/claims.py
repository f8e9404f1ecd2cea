"""The article's claims, judged by the figures measured on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from epollo.lab.backlog import QueueResult
from epollo.lab.pollers import WakeUp
from epollo.lab.select_end import SelectEnd
from epollo.units import format_seconds

CLAIMS = {
    1: "select can watch no more than 1024 descriptors",
    2: "select slows down as it watches more, epoll does not",
    3: "100 clients at once need an accept queue of about 100; with 10 some never get connected",
}

SLOWER = 2.0  # times; less may be noise
WIDE = 10  # times; a narrower range of idle connections shows nothing


class Holds(StrEnum):
    """Whether the figures confirm a claim."""

    YES = "holds here"
    IN_PART = "holds in part"
    NO = "does not hold here"
    UNKNOWN = "cannot be told from this run"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one claim, and the figures that decide it, in words."""

    claim: int
    holds: Holds
    why: str

    def __str__(self) -> str:
        return f'Claim {self.claim}, "{CLAIMS[self.claim]}", {self.holds}: {self.why}'


def judge_limit(end: SelectEnd, wake_ups: Sequence[WakeUp]) -> Verdict:
    """Claim 1, by select's error for the first descriptor past its limit."""
    if end.engine_says is None or end.python_says is None:
        return Verdict(1, Holds.NO, f"select watched descriptor {end.refused}")
    why = (
        f"select watched descriptor {end.last} and refused {end.refused}, though it was the only "
        f"one (Python's error: {end.python_says!r}); so the limit is on the descriptor's number, "
        "not on the count, and it is libc's: its fd_set has no bit for more (select(2))"
    )
    widest = {w.poller: f"{w.watched:,}" for w in wake_ups if w.refused is None}
    others = [f"{name} {count}" for name, count in widest.items() if name != "select"]
    return Verdict(1, Holds.YES, f"{why}. Watched without error: {', '.join(others)}")


def judge_growth(wake_ups: Sequence[WakeUp]) -> Verdict:
    """Claim 2, by the growth of a wake-up's cost with the number of idle connections."""
    series = {name: _measured(wake_ups, name) for name in ("select", "poll", "epoll")}
    select, epoll = series["select"], series["epoll"]
    if not select or not epoll:
        return Verdict(2, Holds.UNKNOWN, "needs both select and epoll on one machine")
    if select[-1].idle < WIDE * select[0].idle:
        return Verdict(2, Holds.UNKNOWN, "give --idle a wider range, such as 10,100,1000")
    slows, steady = _growth(select) >= SLOWER, _growth(epoll) < SLOWER
    holds = {2: Holds.YES, 1: Holds.IN_PART, 0: Holds.NO}[slows + steady]
    courses = [_description(found) for found in series.values() if found]
    return Verdict(2, holds, "one wake-up took " + "; ".join(courses))


def judge_queue(results: Sequence[QueueResult]) -> Verdict:
    """Claim 3, by the replies with a queue for all clients, and with one for a tenth of them.

    A successful connect does not count: it does not show that the client is served.
    """
    short, enough = short_queue(results), sufficient_queue(results)
    if short is None or enough is None:
        return Verdict(3, Holds.UNKNOWN, "give --queues a value below --clients and one not below")
    why = f"{_outcome(short)}; {_outcome(enough)}"
    if enough.late or enough.never:
        return Verdict(3, Holds.IN_PART if short.never else Holds.NO, why)
    if short.never:
        return Verdict(3, Holds.YES, why)
    return Verdict(3, Holds.IN_PART if short.late else Holds.NO, why)


def short_queue(results: Sequence[QueueResult]) -> QueueResult | None:
    """Of the queues too short for all clients, the one nearest to a tenth of their number.

    Linux takes one connection more than the length: a queue is full when it is longer than that.
    """
    short = [result for result in results if result.length + 1 < result.clients]
    return min(short, key=lambda r: abs(r.length - r.clients / 10), default=None)


def sufficient_queue(results: Sequence[QueueResult]) -> QueueResult | None:
    """The result with the shortest queue that holds every client."""
    long = [result for result in results if result.length >= result.clients]
    return min(long, key=lambda result: result.length, default=None)


def _measured(wake_ups: Sequence[WakeUp], name: str) -> list[WakeUp]:
    found = [w for w in wake_ups if w.poller == name and w.median is not None]
    return sorted(found, key=lambda wake_up: wake_up.idle)


def _growth(series: Sequence[WakeUp]) -> float:
    first, last = series[0].median, series[-1].median
    assert first is not None
    assert last is not None
    return last / first


def _description(series: Sequence[WakeUp]) -> str:
    """``"select 4.1 µs with 10 idle connections and 155 µs with 1,000 (38 times)"``."""
    first, last = series[0], series[-1]
    times = _growth(series)
    return (
        f"{first.poller} {format_seconds(first.median or 0)} with {first.idle:,} idle "
        f"connections and {format_seconds(last.median or 0)} with {last.idle:,} "
        f"({f'{times:.1f}' if times < 10 else f'{times:,.0f}'} times)"
    )


def _outcome(result: QueueResult) -> str:
    """``"with a queue of 10, 11 of 100 clients had a reply within 1 s, 44 later, ..."``."""
    start = f"with a queue of {result.queue:,}"
    last = f"the last after {format_seconds(result.last_reply or 0)}"
    if result.prompt == result.clients:
        return f"{start}, all {result.clients:,} clients had a reply within a second, {last}"
    text = f"{start}, {result.prompt:,} of {result.clients:,} clients had a reply within a second"
    if result.late:
        text += f", {result.late:,} later, {last}"
    if not result.never:
        return f"{text}, and all had one"
    connected = "all" if result.connected_unserved == result.never else result.connected_unserved
    return (
        f"{text}, and {result.never:,} none in {format_seconds(result.wait)} "
        f"(the connect of {connected} of these had succeeded)"
    )
