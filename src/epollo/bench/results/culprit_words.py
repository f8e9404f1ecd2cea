"""The culprit of long response times in words, and what to do about it."""

from __future__ import annotations

from epollo import address
from epollo.bench.results import lateness
from epollo.bench.results.culprit import Culprit, is_slow
from epollo.bench.results.delays import Delays
from epollo.bench.results.result import Result
from epollo.bench.workload import Workload
from epollo.units import format_seconds

_WITHOUT = "ready to run and had no processor"


def blame(result: Result) -> str:
    """The culprit, as a part of the verdict; empty if there is none, and for a result without
    delays."""
    delays = result.delays
    if delays is None:
        return ""
    match result.culprit:
        case Culprit.READER:
            return f"the reader was late: {_held_up(result, delays)}: {_advice(result)}"
        case Culprit.MACHINE:
            return f"the machine was busy: {_without_core(result, delays)}: stop other programs"
        case Culprit.SERVER:
            return f"{_server(result.workload)} was slow: {_elsewhere(result)}"
        case Culprit.UNKNOWN:
            return "the cause of the response times is not known: too few replies were sampled"
        case Culprit.NONE:
            return ""


def parts(result: Result) -> str:
    """The parts of the mean response time; empty if they are not known."""
    shares = result.shares
    if shares is None:
        return ""
    owner = "the server's" if _is_local(result.workload) else "the server's or the network's"
    return (
        f"{_percent(shares.reader)} the tester's, {_percent(shares.machine)} without a processor, "
        f"{_percent(shares.server)} {owner}"
    )


def _held_up(result: Result, delays: Delays) -> str:
    if is_slow(result) and result.shares is not None:
        part = _percent(result.shares.reader)
        return (
            f"the tester took {part} of the response time, before messages were sent or after "
            "their replies had arrived"
        )
    mean = format_seconds(delays.lags.mean / 1e9)
    return f"the tester was held up for {mean} on average, while it had a processor"


def _advice(result: Result) -> str:
    if lateness.is_busy(result):
        return "add --processes"
    load = result.workload
    if not (":" in load.expect or ":" in load.match):
        return lateness.advice(result) if load.open_loop else "something stopped the tester"
    return "a function of --expect or --match took long, or something stopped the tester"


def _without_core(result: Result, delays: Delays) -> str:
    if is_slow(result) and result.shares is not None:
        part = _percent(result.shares.machine)
        return f"for {part} of the response time the tester or the server was {_WITHOUT}"
    server = delays.server_without_core
    other = "" if server is None else f", and the server for {_percent(server)}"
    return f"the tester was {_WITHOUT} for {lateness.share(result.waiting)} of the time{other}"


def _elsewhere(result: Result) -> str:
    shares, floor = result.shares, result.floor
    assert shares is not None
    own = "" if floor is None else f"; the tester's own floor is {format_seconds(floor.p50 / 1e9)}"
    how = "" if shares.stamped else ", by the tester's timers"
    part = _percent(shares.server)
    return f"{part} of the response time passed before the replies arrived{how}{own}"


def _server(load: Workload) -> str:
    return "the server" if _is_local(load) else "the server, or the network,"


def _is_local(load: Workload) -> bool:
    """Is the server surely on this machine?"""
    server = address.parse(load.address)
    return bool(server.path) or server.host in ("localhost", "::1") or server.host[:4] == "127."


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"
