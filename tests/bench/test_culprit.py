"""Whose response times they are: a late reader, a busy machine and a slow server are told apart."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from tests.support import DEADLINE, serving

MS = 1_000_000
LATE = 0.05  # seconds
DURATION = 3  # seconds of a run
HOG = f"import time\nend = time.monotonic() + {DURATION + 1}\nwhile time.monotonic() < end: pass"
TRIES = 4


@pytest.fixture(params=available())
def tester(request: pytest.FixtureRequest) -> str:
    """The engine of the load tester."""
    return str(request.param)


# -- the real thing


async def slow(message: bytes, connection: Connection) -> bytes:
    await asyncio.sleep(LATE)
    return message


@contextmanager
def bench(address: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``epollo bench`` for `DURATION`, in a process of its own."""
    command = [sys.executable, "-m", "epollo", "bench", address, *arguments]
    command += ["--duration", f"{DURATION}s", "--warmup", "200ms", "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def result_of(process: subprocess.Popen[str]) -> Result:
    out, _ = process.communicate(timeout=DEADLINE)
    return Result.from_json(out)


def measured(address: str, *arguments: str) -> Result:
    with bench(address, *arguments) as process:
        return result_of(process)


def measured_beside_others(address: str, *arguments: str) -> Result:
    """The same of a delay of 50 ms, on a machine that may be busy with other work: a run in which
    that took more is made again."""
    for _ in range(TRIES):
        result = measured(address, *arguments)
        if not is_overwhelmed(result):
            break
    return result


def is_overwhelmed(result: Result) -> bool:
    """Did other programs take about as much time as the delay? Then the machine may be named."""
    return result.culprit is Culprit.MACHINE and result.response.mean > 1.5 * LATE * 1e9


def told(result: Result) -> str:
    """What a failed assertion shows."""
    delays = result.delays
    assert delays is not None
    means = [getattr(delays, name).mean / MS for name in ("waits", "reads", "sends", "lags")]
    cores = (delays.server_without_core, delays.server_starved, delays.pressure)
    return f"{Verdict.of(result)} | {result.shares} {means} {cores}"


@pytest.mark.parametrize("connections", ["1", "4"])
def test_a_reader_whose_check_takes_50_ms_is_named(tester: str, connections: str) -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        expect = ["--expect", "tests.bench.reply_checks:same_after_50_ms"]
        result = measured(server.addresses[0], *expect, "-c", connections, "--engine", tester)
    assert result.culprit is Culprit.READER, told(result)
    assert "the reader was late: the tester took " in str(Verdict.of(result))
    assert "a function of --expect or --match took long" in str(Verdict.of(result))


@pytest.mark.parametrize(
    "load", [["-c", "2"], ["-c", "2", "--rate", "200"]], ids=["closed", "open"]
)
def test_a_reader_that_is_stopped_for_50_ms_is_named(tester: str, load: list[str]) -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        for _ in range(TRIES):
            result = measured_while_stopped(server.addresses[0], *load, "--engine", tester)
            if result.culprit is Culprit.READER or not is_crowded(result):
                break
    assert result.culprit is Culprit.READER, told(result)
    assert "; the reader was late: the tester " in f"; {Verdict.of(result)}"
    assert result.delays is not None
    assert result.delays.lags.maximum > 0.9 * LATE * 1e9


def measured_while_stopped(address: str, *arguments: str) -> Result:
    """The same of a tester that is stopped for 50 ms again and again."""
    with bench(address, *arguments) as process:
        while process.poll() is None:
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(LATE)
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(LATE / 3)
        return result_of(process)


def is_crowded(result: Result) -> bool:
    """Did some program wait for a core in most of the run? Then the server's replies may be what
    took longest, as the tester seldom runs between its stops."""
    assert result.delays is not None
    return result.delays.pressure is None or result.delays.pressure > 0.5


@pytest.mark.skipif(sys.platform != "linux", reason="binds processes to a core")
@pytest.mark.parametrize("load", [[], ["--rate", "100"]], ids=["closed", "open"])
def test_a_machine_that_is_busy_with_other_work_is_named(tester: str, load: list[str]) -> None:
    under_load = threading.Event()

    def echo(message: bytes) -> bytes:
        under_load.set()
        return message

    with (
        on_one_core(),
        Server(echo, "127.0.0.1:0") as server,
        bench(server.addresses[0], "-c", "4", "--engine", tester, *load) as process,
    ):
        assert under_load.wait(DEADLINE)
        yield_to_others(process.pid)
        with hogs():
            result = result_of(process)
    assert result.culprit is Culprit.MACHINE, told(result)
    assert "the machine was busy: " in str(Verdict.of(result))
    assert ": stop other programs" in str(Verdict.of(result))


def yield_to_others(pid: int) -> None:
    """A process that sleeps most of the time gets the core at once when it wakes up, however many
    others there are; unless it is nice to them."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), 10)


@contextmanager
def hogs() -> Iterator[None]:
    """Four programs that are busy for as long as a run takes."""
    processes = [subprocess.Popen([sys.executable, "-S", "-c", HOG]) for _ in range(4)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def on_one_core() -> Iterator[None]:
    """What is started from now on runs on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("load", [["-c", "1"], ["-c", "20"], ["-c", "4", "--rate", "50"]])
def test_a_server_that_takes_50_ms_is_named(tester: str, load: list[str]) -> None:
    with Server(slow, "127.0.0.1:0", in_flight=100, loop="asyncio") as server:
        flags = [*load, "--engine", tester, "--floor"]
        result = measured_beside_others(server.addresses[0], *flags)
    if is_overwhelmed(result):
        pytest.skip(f"other programs took more than the server: {told(result)}")
    assert result.culprit is Culprit.SERVER, told(result)
    assert "the server was slow: " in str(Verdict.of(result))
    assert "of the response time passed before the replies arrived; the tester's own floor is " in (
        str(Verdict.of(result))
    )


def test_a_slow_server_on_a_unix_socket_is_named_without_stamps(
    tester: str, tmp_path: Path
) -> None:
    with Server(slow, f"unix:{tmp_path}/slow", in_flight=100, loop="asyncio") as server:
        result = measured_beside_others(server.addresses[0], "-c", "4", "--engine", tester)
    if is_overwhelmed(result):
        pytest.skip(f"other programs took more than the server: {told(result)}")
    assert result.delays is not None
    assert result.delays.reads.total == 0
    assert result.culprit is Culprit.SERVER, told(result)
    assert "arrived, by the tester's timers" in str(Verdict.of(result))
    assert "not known: no receive stamps" in render(Verdict.of(result))


def test_a_late_reader_on_a_unix_socket_is_named_without_stamps(
    tester: str, tmp_path: Path
) -> None:
    with Server(lambda message: message, f"unix:{tmp_path}/quick") as server:
        expect = ["--expect", "tests.bench.reply_checks:same_after_50_ms"]
        result = measured(server.addresses[0], *expect, "-c", "4", "--engine", tester)
    assert result.culprit is Culprit.READER, told(result)


def test_nobody_is_named_if_nothing_is_slow(tester: str) -> None:
    """Nobody but the machine, if it is busy with something else just now."""
    with serving() as server:
        result = measured(server.address, "-c", "1", "--engine", tester)
    assert result.shares is not None
    busy = result.shares.machine > 0.2
    assert result.culprit in (Culprit.NONE, Culprit.MACHINE) or busy, told(result)
    if result.culprit is Culprit.NONE:
        assert str(Verdict.of(result)).startswith("every reply came, ")


def test_each_of_several_processes_samples(tester: str) -> None:
    with Server(slow, "127.0.0.1:0", in_flight=100, loop="asyncio") as server:
        one, two = (
            run(
                Workload(
                    address=server.addresses[0],
                    connections=4,
                    duration=1.0,
                    warmup=0.1,
                    processes=processes,
                    engine=tester,
                )
            )
            for processes in (1, 2)
        )
    assert one.delays is not None
    assert two.delays is not None
    assert two.delays.lags.total > 1.5 * one.delays.lags.total
    assert two.culprit is Culprit.SERVER or is_overwhelmed(two), told(two)


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
