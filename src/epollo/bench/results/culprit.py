"""Whose time the response times are: the tester's, the server's, or a busy machine's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from epollo.bench.results import lateness
from epollo.bench.results.delays import Delays
from epollo.bench.results.floor import Floor
from epollo.bench.results.histogram import Histogram
from epollo.bench.workload import Workload

SLOW = 1_000_000  # ns; faster responses, on average, need no culprit
_FLOORS = 5.0  # times the least of the tester's own floor; likewise
_FEWEST = 5  # replies sampled; with fewer, the timers of the loop tell more
_TIMER = 1_000_000  # ns that the loop's timers are late in any case: pollers count milliseconds
_DISTURBED = 0.3  # of the response time without a processor: how slow the server is, nobody knows
_HELD_UP = 0.25  # of the window without a processor, from which on the machine is named in any case


class Measured(lateness.Measured, Protocol):
    """What it takes of a `Result`."""

    @property
    def response(self) -> Histogram: ...
    @property
    def service(self) -> Histogram: ...
    @property
    def slip(self) -> Histogram: ...
    @property
    def on_time(self) -> bool: ...
    @property
    def delays(self) -> Delays | None: ...
    @property
    def floor(self) -> Floor | None: ...
    @property
    def workload(self) -> Workload: ...
    @property
    def concurrency(self) -> float: ...


class Culprit(StrEnum):
    """The side that had the largest part of the response times."""

    NONE = "none"  # they are short, or near the tester's floor
    READER = "reader"  # the tester read late, or sent late: it was busy, or stopped
    MACHINE = "machine"  # the tester or the server was ready to run, and had no processor
    SERVER = "server"  # the replies came late: the server, or the network to it
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Shares:
    """The parts of the mean response time; their sum is 1.

    Attributes:
        reader: before a message was sent, and after its reply had arrived, while the tester could
            run, or was stopped.
        machine: in which the tester, or the server, was ready to run and had no processor.
        server: the rest: the server's, and the network's.
        stamped: the kernel told when replies arrived; otherwise the loop's timers had to do.
    """

    reader: float
    machine: float
    server: float
    stamped: bool

    @property
    def largest(self) -> Culprit:
        """Whose part is the largest. A server that lacks a processor for much of the time is not
        named: without that it would be faster in the rest of the time, too."""
        parts = {
            Culprit.READER: self.reader,
            Culprit.MACHINE: self.machine,
            Culprit.SERVER: self.server,
        }
        largest = max(parts, key=lambda who: parts[who])
        disturbed = largest is Culprit.SERVER and self.machine >= _DISTURBED
        return Culprit.MACHINE if disturbed else largest

    def to_document(self) -> dict[str, Any]:
        return {
            "reader": self.reader,
            "machine": self.machine,
            "server": self.server,
            "stamped": self.stamped,
        }


def culprit(result: Measured) -> Culprit:
    """The side that had the largest part of the response times of ``result``. If those are short,
    what held up the tester: a closed loop sends few messages in such a time, and an open one is
    late with them."""
    if not result.response.total:
        return Culprit.NONE
    if is_slow(result):
        parts = shares(result)
        return Culprit.UNKNOWN if parts is None else parts.largest
    delays = result.delays
    if delays is not None and _typical_lag(delays) >= SLOW:
        starved = _part(delays.lags_without_core, _sum(delays.lags)) >= 0.5
        return Culprit.MACHINE if starved else Culprit.READER
    return Culprit.MACHINE if _lacks_cores(result) else Culprit.NONE


def shares(result: Measured) -> Shares | None:
    """The parts of the mean response time; None if too little is known."""
    delays, response = result.delays, result.response.mean
    if delays is None or not response:
        return None
    stamped = delays.reads.total >= _FEWEST
    if not stamped and delays.lags.total < _FEWEST:
        return None
    slip = result.slip.mean / response if result.slip.total else 0.0
    own = (1 - slip) * _own_part(result, delays, stamped)
    lags_starved = _part(delays.lags_without_core, _sum(delays.lags))
    own_starved = lags_starved
    if stamped:
        own_starved = _part(delays.own_without_core, _sum(delays.reads) + _sum(delays.sends))
    machine = slip * lags_starved + own * own_starved
    elsewhere = 1 - slip - own
    # A message without a wait for a processor takes the least time at least.
    most = max(0.0, elsewhere - result.service.minimum / response)
    at_server = min(most, elsewhere * _server_starved(result, delays))
    return Shares(
        reader=slip + own - machine,
        machine=machine + at_server,
        server=elsewhere - at_server,
        stamped=stamped,
    )


def _own_part(result: Measured, delays: Delays, stamped: bool) -> float:
    """The part of the time from a message's stamp to its reply in which the tester had it: before
    the message left, and after its reply had arrived."""
    load = result.workload
    at_once = not (load.open_loop or load.think)  # else the next message does not follow the reply
    if not stamped:  # a loop that is late to read is as late, on average, to send what follows
        most = math.inf if load.open_loop else result.service.mean
        own = _typical_lag(delays, most) * (2 if at_once else 1)
        return min(1.0, own / max(1.0, result.service.mean))
    own = _sum(delays.reads) + (_sum(delays.sends) if at_once else 0.0)
    return min(1.0, own / max(1.0, _sum(delays.waits)))


def _server_starved(result: Measured, delays: Delays) -> float:
    """The part of the time of the messages at the server in which it had no processor. If that is
    not known: it lacked one while there was a message, which is not all of the time."""
    if delays.server_starved is not None:
        return delays.server_starved
    return min(1.0, (delays.server_without_core or 0.0) / max(1e-9, min(1.0, result.concurrency)))


def _typical_lag(delays: Delays, most: float = math.inf) -> float:
    """How late the loop was on average, in ns, beyond what its timers are in any case. Each lag
    counts up to ``most``: in a long stall, a closed loop has no more messages than in a short
    one."""
    lags = delays.lags
    if lags.total < _FEWEST:
        return 0.0
    if most >= lags.maximum:
        return max(0.0, lags.mean - _TIMER)
    capped = lags.sum_up_to(int(most)) + lags.above(int(most)) * lags.total * most
    return max(0.0, capped / lags.total - _TIMER)


def is_slow(result: Measured) -> bool:
    """Are the response times so long that someone is to be named: on average, or for most of the
    time of a closed loop, which has few messages while the server stalls?"""
    response = result.response
    long = response.mean >= SLOW or (not result.workload.open_loop and _mostly_slow(response))
    floor = result.floor
    return long and (floor is None or response.mean >= _FLOORS * floor.minimum)


def _mostly_slow(times: Histogram) -> bool:
    """Do slow ones have at least half of the sum?"""
    return times.sum_up_to(SLOW) <= _sum(times) / 2


def _lacks_cores(result: Measured) -> bool:
    """Was the tester, or the server, without a processor for a good part of the time, or for so
    much of it that the tester did not keep its schedule?"""
    if not result.on_time and lateness.had_no_core(result):
        return True
    server = result.delays.server_without_core if result.delays is not None else None
    return max(result.waiting or 0.0, server or 0.0) >= _HELD_UP


def _part(without_core: float | None, total: float) -> float:
    return min(1.0, (without_core or 0.0) / total) if total else 0.0


def _sum(times: Histogram) -> float:
    return times.mean * times.total
