"""Whose response times they are: a late reader, a busy machine and a slow server are told apart.

Here is what holds on any machine; the verdicts of real runs are in
`tests/bench/truth/test_culprit.py`.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epollo import Connection, Server
from epollo.bench import Result, Workload, run
from epollo.bench.output.text import render
from epollo.bench.results.culprit import Culprit
from epollo.bench.results.delays import Delays
from epollo.bench.results.floor import Floor
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.verdict import Verdict
from epollo.engine import available
from tests.bench.support import made_up

MS = 1_000_000
LATE = 0.05  # seconds


@pytest.fixture(params=available())
def tester(request: pytest.FixtureRequest) -> str:
    """The engine of the load tester."""
    return str(request.param)


# -- the samples of a real run


async def slow(message: bytes, connection: Connection) -> bytes:
    await asyncio.sleep(LATE)
    return message


def sampled_run(address: str, tester: str, **load: Any) -> Delays:
    workload = Workload(address=address, duration=1.0, warmup=0.1, engine=tester, **load)
    delays = run(workload).delays
    assert delays is not None
    return delays


@pytest.mark.parametrize("processes", [1, 2])
def test_a_slow_server_is_waited_for(tester: str, processes: int) -> None:
    with Server(slow, "127.0.0.1:0", in_flight=100, loop="asyncio") as server:
        delays = sampled_run(server.addresses[0], tester, connections=4, processes=processes)
    assert delays.waits.total == delays.reads.total > 0
    assert delays.waits.minimum > 0.95 * LATE * 1e9
    assert delays.lags.total > 40 * processes  # a moment every 20 ms, and a late one is made up for


def test_a_late_reader_lags(tester: str) -> None:
    """Whenever it looks at a reply for 50 ms, a moment that is due within the first 20 is late."""
    with Server(lambda message: message, "127.0.0.1:0") as server:
        expect = "tests.bench.reply_checks:same_after_50_ms"
        delays = sampled_run(server.addresses[0], tester, connections=4, expect=expect)
    assert delays.lags.maximum > 0.5 * LATE * 1e9


def test_a_unix_socket_has_no_stamps(tester: str, tmp_path: Path) -> None:
    with Server(slow, f"unix:{tmp_path}/slow", in_flight=100, loop="asyncio") as server:
        delays = sampled_run(server.addresses[0], tester, connections=4)
    assert delays.waits.total == delays.reads.total == 0
    assert delays.lags.total > 40


# -- made up


def times(*values: float) -> Histogram:
    """In ms."""
    recorded = Histogram()
    for value in values:
        recorded.record(round(value * MS))
    return recorded


def sampled(
    wait: float, read: float = 0.0, send: float = 0.0, lag: float = 0.5, **changes: Any
) -> Delays:
    """Ten replies with these times, in ms."""
    waits, reads, sends, lags = (times(*[value] * 10) for value in (wait, read, send, lag))
    return replace(Delays(waits, reads, sends, lags, 0.0, 0.0), **changes)


def with_delays(mean: float, delays: Delays | None, **load: Any) -> Result:
    """A run whose messages all took ``mean`` ms, but for a quick one."""
    result = made_up(lambda *_: mean * MS, seconds=1, connections=10, **load)
    service = result.service.merged(times(0.01))
    return replace(result, service=service, delays=delays, cpu=0.1, outstanding=10.0)


@pytest.mark.parametrize(
    ("delays", "culprit"),
    [
        (sampled(50), Culprit.SERVER),
        (sampled(50, read=30), Culprit.READER),
        (sampled(50, send=30), Culprit.READER),
        (sampled(50, read=15, send=15), Culprit.READER),
        (sampled(50, read=30, own_without_core=290 * MS), Culprit.MACHINE),
        (sampled(50, server_without_core=0.7), Culprit.MACHINE),
        (sampled(50, server_without_core=0.2), Culprit.SERVER),
        (sampled(50, server_without_core=0.4), Culprit.MACHINE),  # and so it is slow, too
        (sampled(50, server_without_core=0.1, server_starved=0.7), Culprit.MACHINE),
        (sampled(50, server_without_core=0.7, server_starved=0.2), Culprit.SERVER),
        (replace(sampled(50, lag=30), reads=times()), Culprit.READER),
        (replace(sampled(50, lag=30, lags_without_core=290 * MS), reads=times()), Culprit.MACHINE),
        (replace(sampled(50), reads=times()), Culprit.SERVER),
        (replace(sampled(50), reads=times(), lags=times()), Culprit.UNKNOWN),
        (None, Culprit.UNKNOWN),
    ],
)
def test_the_largest_share_is_named(delays: Delays | None, culprit: Culprit) -> None:
    assert with_delays(50, delays).culprit is culprit


def test_a_long_stall_counts_no_more_than_the_message_that_waited_for_it() -> None:
    """Without stamps: one stall of 400 ms in 2 s, and else a server that takes 5 ms."""
    lags = times(*[0.5] * 80, *range(20, 420, 20))
    delays = replace(sampled(5), reads=times(), lags=lags)
    assert with_delays(5, delays).culprit is Culprit.SERVER
    assert with_delays(5, delays, rate=1000).culprit is Culprit.READER  # all of them waited


def test_a_server_that_stalls_is_slow_though_a_closed_loop_has_few_messages_then() -> None:
    result = replace(made_up(rate=None, seconds=1, connections=10), delays=sampled(50))
    stalls = replace(result, response=times(*[0.1] * 990, *[50] * 10), cpu=0.1, outstanding=10.0)
    assert stalls.response.mean < MS
    assert stalls.culprit is Culprit.SERVER
    rare = replace(stalls, response=times(*[0.1] * 9990, *[50] * 10))
    assert rare.culprit is Culprit.NONE


def test_the_next_message_of_an_open_loop_does_not_wait_for_a_check() -> None:
    assert with_delays(50, sampled(50, send=30), rate=1000).culprit is Culprit.SERVER
    assert with_delays(50, sampled(50, send=30), think=1.0).culprit is Culprit.SERVER


def test_a_late_send_is_the_testers() -> None:
    result = with_delays(50, sampled(10), rate=1000)
    result = replace(result, slip=times(*[40] * 1000), service=times(*[10] * 1000))
    assert result.culprit is Culprit.READER
    assert result.shares is not None
    assert result.shares.reader == pytest.approx(0.8)
    assert "so the tester" not in str(Verdict.of(result))  # the cause is told once


def test_the_shares_are_the_whole() -> None:
    delays = sampled(50, read=10, send=5, own_without_core=40 * MS, server_without_core=0.2)
    shares = with_delays(50, delays).shares
    assert shares is not None
    assert shares.reader + shares.machine + shares.server == pytest.approx(1)
    assert shares.reader == pytest.approx(0.22, abs=0.001)
    assert shares.machine == pytest.approx(0.08 + 0.7 * 0.2, abs=0.001)


def test_what_each_message_took_was_no_wait_for_a_processor() -> None:
    """A server that sleeps for 40 ms may be starved by its other messages meanwhile."""
    result = with_delays(50, sampled(50, server_starved=0.8))
    assert result.culprit is Culprit.MACHINE
    slow = replace(result, service=times(*[40] * 10, *[60] * 10))
    assert slow.culprit is Culprit.SERVER


@pytest.mark.parametrize(
    ("delays", "waited", "culprit"),
    [
        (sampled(0.2), 0.1, Culprit.NONE),
        (sampled(0.2), 0.3, Culprit.MACHINE),
        (sampled(0.2, server_without_core=0.3), 0.0, Culprit.MACHINE),
        (sampled(0.2, lag=20), 0.1, Culprit.READER),
        (sampled(0.2, lag=20, lags_without_core=150 * MS), 0.1, Culprit.MACHINE),
        (None, 0.0, Culprit.NONE),
    ],
)
def test_short_times_need_no_culprit_unless_something_held_up_the_tester(
    delays: Delays | None, waited: float, culprit: Culprit
) -> None:
    assert replace(with_delays(0.2, delays), waited=waited).culprit is culprit


def test_a_late_schedule_has_the_culprit_that_the_verdict_tells() -> None:
    """However short the response times are."""
    times_ms = times(*[0.1] * 990, *[3] * 10)
    late = replace(with_delays(0.2, sampled(0.2), rate=1000), slip=times_ms, waited=0.1)
    assert late.culprit is Culprit.MACHINE
    assert "1 % sent over 1 ms late; the machine was busy: " in str(Verdict.of(late))
    stopped = replace(late, waited=0.0)
    assert stopped.culprit is Culprit.NONE
    assert "so the tester was stopped, or the machine was" in str(Verdict.of(stopped))
    assert replace(late, slip=times(*[0.1] * 1000)).culprit is Culprit.NONE


def test_times_near_the_floor_are_the_testers_own() -> None:
    result = with_delays(3, sampled(3))
    assert result.culprit is Culprit.SERVER
    near = replace(result, floor=Floor(100, 0.9 * MS, 1.0 * MS, 2.0 * MS, "64 B messages"))
    assert near.culprit is Culprit.NONE
    assert "the response times are near it: mostly the tester's own" in render(Verdict.of(near))
    far = replace(result, floor=Floor(100, 0.04 * MS, 0.05 * MS, 0.1 * MS, "64 B messages"))
    assert "near it" not in render(Verdict.of(far))
    assert "\nfloor        median 50 µs, p99 100 µs: this tester" in render(Verdict.of(far))


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"expect": "checks:slow"}, "a function of --expect or --match took long, or something"),
        ({"match": "checks:slow"}, "a function of --expect or --match took long, or something"),
        ({}, ": something stopped the tester"),
        ({"rate": 1000}, ": stop other programs, or lower --rate"),
    ],
)
def test_only_a_function_that_there_is_may_be_slow(load: dict[str, Any], words: str) -> None:
    said = str(Verdict.of(with_delays(50, sampled(50, read=30), **load)))
    assert words in said
    assert ("a function" in said) is ("slow" in str(load))


def test_the_floor_of_a_busy_machine_hides_no_slow_server() -> None:
    floor = Floor(100, 0.05 * MS, 15 * MS, 30 * MS, "64 B messages")
    assert replace(with_delays(50, sampled(50)), floor=floor).culprit is Culprit.SERVER


def test_a_server_elsewhere_may_be_slow_because_of_the_network() -> None:
    result = with_delays(50, sampled(50))
    away = replace(result, workload=replace(result.workload, address="192.0.2.1:80"))
    assert "the server, or the network, was slow: " in str(Verdict.of(away))
    assert "the server's or the network's" in render(Verdict.of(away))


def test_what_is_not_known_is_not_told() -> None:
    nothing = replace(sampled(50), reads=times(), lags=times())
    said = str(Verdict.of(with_delays(50, nothing)))
    assert "the cause of the response times is not known: too few replies were sampled" in said
    assert "not known" not in str(Verdict.of(with_delays(50, None)))  # of an older result


def test_a_file_keeps_it() -> None:
    delays = sampled(50, read=30, server_without_core=0.2, server_starved=0.4, pressure=0.9)
    floor = Floor(100, 0.04 * MS, 0.05 * MS, 0.1 * MS, "64 B messages")
    before = replace(with_delays(50, delays), floor=floor)
    after = Result.from_json(before.to_json())
    assert after.culprit is Culprit.READER
    assert after.floor == floor
    assert after.delays is not None
    assert after.delays.pressure == 0.9
    assert after.delays.server_starved == 0.4
    assert after.shares is not None
    assert before.shares is not None
    assert after.shares.reader == pytest.approx(before.shares.reader, rel=0.01)
    assert json.loads(before.to_json())["culprit"] == "reader"


def test_a_result_of_before_has_none_of_it() -> None:
    document = json.loads(made_up().to_json())
    for name in ("floor", "delays", "culprit", "shares"):
        del document[name]
    after = Result.from_json(json.dumps(document))
    assert (after.floor, after.delays, after.shares) == (None, None, None)
